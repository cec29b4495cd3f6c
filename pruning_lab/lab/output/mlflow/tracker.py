"""What the lab talks to: all goes into the run's journal, and from there into an MLflow store. Knows no models."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import disk_trouble
from pruning_lab.lab.output.journal import Entry, Journal
from pruning_lab.lab.output.mlflow import names
from pruning_lab.lab.output.mlflow.entries import parameters
from pruning_lab.lab.output.mlflow.machine import Machine
from pruning_lab.lab.output.mlflow.open_run import OpenRun
from pruning_lab.lab.output.mlflow.parent import NOTE_TAG
from pruning_lab.lab.output.mlflow.store import address_of, is_outage, silence_mlflow, why_not, without_password
from pruning_lab.lab.output.sweep_record import RUNNING, as_plain
from pruning_lab.lab.output.tracker import Opening, Status


class MlflowTracker:
    """Logs to an MLflow store: any `uri` that MLflow knows, by default an SQLite file under the output root.

    A database without a server has its artifacts beside it, or under the output root, in `mlartifacts/`. What a store
    that is away has missed stays in the run's folder. MLflow's own chatter is switched off: this class says what goes
    wrong, in one line each.
    """

    def __init__(
        self,
        uri: str | None = None,
        experiment: str = "pruning_lab",
        run_name: str | None = None,
        must_answer: bool = True,
        register: str | None = None,
        system_metrics: float | None = None,
    ) -> None:
        self.uri = uri
        self.experiment = experiment
        self.run_name = run_name
        self.must_answer = must_answer
        self.register = register
        self.system_metrics = system_metrics
        self._run: OpenRun | None = None
        self._machine: Machine | None = None

    @property
    def lost(self) -> bool:
        return self._run is not None and self._run.backlog.lost

    @property
    def run_id(self) -> str:
        return self._run.sent.run_id if self._run is not None else ""

    @property
    def address(self) -> str:
        return self._run.address if self._run is not None else ""

    def start(self, opening: Opening, run_id: str | None = None) -> None:
        silence_mlflow()
        uri = address_of(self.uri, opening.root)
        machine = Machine(self.system_metrics, self._note_machine) if self.system_metrics is not None else None
        earlier = Journal.latest(opening.folder) if run_id is not None else None
        journal = earlier or self._new_journal(opening, uri)
        self._run = run = OpenRun(journal, uri, opening.root, fresh=run_id is None)
        if run_id is None:
            journal.append(parameters(opening.parameters, opening.sweep.changed if opening.sweep else {}))
        else:
            run.sent.run_id = run.sent.run_id or run_id
            journal.append({"kind": "again"})
            if any(entry["name"] == "failure" and entry["text"] for entry in journal.of_kind("tag")):
                journal.append({"kind": "tag", "name": "failure", "text": ""})
        try:
            run.connect()
        except Exception as error:
            self._bear(run, error, begins=earlier is None)
        run.send_missing()
        run.note_job(RUNNING)
        if machine is not None:
            self._machine = machine.start(sum(entry.get("machine", False) for entry in journal.entries))

    def _new_journal(self, opening: Opening, uri: str) -> Journal:
        shown = {
            "mlflow.user": names.user(),
            "mlflow.source.name": "pruning_lab",
            "mlflow.source.type": "LOCAL",
        }
        if "command" in opening.tags:
            shown[NOTE_TAG] = f"`{opening.tags['command']}`"
        about = {
            "name": self.run_name,
            "experiment": self.experiment,
            "address": without_password(uri),
            "root": str(Path(opening.root).resolve()),
            "time": _now(),
            "tags": {**shown, **opening.tags},
            "sweep": as_plain(opening.sweep, opening.folder),
        }
        try:
            return Journal.begin(opening.folder, about)
        except OSError as error:
            raise LabError(f"the run is not begun: {disk_trouble(error, opening.folder)}") from error

    def _bear(self, run: OpenRun, error: Exception, begins: bool) -> None:
        """Go on without a store that has answered before, or need not; a run that can't begin leaves no journal."""
        known = run.record is not None and run.record.parent(run.store_address) != ""
        if not isinstance(error, LabError) and is_outage(error) and (not begins or known or not self.must_answer):
            return
        if begins:
            run.journal.discard()
        raise why_not(error, address_of(self.uri, run.journal.run_folder)) from error

    def tag(self, name: str, value: str) -> None:
        self._keep({"kind": "tag", "name": name, "text": names.tag_text(value)})

    def describe(self, text: str) -> None:
        self.tag(NOTE_TAG, text)

    def log_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self._keep(self._news(step, metrics))

    def log_summary(self, metrics: Mapping[str, float]) -> None:
        self._keep({**self._news(0, metrics), "of_model": True})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        self._keep({"kind": "file", "path": self._relative(path), "folder": folder})

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._keep({"kind": "text", "path": f"tables/{name}.csv", "text": names.as_csv(rows)})

    def log_dataset(self, name: str, fingerprint: str, counts: Mapping[str, int]) -> None:
        self._keep({"kind": "dataset", "name": name, "fingerprint": fingerprint, "counts": dict(counts)})

    def log_model_folder(self, path: Path) -> None:
        tags = {"run_name": str(self.run_name), "run_folder": str(self._open.journal.run_folder)}
        self._keep({"kind": "model", "path": self._relative(path), "register": self.register or "", "tags": tags})

    def finish(self, status: Status, reason: str = "") -> None:
        if self._machine is not None:
            self._machine.stop()
        if reason:
            self.tag("failure", reason)
            command = self._open.journal.about["tags"].get(NOTE_TAG, "")
            self.describe(f"**{status.capitalize()}**: {reason}\n\n{command}")
        self._keep({"kind": "end", "status": status, "time": _now()})
        self._open.backlog.close()
        self._open.note_job(status, reason)
        if broken := self._open.journal.broken:
            logging.getLogger(__name__).warning("tracking: task=upload lacks a part of this run (%s)", broken)

    @property
    def _open(self) -> OpenRun:
        if self._run is None:
            raise RuntimeError("the run is not started yet")
        return self._run

    def _keep(self, entry: Entry) -> None:
        self._open.keep(entry)

    def _news(self, step: int, metrics: Mapping[str, float]) -> Entry:
        """Metrics without those that were logged for this step before a kill, with the same values."""
        entry, known = _metrics(step, metrics), self._open.journal.known(step)
        entry["values"] = {name: value for name, value in entry["values"].items() if known.get(name) != value}
        return entry

    def _note_machine(self, sample: int, metrics: Mapping[str, float]) -> None:
        self._keep({**_metrics(sample, metrics), "machine": True})

    def _relative(self, path: Path) -> str:
        """Where a file is from the run's folder, which may be moved before it is sent."""
        return os.path.relpath(Path(path).absolute(), self._open.journal.run_folder.absolute())


def _metrics(step: int, metrics: Mapping[str, float]) -> Entry:
    values = {name: float(value) for name, value in names.with_safe_names(metrics).items()}
    return {"kind": "metrics", "time": _now(), "step": step, "values": values}


def _now() -> int:
    """Milliseconds, as MLflow counts them."""
    return int(time.time() * 1000)
