from dataclasses import replace
from pathlib import Path

from pruning_lab.lab.output.sweep_record import Job, SweepRecord, as_plain, from_plain
from pruning_lab.lab.output.sweep_summary import counts, front, picture, rows, scored, status, text
from pruning_lab.lab.output.tracker import Sweep


def job(number: int, iou: float, flops: float, status: str = "FINISHED", reason: str = "") -> Job:
    summary = {"best/val_iou": iou, "best/flops_fraction": flops, "best/weights_fraction": flops, "test/iou": iou}
    return Job(str(number), f"run {number}", status, {"seed": str(number)}, summary, reason)


JOBS = [
    job(0, 0.80, 0.25),
    job(1, 0.90, 0.50),
    job(2, 0.85, 0.60),
    replace(job(3, 0, 0, "FAILED", "stop.flops=7 | too\nmuch"), summary={}),
    replace(job(4, 0, 0, "KILLED"), summary={}),
]


def test_the_front_has_what_no_other_beats_for_less() -> None:
    assert [each.name for each in scored(JOBS)] == ["run 1", "run 2", "run 0"]
    assert [each.name for each in front(JOBS)] == ["run 0", "run 1"]


def test_equal_costs_leave_the_better_on_the_front() -> None:
    assert [each.name for each in front([job(0, 0.8, 0.5), job(1, 0.9, 0.5), job(2, 0.9, 0.6)])] == ["run 1"]


def test_a_sweep_runs_while_a_job_does_and_failed_where_all_did() -> None:
    assert status([job(0, 0.5, 0.5), job(1, 0, 0, "RUNNING")]) == "RUNNING"
    assert status(JOBS) == "FINISHED"
    assert status([JOBS[3], JOBS[4]]) == "KILLED"
    assert status([JOBS[3]]) == "FAILED"
    assert counts(JOBS) == {"jobs/running": 0, "jobs/finished": 3, "jobs/failed": 1, "jobs/interrupted": 1}


def test_the_text_tells_the_best_the_front_and_every_failure_with_its_reason() -> None:
    told = text(Sweep(Path("s"), "a sweep", {}, ["seed=0,1,2"]), JOBS)
    first = "Jobs: 3 finished, 1 failed, 1 interrupted. Best: run 1, validation IoU 90.0 % with 50.0 % of the FLOPs"
    assert told.splitlines()[0] == first
    best, lead = told.split("**Best for what they cost**")
    assert best.index("run 1") < best.index("run 2") < best.index("run 0")
    assert "run 2" not in lead
    assert "- run 3: stop.flops=7 \\| too much (`3`)" in told
    assert "- run 4 (`4`)" in told
    assert "`seed=0,1,2`" in told


def test_a_long_sweep_has_a_short_text() -> None:
    many = [job(number, 0.5, 0.5) for number in range(500)] + [job(n, 0, 0, "FAILED", "no") for n in range(500)]
    assert len(text(Sweep(Path("s"), "a sweep"), many)) < 4000


def test_the_table_has_a_row_for_each_job(tmp_path: Path) -> None:
    table = rows(JOBS)
    assert [row["on_front"] for row in table] == ["yes", "yes", "", "", ""]
    assert table[0]["seed"] == "0"
    assert table[3]["reason"] == "stop.flops=7 | too\nmuch"


def test_the_picture_is_there_as_soon_as_a_run_has_a_score(tmp_path: Path) -> None:
    assert picture(JOBS[3:], tmp_path / "none.png") is None
    path = picture(JOBS, tmp_path / "pareto.png")
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_last_word_of_a_job_counts_and_is_written_once(tmp_path: Path) -> None:
    record = SweepRecord(Sweep(tmp_path, "a sweep"))
    with record.alone():
        record.note(replace(JOBS[0], status="RUNNING"))
        record.note(JOBS[1])
        record.note(JOBS[0])
        record.note(JOBS[0])
        assert record.jobs() == [JOBS[0], JOBS[1]]
        assert len((tmp_path / "tracking" / "jobs.jsonl").read_text().splitlines()) == 3
        assert record.facts()["key"] == record.facts()["key"]


def test_a_run_finds_its_sweep_after_both_were_moved_and_after_it_was_put_aside(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    record = SweepRecord(Sweep(before, "a sweep", {"seed": "1"}, ["seed=1,2"]))
    with record.alone():
        record.note(JOBS[0])
    plain = as_plain(record.sweep, before / "0")
    before.rename(after)
    assert from_plain(plain, after / "0") == Sweep(after, "a sweep", {"seed": "1"}, ["seed=1,2"])
    aside = from_plain(plain, after / "0" / "earlier" / "1")
    assert aside is not None
    assert aside.folder == after
