"""Within a job of a search: tells Optuna each step's score, and gives up hopeless runs. Trains nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pruning_lab.common.errors import GivenUpError, LabError

TRIAL = "PRUNING_LAB_TRIAL"
"""Environment variable of a job of a search that gives up hopeless runs: which trial it is, as JSON."""

Judge = Callable[[Mapping[str, float]], None]


def trial_text(journal: Path, study: str, number: int, pruner: Mapping[str, object], metric: str) -> str:
    """What a job is told of its trial."""
    about = {"journal": str(journal), "study": study, "number": number, "pruner": dict(pruner), "metric": metric}
    return json.dumps(about)


def judge_of_this_job() -> Judge | None:
    """What looks at each step of this job's run; None where nothing does."""
    text = os.environ.get(TRIAL, "")
    return _judge(json.loads(text)) if text else None


def _judge(about: Mapping[str, object]) -> Judge:
    import optuna

    from pruning_lab.tasks.config import build
    from pruning_lab.tasks.search.study import storage_of

    study = optuna.load_study(
        study_name=str(about["study"]), storage=storage_of(Path(str(about["journal"]))), pruner=build(about["pruner"])
    )
    metric = str(about["metric"])
    frozen = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == about["number"])
    trial = optuna.trial.Trial(study, frozen._trial_id)

    def judge(row: Mapping[str, float]) -> None:
        """Raises GivenUpError where the trial is hopeless."""
        if metric not in row:
            raise LabError(
                f"hydra.sweeper.prune_by={metric} is not in the history; use one of {', '.join(sorted(row))}"
            )
        step = int(row["step"])
        known = next(each for each in study.get_trials(deepcopy=False) if each.number == about["number"])
        if step not in known.intermediate_values:
            trial.report(row[metric], step)
        if trial.should_prune():
            raise GivenUpError(f"after step {step} by the pruner: {metric} is {row[metric]:.4f}")

    return judge
