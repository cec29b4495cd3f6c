"""A run's model in an MLflow store: a LoggedModel that holds the lab's own checkpoint, and a place in the registry.

MLflow's own formats pickle a model, or freeze its batch size; `pruning_lab.load` reads what is kept here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pruning_lab.lab.output.journal import Entry, Sent
from pruning_lab.lab.output.mlflow.store import Store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

NAME = "model"
"""Under this name `runs:/RUN/model` finds it, too."""

MODEL_TYPE = "pruning_lab.checkpoint"


def keep_model(store: Store, sent: Sent, folder: Path, entry: Entry) -> str:
    """Keep a checkpoint's folder as the run's model; returns the store's name for it.

    Args:
        entry: `register` is its name in the registry, empty for no place there.
    """
    from mlflow.entities import LoggedModelOutput

    client = store.client
    model = _found(store, sent.run_id) or client.create_logged_model(
        store.experiment_id, NAME, source_run_id=sent.run_id, model_type=MODEL_TYPE, tags=entry["tags"]
    )
    if str(model.status) != "READY":
        client.log_model_artifacts(model.model_id, str(folder))
        client.log_outputs(sent.run_id, [LoggedModelOutput(model.model_id, 0)])
        client.finalize_logged_model(model.model_id, "READY")
    if entry["register"]:
        _register(store, entry["register"], model, sent.run_id)
    return model.model_id


def _found(store: Store, run_id: str) -> LoggedModel | None:
    """The model that this run has in the store already."""
    models = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
    return next((model for model in models if model.name == NAME), None)


def _register(store: Store, name: str, model: LoggedModel, run_id: str) -> None:
    from mlflow.exceptions import MlflowException

    client = store.client
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}'")
    version = next((each for each in versions if each.run_id == run_id), None) or client.create_model_version(
        name, model.artifact_location, run_id, model_id=model.model_id
    )
    # What MLflow's page of models links by; `mlflow.register_model` sets it as well.
    links = json.dumps([{"name": name, "version": version.version}])
    client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": links})
