"""Sends what a store has missed of runs that are over, from their folders. Knows no running run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.lab.output.journal import Journal
from pruning_lab.lab.output.mlflow.open_run import OpenRun
from pruning_lab.lab.output.mlflow.parent import publish
from pruning_lab.lab.output.mlflow.store import is_outage, silence_mlflow, why_not


@dataclass(frozen=True)
class Uploaded:
    """What an upload of one run did.

    Attributes:
        entries: that were sent.
        refused: why entries were not taken, a line each.
        mended: whether the run had been killed, and is marked so now.
    """

    entries: int = 0
    refused: tuple[str, ...] = ()
    mended: bool = False

    @property
    def nothing(self) -> bool:
        """Whether the store had everything."""
        return not (self.entries or self.refused or self.mended)


def upload(journal: Journal, uri: str) -> Uploaded:
    """Send what a store does not have of a run that no process holds; a second time there is nothing to send.

    Args:
        uri: the store's whole address.

    Raises:
        LabError: the store can't be used, or goes away on the way; what was sent by then stays sent.
    """
    silence_mlflow()
    run = OpenRun(journal, uri, Path(journal.about["root"]))
    mended = not journal.ended
    if mended:
        journal.append({"kind": "end", "status": "KILLED", "time": _last_sign(journal)})
    missing = run.sent.missing(len(journal.entries))
    refused = []
    with _told(uri):
        sender = run.connect()
        for number in missing:
            try:
                sender.send(number)
            except Exception as error:
                if is_outage(error):
                    raise
                refused.append(first_line(error))
    _note(run)
    return Uploaded(len(missing) - len(refused), tuple(refused), mended)


def summarize(journal: Journal, uri: str) -> bool:
    """Bring the run above the jobs of a sweep up to date; whether anything was new.

    Args:
        journal: of any job of the sweep; that of a run of its own changes nothing.
        uri: the store's whole address.

    Raises:
        LabError: the store can't be used.
    """
    run = OpenRun(journal, uri, Path(journal.about["root"]))
    if run.record is None:
        return False
    with _told(uri):
        return publish(run.connect().store, run.record)


def _note(run: OpenRun) -> None:
    """Tell the sweep's record what became of a run."""
    if run.record is None:
        return
    status = next(entry["status"] for entry in reversed(run.journal.entries) if entry["kind"] == "end")
    reasons = [entry["text"] for entry in run.journal.of_kind("tag") if entry["name"] == "failure"]
    with run.record.alone():
        run.record.note(run.as_job(run.record, status, reasons[-1] if reasons and status == "FAILED" else ""))


def _last_sign(journal: Journal) -> int:
    """When a run that was killed still wrote, in milliseconds."""
    return int(journal.path.stat().st_mtime * 1000)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    try:
        yield
    except LabError:
        raise
    except Exception as error:
        raise why_not(error, uri) from error
