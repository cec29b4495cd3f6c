"""The run above the jobs of a sweep: one for all of them, whatever process starts first. Knows no single job."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from pruning_lab.lab.output import sweep_summary
from pruning_lab.lab.output.mlflow import names
from pruning_lab.lab.output.mlflow.entries import CHANGED, parameters
from pruning_lab.lab.output.mlflow.store import Store
from pruning_lab.lab.output.mlflow.view import VIEW_TAG, sweep_view, sweep_view_name
from pruning_lab.lab.output.short_names import with_short_names
from pruning_lab.lab.output.sweep_record import RUNNING, SweepRecord

KEY_TAG = "mlflow.pruning_lab.sweep_key"
NOTE_TAG = "mlflow.note.content"


def parent_of(store: Store, record: SweepRecord) -> str:
    """The store's name for the run above; found, or made by the first job that needs it.

    Raises:
        Exception: what MLflow or the file system raises.
    """
    with record.alone():
        facts = record.facts()
        known = facts["stores"].get(store.address, {})
        run_id = known.get("run_id", "")
        if not run_id or not _is_there(store, run_id):
            run_id = _found(store, facts["key"]) or _created(store, record, facts["key"])
            facts["stores"][store.address] = {"run_id": run_id, "shown": ""}
            record.write_facts(facts)
        return run_id


def publish(store: Store, record: SweepRecord) -> bool:
    """Bring the run above up to date with what the sweep's record says; False where it was so already.

    Raises:
        Exception: what MLflow or the file system raises.
    """
    parent = parent_of(store, record)
    with record.alone():
        facts, jobs = record.facts(), record.jobs()
        parts = (sweep_summary.text(record.sweep, jobs), record.note_text())
        text = names.tag_text("\n\n".join(part for part in parts if part))
        content = json.dumps([parent, text, sweep_summary.rows(jobs)], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        known = facts["stores"][store.address]
        if known["shown"] == digest:
            return False
        ended = sum(job.status != RUNNING for job in jobs)
        _show(store, parent, text, jobs, ended)
        for path in sorted(record.more.glob("*")):
            store.client.log_artifact(parent, str(path), record.more.name)
        known["shown"] = digest
        record.write_facts(facts)
    return True


def _show(store: Store, parent: str, text: str, jobs: list[Any], ended: int) -> None:
    from mlflow.entities import Metric, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, ended) for name, value in sweep_summary.counts(jobs).items()]
    store.client.log_batch(parent, metrics=metrics, tags=[RunTag(NOTE_TAG, text)])
    store.client.log_text(parent, names.as_csv(sweep_summary.rows(jobs)), "tables/runs.csv")
    with tempfile.TemporaryDirectory() as folder:
        if picture := sweep_summary.picture(jobs, Path(folder) / "pareto.png"):
            store.client.log_artifact(parent, str(picture), "figures")
    state = sweep_summary.status(jobs)
    if state == RUNNING:
        store.client.update_run(parent, status=RUNNING)
    else:
        store.client.set_terminated(parent, state, now)


def _is_there(store: Store, run_id: str) -> bool:
    """Whether the run is in the store, and was not deleted by someone."""
    from mlflow.exceptions import MlflowException

    try:
        return str(store.client.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _found(store: Store, key: str) -> str:
    runs = store.client.search_runs([store.experiment_id], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return str(runs[0].info.run_id) if runs else ""


def _created(store: Store, record: SweepRecord, key: str) -> str:
    from mlflow.entities import Param

    sweep = record.sweep
    tags = {
        KEY_TAG: key,
        "run_folder": str(sweep.folder),
        "mlflow.user": names.user(),
        "mlflow.source.name": "pruning_lab",
        "mlflow.source.type": "LOCAL",
        NOTE_TAG: f"`{' '.join(sweep.asked)}`",
    }
    tags = {name: names.tag_text(text) for name, text in tags.items()}
    run = store.client.create_run(store.experiment_id, tags=tags, run_name=sweep.name)
    run_id = str(run.info.run_id)
    asked = dict(each.lstrip("+").split("=", 1) for each in sweep.asked if "=" in each)
    entry = parameters({}, {name: asked[name] for name in sweep.changed if name in asked})
    if entry["values"]:
        store.client.log_batch(run_id, params=[Param(name, text) for name, text in entry["values"].items()])
    view = sweep_view(run_id, [f"{CHANGED}{name}" for name in with_short_names(sweep.changed)])
    store.client.set_experiment_tag(store.experiment_id, VIEW_TAG + sweep_view_name(run_id), json.dumps(view))
    return run_id
