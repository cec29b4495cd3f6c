"""Hydra's sweeper `optuna`: draws settings, launches them in batches, and ends with the best trials.

Imports Optuna when it searches, and no earlier. Where a trial stands is seen to by its job, as in every sweep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from pruning_lab.common import sharing
from pruning_lab.common.claims import claimed
from pruning_lab.common.errors import GivenUpError, LabError
from pruning_lab.common.marks import DONE, read_mark
from pruning_lab.tasks.config import plain
from pruning_lab.tasks.job_names import job_hash
from pruning_lab.tasks.jobs import note_failure, standing
from pruning_lab.tasks.launching import launched
from pruning_lab.tasks.search.judge import TRIAL, trial_text
from pruning_lab.tasks.sweeper import Planned, outlook, plan, reason_of, record, tell_how_many, tell_what_is_fixed

if TYPE_CHECKING:
    from optuna.trial import Trial

    from pruning_lab.tasks.search.study import Study

MISSING = "hydra/sweeper=optuna needs Optuna: pip install 'pruning_lab[search]'"


@dataclass(frozen=True)
class Drawn:
    """A trial, and the job that it is."""

    trial: "Trial"
    job: Planned


class Search(Sweeper):
    """Draws each trial's settings by what came of earlier ones."""

    def __init__(
        self,
        study_name: str,
        n_trials: int = 20,
        directions: Any = None,
        seed: int = 0,
        max_batch_size: int | None = None,
        sampler: Any = None,
        pruner: Any = None,
        prune_by: str = "val/iou",
        params: dict[str, str] | None = None,
    ) -> None:
        """What `conf/hparams_search` and the command line set as `hydra.sweeper.*`.

        Args:
            study_name: trials of one name are one study.
            n_trials: in all, those of earlier processes included.
            directions: `maximize` or `minimize` for each metric of `returns`; null: maximize.
            seed: of the sampler.
            max_batch_size: trials that are drawn and launched together; null: as many as the launcher runs at once.
            sampler: a node with the `_target_` of one of Optuna's; null: TPE.
            pruner: a node with the `_target_` of one of Optuna's, which gives up hopeless runs; null: none is given up.
            prune_by: the column of the history that the pruner looks at.
            params: key -> values; the command line's own keys count more.
        """
        self._name, self._total, self._directions, self._seed = study_name, n_trials, directions, seed
        self._batch, self._sampler, self._pruner, self._prune_by = max_batch_size, sampler, plain(pruner), prune_by
        self._params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self._config, self._loader = config, hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Finish what is unfinished, and draw until there are enough.

        Raises:
            LabError: the study is another search's, or a trial failed; all others have had their turn.
        """
        self._arguments = arguments
        folder = Path(str(self._config.hydra.sweep.dir)).absolute() / f"search-{self._name}"
        with claimed(folder):
            study = self._open(folder, arguments)
            failed = self._search(study)
        if failed:
            raise LabError(
                f"{failed} of {len(study.trials)} trials failed, see the table; the same line tries them again"
            )
        return [trial.values for trial in study.front()]

    def _open(self, folder: Path, arguments: list[str]) -> "Study":
        """The study, and what of the line all its trials share."""
        try:
            from pruning_lab.tasks.search.space import fixed_of, space_of
            from pruning_lab.tasks.search.study import Study, asked_for
        except ModuleNotFoundError as error:
            raise LabError(MISSING) from error
        parser = OverridesParser.create(config_loader=self._loader)
        typed = parser.parse_overrides(list(arguments))
        known = {each.key_or_group for each in typed}
        preset = parser.parse_overrides([f"{key}={value}" for key, value in self._params.items()])
        overrides = [*(each for each in preset if each.key_or_group not in known), *typed]
        space, self._fixed = space_of(overrides), fixed_of(overrides)
        asked = asked_for(space, plain(self._config.returns), plain(self._directions), job_hash(self._config))
        if self._pruner and len(asked.objectives) > 1:
            raise LabError("hydra.sweeper.pruner goes by one objective; leave it null where returns names several")
        study = Study(folder, self._name, space, asked, self._sampler, self._seed)
        tell_what_is_fixed(self._config, overrides)
        record(self._config, arguments)
        return study

    def _search(self, study: "Study") -> int:
        """Batch by batch; how many trials failed."""
        from pruning_lab.tasks.search.results import show_trials, write_trials
        from pruning_lab.tasks.search.telling import tell_store, tell_sweep

        size = self._size()
        waiting = [self._drawn(study, trial) for trial in study.open_trials()]
        begun, left = len(study.trials), max(self._total - len(study.trials), 0)
        jobs = [each.job for each in waiting]
        print(f"study {study.name}: {begun - len(jobs)} of {self._total} trials ended, {left} to draw", flush=True)
        if jobs:
            print(f"left from before: {outlook(jobs)}", flush=True)
        tell_how_many(self._config, min(size, len(jobs) + left))
        failures: dict[int, str] = {}
        while waiting or len(study.trials) < self._total:
            batch, waiting = waiting[:size], waiting[size:]
            while not waiting and len(batch) < size and len(study.trials) < self._total:
                batch.append(self._drawn(study, study.new_trial()))
            failures |= self._finish(study, batch)
            write_trials(study, failures)
            tell_sweep(study, failures)
        show_trials(study, failures)
        tell_store(study, self._config)
        return len(failures)

    def _size(self) -> int:
        workers = self._batch or self._config.hydra.launcher.get("n_jobs", 1) or 1
        return sharing.cores() if workers < 0 else int(workers)

    def _drawn(self, study: "Study", trial: "Trial") -> Drawn:
        """A trial with its job: planned, and written down before it begins."""
        from pruning_lab.tasks.search.study import FOLDER

        lines = [*self._fixed, *study.settings(trial)]
        if self._pruner:
            text = trial_text(study.journal, study.name, trial.number, self._pruner, self._prune_by)
            lines.append(f"+hydra.job.env_set.{TRIAL}='{text}'")
        job = plan(self._loader, self._config, lines)
        if trial.user_attrs.get(FOLDER) != job.folder.name:
            trial.set_user_attr(FOLDER, job.folder.name)
        return Drawn(trial, job)

    def _finish(self, study: "Study", batch: Sequence[Drawn]) -> dict[int, str]:
        """Launch a batch, and end its trials; number -> reason of those that failed.

        Trials of equal settings are one job.
        """
        jobs = {each.job.folder: each.job for each in batch}
        for job in jobs.values():
            if job.mistake:
                note_failure(self._config, job.folder, job.mistake, job.overrides)
        sound = [job for job in jobs.values() if not job.mistake]
        first = batch[0].trial.number
        ended: Sequence[JobReturn] = []
        if sound:
            ended = launched(self._launcher, [list(job.overrides) for job in sound], first)
        returns = {job.folder: each for job, each in zip(sound, ended, strict=True)}
        reasons = {each.trial.number: self._end(study, each, returns.get(each.job.folder)) for each in batch}
        return {number: reason for number, reason in reasons.items() if reason}

    def _end(self, study: "Study", drawn: Drawn, ended: JobReturn | None) -> str:
        """End a trial by what its job left; why it failed, where it did, and stays open."""
        from pruning_lab.tasks.search.study import REASON

        if ended is None:
            return drawn.job.mistake
        if reason := reason_of(ended):
            if isinstance(ended._return_value, GivenUpError):
                drawn.trial.set_user_attr(REASON, reason)
                study.give_up(drawn.trial)
                return ""
            return reason
        if standing(drawn.job.folder) == "held":
            return ""
        summary = (read_mark(drawn.job.folder, DONE) or {}).get("summary", {})
        return study.tell(drawn.trial, summary)
