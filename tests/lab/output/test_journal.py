import json
from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.journal import Journal, Sent


def a_journal(folder: Path, entries: int = 3) -> Journal:
    journal = Journal.begin(folder, {"name": "x"})
    for number in range(entries):
        journal.append({"kind": "tag", "name": str(number)})
    return journal


def test_a_journal_reads_back_as_it_was_written(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    again = Journal.latest(tmp_path)
    assert again is not None
    assert (again.about, again.entries) == (journal.about, journal.entries)
    assert again.run_folder == tmp_path


def test_every_run_of_a_folder_keeps_its_own(tmp_path: Path) -> None:
    first, second = a_journal(tmp_path), a_journal(tmp_path, 1)
    assert first.about["key"] != second.about["key"]
    assert [len(journal.entries) for journal in Journal.all_of(tmp_path)] == [3, 1]


def test_a_line_that_a_kill_cut_off_is_left_out_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    with open(journal.path, "a") as stream:
        stream.write('{"kind": "me')
    again = Journal.read(journal.path)
    assert len(again.entries) == 3
    again.append({"kind": "end"})
    assert [entry["kind"] for entry in Journal.read(journal.path).entries] == ["tag"] * 3 + ["end"]


def test_what_arrived_is_known_for_each_address(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    sent = journal.sent("here")
    sent.run_id = "r1"
    sent.confirm(0)
    sent.refuse(1)
    journal.note_sent()
    again = Journal.read(journal.path)
    assert again.sent("here") == Sent("r1", "", 2, [1])
    assert again.sent("here").missing(3) == [1, 2]
    assert again.sent("there").missing(3) == [0, 1, 2]


def test_a_broken_note_of_what_arrived_has_everything_sent_again(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.sent("here").confirm(2)
    journal.note_sent()
    next((tmp_path / "tracking").glob("*.sent.json")).write_text("{")
    assert Journal.read(journal.path).sent("here").missing(3) == [0, 1, 2]


def test_a_run_has_ended_unless_it_was_opened_again(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    states = []
    for kind in ("end", "tag", "again", "end"):
        journal.append({"kind": kind})
        states.append(journal.ended)
    assert states == [True, True, False, True]


def test_a_folder_that_takes_no_more_does_not_stop_the_run(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.path.unlink()
    journal.path.mkdir()
    assert journal.append({"kind": "end"}) == 3
    assert journal.broken


def test_a_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tracking" / "1.jsonl"
    path.parent.mkdir()
    path.write_text("no\n")
    with pytest.raises(LabError, match=r"1\.jsonl: no record of a run"):
        Journal.latest(tmp_path)


def test_a_discarded_journal_leaves_nothing(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.note_sent()
    journal.discard()
    assert list(tmp_path.iterdir()) == []


def test_numbers_keep_every_bit(tmp_path: Path) -> None:
    journal = Journal.begin(tmp_path, {})
    values = {"a": 0.1 + 0.2, "b": 1e-300, "c": float("inf")}
    journal.append({"kind": "metrics", "values": values})
    assert json.loads(journal.path.read_text().splitlines()[1])["values"] == values
