"""Hydra's plain sweep, which goes on where it was: says what there is to do, and tells what came out.

Which jobs are done, gone on with or begun is seen to by each job itself, so every launcher may be below this.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pruning_lab.common import sharing
from pruning_lab.common.errors import LabError, one_line
from pruning_lab.common.marks import DONE, read_mark
from pruning_lab.tasks.job_names import HASH_DIGITS, changed_text, name_of
from pruning_lab.tasks.jobs import note_failure, standing
from pruning_lab.tasks.launching import launched
from pruning_lab.tasks.outcome import names_of

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"
"""Hydra's own key for what names of jobs leave out."""

LONGEST = 140
"""Characters of a reason in the table; all of it is in the job's `failed.json`."""


@dataclass(frozen=True)
class Planned:
    """A job to come.

    Attributes:
        overrides: `key=value`, all that its config is made of.
        folder: where it will be.
        before: how far it is, see `jobs.standing`.
        mistake: why its config can't be made; empty where it can.
        values: names of the summary metrics that it returns.
    """

    overrides: tuple[str, ...]
    folder: Path
    before: str
    mistake: str = ""
    values: tuple[str, ...] = ()


class Sweep(Sweeper):
    """Every combination of values, each a job. Takes what Hydra's own plain sweeper takes."""

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self._batch, self._params = max_batch_size, dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self._config, self._loader = config, hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch what is not done.

        Raises:
            LabError: a job failed; all others have had their turn.
        """
        lines = [*(f"{key}={value}" for key, value in self._params.items()), *arguments]
        overrides = OverridesParser.create(config_loader=self._loader).parse_overrides(lines)
        tell_what_is_fixed(self._config, overrides)
        record(self._config, arguments)
        planned = [plan(self._loader, self._config, job) for job in _combinations(overrides)]
        print(outlook(planned), flush=True)
        for job in planned:
            if job.mistake:
                note_failure(self._config, job.folder, job.mistake, job.overrides)
        tell_how_many(self._config, sum(job.before != "done" for job in planned if not job.mistake))
        sound = [list(job.overrides) for job in planned if not job.mistake]
        returns: list[Sequence[JobReturn]] = []
        size = self._batch or max(len(sound), 1)
        for start in range(0, len(sound), size):
            returns.append(launched(self._launcher, sound[start : start + size], start))
        failed = show_results(planned, [each for batch in returns for each in batch])
        if failed:
            raise LabError(f"{failed} of {len(planned)} jobs failed, see the table; the same line tries them again")
        return returns


def _combinations(overrides: list[Override]) -> list[list[str]]:
    """The overrides of each job."""
    # Hydra runs its modules of plugins again when it looks for plugins, so it is not imported before that.
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    return jobs


def tell_what_is_fixed(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Let names of jobs leave out what is the same in all of them."""
    fixed = {override.key_or_group for override in overrides if not override.is_sweep_override()}
    swept = {override.key_or_group for override in overrides if override.is_sweep_override()}
    keys = ",".join(sorted(fixed - swept))
    with open_dict(config.hydra):
        config.hydra.overrides.hydra.append(f"{EXCLUDED}=[{keys}]")


def tell_how_many(config: DictConfig, jobs: int) -> None:
    """Let each job know how many run side by side, before they have all started; they share the machine's threads."""
    workers = config.hydra.launcher.get("n_jobs", 1) or 1
    at_once = min(jobs, sharing.cores() if workers < 0 else workers)
    with open_dict(config.hydra):
        config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{sharing.EXPECTED}='{at_once}'")


def plan(loader: Any, config: DictConfig, overrides: Sequence[str]) -> Planned:
    """Where a job will be, and how far it is; what is wrong with its config is noted and not raised.

    Args:
        loader: Hydra's.
        config: of the whole sweep.
    """
    known = HydraConfig.instance().cfg
    try:
        own = loader.load_sweep_config(config, list(overrides))
        with open_dict(own):
            own.hydra.job.id = own.hydra.job.num = 0
        HydraConfig.instance().set_config(own)
        folder = (Path(str(own.hydra.sweep.dir)) / str(own.hydra.sweep.subdir)).absolute()
        return Planned(tuple(overrides), folder, standing(folder), values=names_of(own.returns))
    except (HydraException, OmegaConfBaseException) as error:
        digest = hashlib.sha256(" ".join(sorted(overrides)).encode()).hexdigest()[:HASH_DIGITS]
        name = f"{changed_text(overrides, _fixed(config))}-{digest}"
        folder = (Path(str(config.hydra.sweep.dir)) / name).absolute()
        return Planned(tuple(overrides), folder, standing(folder), mistake=one_line(error))
    finally:
        HydraConfig.instance().cfg = known


def outlook(planned: Sequence[Planned]) -> str:
    """One line: how many jobs there are, and how far they are."""
    words = {
        "done": "done",
        "interrupted": "to go on with",
        "failed": "to try again",
        "held": "in the hands of another process",
        "new": "to begin",
    }
    counts = Counter(job.before for job in planned)
    parts = [f"{counts[key]} {text}" for key, text in words.items() if counts[key]]
    return f"{len(planned)} jobs: {', '.join(parts)}"


def show_results(planned: Sequence[Planned], returns: Sequence[JobReturn]) -> int:
    """A table with a line for each job: what became of it, and its value.

    Args:
        returns: what the jobs without a mistake ended with, in their order.

    Returns:
        how many failed.
    """
    from rich.console import Console
    from rich.table import Table

    table, ended = Table("job", "what became of it", "value"), iter(returns)
    reasons = [job.mistake or reason_of(next(ended)) for job in planned]
    for job, reason in zip(planned, reasons, strict=True):
        table.add_row(name_of(job.folder), *(_failure(reason) if reason else _result(job)))
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
    return sum(bool(reason) for reason in reasons)


def reason_of(ended: JobReturn) -> str:
    """Why a job failed; empty where it did not."""
    return one_line(ended._return_value) if ended.status == JobStatus.FAILED else ""


def _failure(reason: str) -> tuple[str, str]:
    return f"failed: {shorten(reason, LONGEST, placeholder=' ...')}", ""


def _result(job: Planned) -> tuple[str, str]:
    """What became of a job that did not fail, and its value."""
    after = standing(job.folder)
    if after != "done":
        return {"held": "left to another process"}.get(after, "ended without a value"), ""
    summary = (read_mark(job.folder, DONE) or {}).get("summary", {})
    numbers = " ".join(f"{summary[name]:.4f}" for name in job.values if name in summary)
    story = {"done": "done before", "interrupted": "gone on with, done", "failed": "tried again, done"}
    return story.get(job.before, "done"), numbers


def _fixed(config: DictConfig) -> list[str]:
    lines = [str(line) for line in config.hydra.overrides.hydra if EXCLUDED in str(line)]
    return lines[-1].partition("[")[2].rstrip("]").split(",")


def record(config: DictConfig, arguments: Sequence[str]) -> None:
    """Keep the line beside its jobs, as Hydra does; other lines have files of their own there."""
    folder = Path(str(config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(" ".join(arguments).encode()).hexdigest()[:8]
    OmegaConf.save(config, folder / f"multirun-{digest}.yaml")
