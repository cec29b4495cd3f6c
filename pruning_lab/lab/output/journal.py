"""What a run has for a tracking store, kept in the run's folder, and how much of it a store has. Knows no store.

`tracking/N.jsonl` holds the N-th run of a folder: a line that says what it is, and a line for each entry. `N.sent.json`
says for every address that it was sent to which entries arrived there.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically

FOLDER = "tracking"

Entry = dict[str, Any]
"""An entry's `kind`, and what belongs to it; plain data."""


@dataclass
class Sent:
    """What one store has of a run.

    Attributes:
        run_id: the store's name for the run; empty where it has none yet.
        model_id: the store's name for the run's model.
        count: entries that were sent, from the first on.
        refused: those among them that the store did not take.
    """

    run_id: str = ""
    model_id: str = ""
    count: int = 0
    refused: list[int] = field(default_factory=list)

    def missing(self, total: int) -> list[int]:
        """Numbers of the entries that the store does not have, in order."""
        return [*self.refused, *range(self.count, total)]

    def confirm(self, number: int) -> None:
        """An entry arrived."""
        self.refused = [each for each in self.refused if each != number]
        self.count = max(self.count, number + 1)

    def refuse(self, number: int) -> None:
        """An entry was not taken; the next one may be sent, and this one again another time."""
        self.confirm(number)
        self.refused.append(number)


class Journal:
    """The entries of one run, in order. Every one is on disk before it is sent anywhere.

    A disk that takes no more costs the entries their place there, never the run: `broken` then tells why.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], entries: list[Entry]) -> None:
        self.path = path
        self.about = about
        self.entries = entries
        self.broken = ""
        self._lock = threading.Lock()
        self._sent = _read_sent(self._sent_path)

    @classmethod
    def begin(cls, run_folder: Path, about: Mapping[str, Any]) -> Self:
        """A journal for a new run; what an earlier run left in the folder stays.

        Raises:
            OSError: nothing can be written there.
        """
        taken = [int(path.stem) for path in _paths(run_folder)]
        path = run_folder / FOLDER / f"{max(taken, default=0) + 1}.jsonl"
        about = {"key": uuid.uuid4().hex, **about}
        write_atomically(path, json.dumps(about) + "\n")
        return cls(path, about, [])

    @classmethod
    def all_of(cls, run_folder: Path) -> list[Self]:
        """Every journal in a run's folder, the latest last."""
        return [cls.read(path) for path in _paths(run_folder)]

    @classmethod
    def latest(cls, run_folder: Path) -> Self | None:
        """The journal of the last run that worked in a folder; None where there was none."""
        paths = _paths(run_folder)
        return cls.read(paths[-1]) if paths else None

    @classmethod
    def read(cls, path: Path) -> Self:
        """A journal as its file has it; a last line that was cut off by a kill is taken out.

        Raises:
            LabError: the file can't be read, or is no journal.
        """
        try:
            whole, _, torn = path.read_bytes().rpartition(b"\n")
            if torn:
                with open(path, "rb+") as stream:
                    stream.truncate(len(whole) + 1)
            about, *entries = map(json.loads, whole.splitlines())
        except (OSError, ValueError) as error:
            raise LabError(f"{path}: no record of a run ({error}); delete the file") from error
        return cls(path, about, entries)

    def append(self, entry: Entry) -> int:
        """Keep an entry; returns its number."""
        with self._lock:
            self.entries.append(entry)
            try:
                with open(self.path, "a", encoding="utf-8") as stream:
                    stream.write(json.dumps(entry) + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                self.broken = str(error)
            return len(self.entries) - 1

    def sent(self, address: str) -> Sent:
        """What the store at an address has; the same object at every call."""
        return self._sent.setdefault(address, Sent())

    def note_sent(self) -> None:
        """Write down what the stores have."""
        with self._lock:
            content = {address: asdict(sent) for address, sent in self._sent.items()}
            try:
                write_atomically(self._sent_path, json.dumps(content) + "\n")
            except OSError as error:
                self.broken = str(error)

    def discard(self) -> None:
        """Take the journal away: the run did not begin."""
        self.path.unlink(missing_ok=True)
        self._sent_path.unlink(missing_ok=True)
        if not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()

    def known(self, step: int) -> dict[str, float]:
        """What was logged for a step already: a run that goes on may take a step again that it had logged."""
        values: dict[str, float] = {}
        for entry in self.of_kind("metrics"):
            values.update(entry["values"] if entry["step"] == step and not entry.get("machine") else {})
        return values

    @property
    def run_folder(self) -> Path:
        """The folder whose run this is, where it is now."""
        return self.path.parent.parent

    @property
    def ended(self) -> bool:
        """Whether the run came to an end, and was not opened again after it."""
        last = next((entry["kind"] for entry in reversed(self.entries) if entry["kind"] in ("end", "again")), "again")
        return last == "end"

    def of_kind(self, kind: str) -> Iterator[Entry]:
        """Entries of one kind, in order."""
        return (entry for entry in self.entries if entry["kind"] == kind)

    @property
    def _sent_path(self) -> Path:
        return self.path.with_suffix(".sent.json")


def _paths(run_folder: Path) -> list[Path]:
    found = [path for path in (run_folder / FOLDER).glob("*.jsonl") if path.stem.isdigit()]
    return sorted(found, key=lambda path: int(path.stem))


def _read_sent(path: Path) -> dict[str, Sent]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {address: Sent(**sent) for address, sent in content.items()}
    except (OSError, ValueError, TypeError):  # then everything is sent again, which changes nothing there
        return {}
