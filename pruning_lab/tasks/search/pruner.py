"""Which run of a search is hopeless: one that is worse at its last step than others were at theirs. Knows no run."""

from __future__ import annotations

import numpy as np
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruning_lab.common.errors import LabError


class WorseThanOthers(BasePruner):
    """Gives up a run whose last score is worse than that of a share of finished ones at the same step.

    Optuna's MedianPruner goes by the best score so far. Scores fall while a network is pruned, so the best is that of
    the first step, and nothing later would count.
    """

    def __init__(self, share: float = 0.5, least: int = 5, first_step: int = 2) -> None:
        """Set how strict it is.

        Args:
            share: of finished runs that have to be better, in (0, 1); 0.5 compares with the median.
            least: finished runs with that step, before anything is given up.
            first_step: the first one at which a run may be given up.

        Raises:
            LabError: a value is out of its range.
        """
        if not 0 < share < 1 or least < 1:
            raise LabError(f"hydra.sweeper.pruner: share={share} is in (0, 1), and least={least} is 1 or more")
        self._share, self._least, self._first_step = share, least, first_step

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial's run is hopeless."""
        step = trial.last_step
        if step is None or step < self._first_step:
            return False
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [each.intermediate_values[step] for each in finished if step in each.intermediate_values]
        if len(others) < self._least:
            return False
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        bound = np.quantile([sign * each for each in others], 1 - self._share)
        return bool(sign * trial.intermediate_values[step] < bound)
