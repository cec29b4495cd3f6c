"""`task=budgets`: one pruning that ends as a run at each of several budgets, and takes the steps they share once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.common.marks import DONE, write_mark
from pruning_lab.lab.output.run_folder import HYDRA_FOLDER
from pruning_lab.lab.output.tracker import Sweep
from pruning_lab.lab.several_budgets import prune_to_each
from pruning_lab.resources.table import RESOURCES
from pruning_lab.tasks.assembly import fill_from_data, prepared_data
from pruning_lab.tasks.config import write_config
from pruning_lab.tasks.naming import sweep_of, typed_for
from pruning_lab.tasks.outcome import Outcome, returned
from pruning_lab.tasks.prune import pruning_of

PRUNE = {"_target_": "pruning_lab.tasks.prune.prune", "_partial_": True}
"""The task of each budget's run, as conf/task/prune.yaml has it."""


def budgets(config: DictConfig, folder: Path, choices: Mapping[str, Any], limits: Sequence[float]) -> Outcome:
    """Prune to several budgets; returns the summary metric of the tightest.

    Args:
        limits: fractions of the base's resource that `stop` names. Each makes a run in a folder of its own below this
            one, as if it had been run alone.

    Raises:
        LabError: `stop` limits several resources, or milliseconds; their steps can't be shared.
    """
    name = _resource(config)
    if not limits or not all(0 < limit <= 1 for limit in limits):
        raise LabError(f"task.limits={list(limits)} must be fractions in (0, 1], at least one")
    configs = [_to_budget(config, name, limit) for limit in sorted(set(limits), reverse=True)]
    data = prepared_data(configs[0])
    experiments = []
    for each in configs:
        fill_from_data(each, data)
        place = folder / f"{name}_{each.stop[name]:g}"
        lab = pruning_of(each, data, place, {**choices, "task": "prune"})
        experiments.append(replace(lab, output=replace(lab.output, sweep=_sweep(config, folder, name, each))))
        _copy_record(folder, place)
    write_config(config, folder)
    summary = prune_to_each(experiments)[-1]
    write_mark(folder, DONE, {"summary": summary})
    return returned(config, summary)


def _resource(config: DictConfig) -> str:
    names = [str(key) for key, limit in config.stop.items() if not str(key).startswith("_") and limit is not None]
    if len(names) != 1 or names[0] not in RESOURCES:
        raise LabError("task=budgets needs one resource: use stop=flops, stop=weights, stop=memory or stop=latency")
    return names[0]


def _to_budget(config: DictConfig, name: str, limit: float) -> DictConfig:
    """The config of a run that prunes to this budget alone."""
    config = copy.deepcopy(config)
    OmegaConf.update(config, f"stop.{name}", limit)
    config.task = PRUNE
    return config


def _sweep(config: DictConfig, folder: Path, name: str, own: DictConfig) -> Sweep:
    """What a budget's run is a job of: of all the budgets, or of the sweep that this task is a job of itself.

    Args:
        own: the run's config.
    """
    changed = {f"stop.{name}": f"{own.stop[name]:g}"}
    if (sweep := sweep_of(folder, config.name)) is not None:
        return replace(sweep, changed={**sweep.changed, **changed})
    return Sweep(folder, f"{config.name}: budgets of {name}", changed, typed_for(folder).own)


def _copy_record(folder: Path, place: Path) -> None:
    """Hydra's record of the choices goes with each run, as each is read alone; its task is to prune."""
    if (path := folder / HYDRA_FOLDER / "hydra.yaml").is_file():
        record = OmegaConf.load(path)
        OmegaConf.update(record, "hydra.runtime.choices.task", "prune")
        write_atomically(place / HYDRA_FOLDER / "hydra.yaml", OmegaConf.to_yaml(record))
