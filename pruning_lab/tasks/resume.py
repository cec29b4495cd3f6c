"""`task=resume`: goes on with a run that was cut short, by the record in its folder. Knows no step of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pruning_lab.common.claims import claimed
from pruning_lab.common.errors import LabError
from pruning_lab.common.marks import BEGUN, DONE, read_mark
from pruning_lab.lab.output.run_folder import choices_of, read_config
from pruning_lab.tasks.config import build
from pruning_lab.tasks.outcome import Outcome


def resume(config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str) -> Outcome:
    """Go on with a run from what it saved last; returns what the task of that run would have returned.

    Args:
        run: the run's folder. All settings are those of its config; of this task's config `devices` alone counts.

    Raises:
        LabError: no run was begun in the folder.
    """
    place = Path(run).absolute()
    if not place.is_dir():
        raise LabError(f"task.run={run} is no folder; give the folder of a run")
    with claimed(place):
        if read_mark(place, DONE) is not None:
            print(f"{run} is done: there is nothing to go on with", flush=True)
            return Outcome()
        if not (place / "config.yaml").is_file() or not _was_begun(place):
            raise LabError(f"{run} holds no saved state of a run; give the folder of a run that was cut short")
        own: Any = OmegaConf.create(dict(read_config(place / "config.yaml")))
        own.devices = config.devices if config.devices is not None else own.get("devices")
        outcome: Outcome = build(own.task)(own, place, choices_of(place))
    return outcome


def _was_begun(place: Path) -> bool:
    """Whether a run was begun here, or below here where the task makes several."""
    return any(read_mark(folder, BEGUN) is not None for folder in (place, *(p for p in place.iterdir() if p.is_dir())))
