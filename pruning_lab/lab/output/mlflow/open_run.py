"""One run between its journal and a store: connects when it can, sends in order, tells the sweep above it.

Knows nothing of what the entries mean.
"""

from __future__ import annotations

import logging
import os
import shlex
from functools import partial
from pathlib import Path

from pruning_lab.common.errors import first_line
from pruning_lab.lab.output.deliveries import LONGEST, Deliveries
from pruning_lab.lab.output.journal import Entry, Journal, Sent
from pruning_lab.lab.output.mlflow.entries import Sender, told
from pruning_lab.lab.output.mlflow.parent import parent_of, publish
from pruning_lab.lab.output.mlflow.store import is_outage, open_store, without_password
from pruning_lab.lab.output.mlflow.view import run_address, sweep_address
from pruning_lab.lab.output.sweep_record import RUNNING, Job, SweepRecord, from_plain


class OpenRun:
    """A run and the store that it is sent to.

    Args:
        uri: the store's whole address.
        root: folder of all runs.
        fresh: whether the store can't have heard of this run.
    """

    def __init__(self, journal: Journal, uri: str, root: Path, fresh: bool = False) -> None:
        self.journal = journal
        self.store_address = without_password(uri)
        sweep = from_plain(journal.about["sweep"], journal.run_folder)
        self.record = SweepRecord(sweep) if sweep else None
        self.backlog = Deliveries(
            is_outage,
            how_to_go_on="; when it is back: python -m pruning_lab name=upload task=upload "
            f"task.runs={shlex.quote(str(journal.run_folder))}",
        )
        self._uri, self._root, self._fresh = uri, root, fresh
        self._sender: Sender | None = None
        self._log = logging.getLogger(__name__)

    @property
    def sent(self) -> Sent:
        """What the store has of the run."""
        return self.journal.sent(self.store_address)

    @property
    def address(self) -> str:
        """Where people see the run or its whole sweep, in words; empty while the store has not answered."""
        if self._sender is None:
            return ""
        experiment = self._sender.store.experiment_id
        if self.record is not None:
            return sweep_address(self.store_address, experiment, self.record.parent(self.store_address))
        return run_address(self.store_address, experiment, self.sent.run_id)

    def connect(self) -> Sender:
        """Open the store and the run there, if that is still to be done. Raises what MLflow and the database raise."""
        if self._sender is None:
            store = open_store(self._uri, self.journal.about["experiment"], self._root)
            record = self.record
            fresh, self._fresh = self._fresh, False
            parent = partial(parent_of, store, record) if record is not None else str
            self._sender = Sender(store, self.journal, parent, fresh)
        return self._sender

    def keep(self, entry: Entry) -> None:
        """Write an entry down, and send it as soon as the store is there. Never raises."""
        self._deliver(self.journal.append(entry))

    def send_missing(self) -> None:
        """Send what the store does not have, as soon as it is there. Never raises."""
        for number in self.sent.missing(len(self.journal.entries)):
            self._deliver(number)

    def _deliver(self, number: int) -> None:
        self.backlog.deliver(told(self.journal.entries[number]), lambda: self.connect().send(number))

    def note_job(self, status: str, reason: str = "") -> None:
        """Tell the sweep what became of this job and, at its end, the store as well. Never raises."""
        if self.record is None:
            return
        try:
            with self.record.alone():
                self.record.note(self.as_job(self.record, status, reason))
            if status != RUNNING and self._sender is not None and not self.backlog.away:
                publish(self._sender.store, self.record)
        except Exception as error:
            self._log.warning("tracking: the sweep's summary lacks this run (%s)", first_line(error, LONGEST))

    def as_job(self, record: SweepRecord, status: str, reason: str) -> Job:
        """The run as a job of its sweep."""
        about = self.journal.about
        folder = os.path.relpath(self.journal.run_folder.absolute(), record.sweep.folder.absolute())
        summary: dict[str, float] = {}
        for entry in self.journal.of_kind("metrics"):
            summary.update(entry["values"] if entry.get("of_model") else {})
        return Job(folder, about["name"] or folder, status, about["sweep"]["changed"], summary, reason)
