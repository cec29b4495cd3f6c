"""`task=resume`: goes on with a pruning that was cut short, by the record in its folder. Knows no step of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pruning_lab.lab.output.run_folder import choices_of, read_config
from pruning_lab.lab.resume import resume as resume_run
from pruning_lab.lab.saved_state import saved_state
from pruning_lab.tasks.assembly import prepared_data, returned
from pruning_lab.tasks.outcome import Outcome
from pruning_lab.tasks.prune import pruning_of


def resume(config: DictConfig, folder: Path, choices: Mapping[str, Any], run: str) -> Outcome:
    """Go on with a run from its last saved step; returns what the task of that run would have returned.

    Args:
        run: the run's folder. All settings are those of its config; of this task's config none counts.

    Raises:
        LabError: the folder holds no saved state.
    """
    place = Path(run).absolute()
    saved_state(place)
    own: Any = OmegaConf.create(dict(read_config(place / "config.yaml")))
    return returned(own, resume_run(pruning_of(own, prepared_data(own), place, choices_of(place))))
