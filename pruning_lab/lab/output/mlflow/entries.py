"""How each kind of entry of a run's journal gets into an MLflow store. Knows neither when nor why it is sent.

Sending an entry twice leaves what sending it once does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruning_lab.lab.output.journal import Entry, Journal
from pruning_lab.lab.output.mlflow import names
from pruning_lab.lab.output.mlflow.model import keep_model
from pruning_lab.lab.output.mlflow.store import Store, is_outage
from pruning_lab.lab.output.short_names import with_short_names

if TYPE_CHECKING:
    from mlflow.entities import Run

# Enough of a fingerprint to tell data sets apart where MLflow's table has room for a word.
DIGEST_LENGTH = 12

KEY_TAG = "mlflow.pruning_lab.run_key"
"""The tag by which a run is found again that the store has, and whose answer got lost. MLflow's pages hide it."""

CHANGED = "_"
"""Before the short names of the parameters that a sweep changes."""

PARENT_TAG = "mlflow.parentRunId"


class Sender:
    """Sends the entries of one journal to one store, and notes what arrived.

    Args:
        parent: gives the store's name for the run above this one, empty where there is none.
        fresh: whether the store can't have heard of this run.
    """

    def __init__(self, store: Store, journal: Journal, parent: Callable[[], str], fresh: bool = False) -> None:
        self.store = store
        self.sent = journal.sent(store.address)
        self._journal = journal
        if not self.sent.run_id:
            found = None if fresh else self._found()
            self.sent.run_id = found.info.run_id if found else self._created(parent())
            journal.note_sent()

    def send(self, number: int) -> None:
        """Send an entry. Raises whatever MLflow raises; what is no outage is noted as refused."""
        entry = self._journal.entries[number]
        try:
            getattr(self, f"_send_{entry['kind']}")(entry)
        except Exception as error:
            if not is_outage(error):
                self.sent.refuse(number)
                self._journal.note_sent()
            raise
        self.sent.confirm(number)
        self._journal.note_sent()

    def _found(self) -> Run | None:
        key = self._journal.about["key"]
        runs = self.store.client.search_runs([self.store.experiment_id], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        return runs[0] if runs else None

    def _created(self, parent: str) -> str:
        about = self._journal.about
        tags = {**about["tags"], KEY_TAG: about["key"]} | ({PARENT_TAG: parent} if parent else {})
        run = self.store.client.create_run(
            self.store.experiment_id,
            start_time=about["time"],
            run_name=about["name"],
            tags={name: names.tag_text(text) for name, text in tags.items()},
        )
        return run.info.run_id

    def _send_parameters(self, entry: Entry) -> None:
        from mlflow.entities import Param

        entities = [Param(name, text) for name, text in entry["values"].items()]
        for chunk in names.chunks(entities, names.MOST_PARAMETERS_PER_CALL):
            self.store.client.log_batch(self.sent.run_id, params=chunk)

    def _send_tag(self, entry: Entry) -> None:
        self.store.client.set_tag(self.sent.run_id, entry["name"], entry["text"])

    def _send_metrics(self, entry: Entry) -> None:
        from mlflow.entities import Metric

        more = self._of_model() if entry.get("of_model") else {}
        entities = [
            Metric(name, value, entry["time"], entry["step"], **more) for name, value in entry["values"].items()
        ]
        for chunk in names.chunks(entities, names.MOST_METRICS_PER_CALL):
            self.store.client.log_batch(self.sent.run_id, metrics=chunk)

    def _of_model(self) -> dict[str, str]:
        """What makes metrics those of the run's model as well, on its data; nothing where the store has no model."""
        if not self.sent.model_id:
            return {}
        data = next(self._journal.of_kind("dataset"), None)
        about = {"dataset_name": data["name"], "dataset_digest": _digest(data)} if data else {}
        return {"model_id": self.sent.model_id, **about}

    def _send_file(self, entry: Entry) -> None:
        self.store.client.log_artifact(self.sent.run_id, str(self._path(entry)), entry["folder"])

    def _send_text(self, entry: Entry) -> None:
        self.store.client.log_text(self.sent.run_id, entry["text"], entry["path"])

    def _send_dataset(self, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile, source = json.dumps(entry["counts"]), json.dumps({"fingerprint": entry["fingerprint"]})
        dataset = Dataset(entry["name"], _digest(entry), "code", source, profile=profile)
        context = InputTag("mlflow.data.context", "pruning")
        self.store.client.log_inputs(self.sent.run_id, [DatasetInput(dataset, [context])])

    def _send_model(self, entry: Entry) -> None:
        self.sent.model_id = keep_model(self.store, self.sent, self._path(entry), entry)

    def _send_again(self, entry: Entry) -> None:
        self.store.client.update_run(self.sent.run_id, status="RUNNING")

    def _send_end(self, entry: Entry) -> None:
        self.store.client.set_terminated(self.sent.run_id, entry["status"], entry["time"])

    def _path(self, entry: Entry) -> Path:
        """Where a file of the run is now: its folder may have been moved since."""
        return self._journal.run_folder / entry["path"]


def _digest(dataset: Entry) -> str:
    return str(dataset["fingerprint"])[:DIGEST_LENGTH]


def parameters(values: Mapping[str, Any], changed: Mapping[str, str]) -> Entry:
    """The entry for a run's settings, in the order in which MLflow's page of a run shows them.

    Args:
        changed: what the run's sweep sets otherwise for other runs. It leads, and stands under a name that leads where
            MLflow goes by the alphabet: its comparison of runs plots the first three that differ.
    """
    lead = {f"{CHANGED}{key}": value for key, value in with_short_names(changed).items()}
    named = names.with_safe_names({**lead, **{key: values[key] for key in changed if key in values}, **values})
    return {"kind": "parameters", "values": {name: names.parameter_text(value) for name, value in named.items()}}


def told(entry: Entry) -> str:
    """An entry in words, for people."""
    kind = entry["kind"]
    if kind == "end":
        return "the run's status"
    about = entry.get("path") or entry.get("name") or ""
    return f"{kind} {about}".strip()
