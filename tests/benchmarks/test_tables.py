"""The tables beside the peer: what stands in their cells, also where a side raises, hangs or dies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks import coverage_table, isolated, peer_table
from tests.benchmarks.cases import ALL, SPEED
from tests.benchmarks.coverage_table import outcome
from tests.benchmarks.tables import command_line, digits, passes, passes_or_seconds
from tests.benchmarks.timing import size_of_object

OURS = {
    "forward_s": 0.01,
    "build_s": 0.05,
    "proved_build_s": 0.1,
    "cut_s": 0.001,
    "steps_s": 0.1,
    "groups": 1234,
    "graph_bytes": 5,
    "activation_bytes": 100,
    "frozen_share": 0.25,
    "reasons": ["a | b"],
    "difference": 1e-7,
    "exact": True,
    "mixes": False,
}
THEIRS = {"forward_s": 0.02, "build_s": 0.2, "cut_s": 0.02, "steps_s": 4.0, "difference": 0.3, "exact": False}


def always(answer: dict):
    return lambda name: answer


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.012"), (0.5, "0.50"), (1.04, "1.0"), (9.96, "10.0"), (123.4, "123"), (0, "0")]
)
def test_numbers_have_two_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_times_are_in_forward_passes_of_their_own_process() -> None:
    row = peer_table.row_of("x", always(OURS), always(THEIRS))
    assert row["graph"] == "5.0"
    assert row["peer's graph"] == "10"
    assert row["times faster"] == "20"
    assert row["100 steps with reading"] == "20"
    assert row["peer's 100 steps with reading"] == "210"
    assert row["times faster with reading"] == "10"
    assert row["graph / activations"] == "5.0 %"
    assert passes(OURS, "nothing") == ""


def test_times_of_short_passes_are_in_seconds() -> None:
    assert passes_or_seconds({**OURS, "forward_s": 0.012}, "build_s") == "4.2"
    assert passes_or_seconds({**OURS, "forward_s": 0.0}, "build_s") == "0.050 s"
    assert passes_or_seconds(OURS, "nothing") == ""


def test_a_model_that_reading_changed_is_told() -> None:
    assert outcome({**OURS, "changed": True}, mixes=False) == "exact, but reading changed the model"
    assert outcome({**OURS, "changed": True, "exact": False}, mixes=False) == "reading changed the model"


def test_a_table_that_was_cut_short_goes_on_where_it_stopped(tmp_path: Path, monkeypatch, capsys) -> None:
    asked: list[str] = []

    def measure(function: str, name: str, limit_s: float) -> dict:
        asked.append(f"{function} {name}")
        return {**OURS, **THEIRS}

    monkeypatch.setattr("tests.benchmarks.tables.run", measure)
    names, kept = ["a/x, wide", "a/y"], ["--results", str(tmp_path)]
    assert command_line("", coverage_table.row_of, "coverage", names, names, "m", ["a/x, wide", *kept]) == 0
    assert command_line("", coverage_table.row_of, "coverage", names, names, "m", [*kept, "--kept"]) == 0
    assert asked == ["lab_side:coverage a/x, wide", "peer_side:coverage a/x, wide"]
    assert "a/y" not in capsys.readouterr().out
    assert command_line("", coverage_table.row_of, "coverage", names, names, "m", kept) == 0
    assert asked[2:] == ["lab_side:coverage a/y", "peer_side:coverage a/y"]
    with pytest.raises(SystemExit):
        command_line("", coverage_table.row_of, "coverage", names, names, "m", ["--kept"])


def test_what_stopped_the_peer_stands_in_its_cell() -> None:
    stopped = {"error": "not done after 300 s"}
    assert peer_table.row_of("x", always(OURS), always(stopped))["peer's graph"] == "not done after 300 s"
    row = coverage_table.row_of("x", always(OURS), always(stopped))
    assert row["peer's cut is"] == "not done after 300 s"
    assert row["cut is"] == "exact"


def test_what_stopped_this_side_is_not_hidden() -> None:
    stopped = {"error": "LabError: no"}
    assert peer_table.row_of("x", always(stopped), always(THEIRS))["groups"] == "LabError: no"
    assert coverage_table.row_of("x", always(stopped), always(THEIRS))["cut is"] == "LabError: no"


def test_a_cut_that_is_not_exact_says_by_how_much() -> None:
    assert outcome(THEIRS, mixes=False) == "off by 3e-01"
    assert outcome(THEIRS, mixes=True) == "runs"


def test_cells_do_not_break_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- coverage:start -->\n<!-- coverage:end -->\n")
    monkeypatch.setattr("tests.benchmarks.tables.run", lambda function, name, limit_s: {**OURS, **THEIRS})
    assert command_line("", coverage_table.row_of, "coverage", ["x"], ["x"], "coverage", ["--into", str(page)]) == 0
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1


def test_a_library_stands_for_its_models_and_a_page_can_hold_two_tables(tmp_path: Path, monkeypatch, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- a:start -->\n<!-- a:end -->\n<!-- b:start -->\n<!-- b:end -->\n")
    monkeypatch.setattr("tests.benchmarks.tables.run", lambda function, name, limit_s: {**OURS, **THEIRS})
    known = ["timm/x", "timm/y", "other/z"]
    arguments = ["timm/", "--marker", "b", "--into", str(page)]
    assert command_line("", coverage_table.row_of, "coverage", known, known, "a", arguments) == 0
    before, after = page.read_text().split("<!-- b:start -->")
    assert "timm" not in before
    assert after.count("timm/") == 2
    assert "other" not in after
    with pytest.raises(SystemExit):
        command_line("", coverage_table.row_of, "coverage", known, known, "a", ["tim/"])
    assert "tim/ is not among the models" in capsys.readouterr().err


def test_a_page_without_markers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    monkeypatch.setattr("tests.benchmarks.tables.run", lambda function, name, limit_s: OURS)
    assert command_line("", coverage_table.row_of, "coverage", ["x"], ["x"], "coverage", ["--into", str(page)]) == 1
    assert "coverage:start" in capsys.readouterr().err


def test_every_model_of_the_speed_table_is_one_of_the_cases() -> None:
    assert set(SPEED) <= set(ALL)
    assert len(set(ALL)) == len(ALL)


@pytest.mark.slow
def test_what_hangs_is_stopped_after_its_time() -> None:
    assert isolated.run("lab_side:coverage", SPEED[0], limit_s=0.05) == {"error": "not done after 0 s"}


@pytest.mark.slow
@pytest.mark.parametrize("side", ["lab_side", "peer_side"])
def test_both_sides_cut_a_small_net_exactly(side: str) -> None:
    answer = isolated.run(f"{side}:coverage", "small nets/squeeze-excite", limit_s=300)
    assert answer["exact"], answer


@pytest.mark.slow
def test_what_a_side_raises_is_its_answer() -> None:
    assert "KeyError" in isolated.run("lab_side:coverage", "small nets/none", limit_s=300)["error"]


def test_the_size_of_an_object_counts_shared_data_once() -> None:
    array, tensor = np.zeros((1000, 2)), torch.zeros(2000)
    assert 16_000 <= size_of_object([array[:, 0], array[:, 1]]) < 17_000
    assert 8_000 <= size_of_object({"a": tensor[:5], "b": tensor}) < 9_500
