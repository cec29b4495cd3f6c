"""The study of a search on disk: trials keep number, values and folder, whoever works on them. Launches none."""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.config import build, find
from pruning_lab.tasks.search.space import Space, as_text, difference, drawn

JOURNAL = "study.journal"
ASKED, FOLDER, REASON = "asked", "folder", "reason"
"""Names of what a study and its trials are told beside their values."""

DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Asked:
    """What a search was asked for, as far as its trials can be compared.

    Attributes:
        space: key -> what its values are drawn from, as text.
        objectives: summary metrics.
        directions: `maximize` or `minimize`, one for each.
        settings: a hash of all that is the same in its trials.
    """

    space: Mapping[str, str]
    objectives: Sequence[str]
    directions: Sequence[str]
    settings: str


def asked_for(space: Space, returns: Any, directions: Any, settings: str) -> Asked:
    """What a search is asked for; raises LabError where directions and objectives do not go together."""
    objectives = [returns] if isinstance(returns, str) else [str(name) for name in returns]
    if directions is None:
        directions = [DIRECTIONS[0]] * len(objectives)
    given = [directions] if isinstance(directions, str) else [str(each) for each in directions]
    wrong = [each for each in given if each not in DIRECTIONS]
    if wrong or len(given) != len(objectives) or not objectives:
        raise LabError(
            f"hydra.sweeper.directions={given} does not fit returns={objectives}; "
            "give maximize or minimize for each of them, in their order"
        )
    return Asked(as_text(space), objectives, given, settings)


def storage_of(journal: Path) -> JournalStorage:
    """The trials in a file; Optuna's own word on each step is not told."""
    optuna.logging.set_verbosity(logging.ERROR)
    return JournalStorage(JournalFileBackend(str(journal)))


class Study:
    """A study that one process draws from."""

    def __init__(self, folder: Path, name: str, space: Space, asked: Asked, sampler: Any, seed: int) -> None:
        """Open the study in a folder, or begin it there.

        Args:
            sampler: a node with the `_target_` of one of Optuna's; None for its TPE.
            seed: of the sampler.

        Raises:
            LabError: the study was begun as another search.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.journal, self.name, self.asked = folder / JOURNAL, name, asked
        self._space, self._sampler, self._seed = space, sampler, seed
        _mend(self.journal)
        sampled = self._sampler_for(0)
        try:
            self._study = optuna.create_study(
                study_name=name,
                storage=storage_of(self.journal),
                sampler=sampled,
                directions=list(asked.directions),
                load_if_exists=True,
            )
        except (ValueError, KeyError) as error:
            raise LabError(f"{self.journal} can't be read ({error}); give hydra.sweeper.study_name=ANOTHER") from error
        _refuse_another(self._study, asked)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self._study.get_trials(deepcopy=False)

    def open_trials(self) -> list[Trial]:
        """Those that an earlier process left unfinished, or that failed."""
        return [Trial(self._study, each._trial_id) for each in self.trials if each.state == TrialState.RUNNING]

    def new_trial(self) -> Trial:
        """One more. It is the same whether the search was ever cut short or not."""
        self._study.sampler = self._sampler_for(len(self.trials))
        trial = self._study.ask()
        self.settings(trial)
        return trial

    def settings(self, trial: Trial) -> list[str]:
        """What a trial sets, `key=value`."""
        return drawn(trial, self._space)

    def tell(self, trial: Trial, summary: Mapping[str, float]) -> str:
        """End a trial by a run's summary; why it can't be ended, where it can't."""
        lacking = [name for name in self.asked.objectives if not math.isfinite(summary.get(name, math.nan))]
        if lacking:
            return f"{', '.join(lacking)} came to no number"
        self._study.tell(trial, [summary[name] for name in self.asked.objectives])
        return ""

    def give_up(self, trial: Trial) -> None:
        """End a trial that its run gave up."""
        self._study.tell(trial, state=TrialState.PRUNED)

    def front(self) -> list[FrozenTrial]:
        """Trials that no other one beats in all objectives; of equal ones the first."""
        best = self._study.best_trials
        folders: dict[str, FrozenTrial] = {}
        for trial in best:
            folders.setdefault(trial.user_attrs.get(FOLDER, str(trial.number)), trial)
        if len(self.asked.objectives) == 1:
            return list(folders.values())[:1]
        return sorted(folders.values(), key=lambda trial: trial.values)

    def _sampler_for(self, number: int) -> BaseSampler:
        """A sampler that has drawn so many trials; it knows by its seed, and what came of them by the study."""
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._sampler is None:
                return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            target = find("hydra.sweeper.sampler._target_", str(self._sampler.get("_target_")))
            seeded = {"seed": seed} if "seed" in inspect.signature(target).parameters else {}
            made: BaseSampler = build(self._sampler, **seeded)
            return made


def _refuse_another(study: optuna.Study, asked: Asked) -> None:
    """A study goes on as the search that it was begun as."""
    known = study.user_attrs.get(ASKED)
    if known is None:
        study.set_user_attr(ASKED, asdict(asked))
        return
    now = asdict(asked)
    keys = [name for name in ("objectives", "directions") if list(known[name]) != list(now[name])]
    keys = difference(known["space"], now["space"]) + keys
    if known["settings"] != now["settings"]:
        keys = keys or ["settings that are the same in all trials"]
    if keys:
        raise LabError(
            f"the study {study.study_name} was begun as another search ({', '.join(keys)}); "
            "give hydra.sweeper.study_name=ANOTHER, or the settings that it was begun with"
        )


def _mend(journal: Path) -> None:
    """Drop the half line that a killed process may have left at the end, before another one is put behind it."""
    if journal.is_file():
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with open(journal, "r+b") as stream:
                stream.truncate(whole)
