"""The task `show`: serves the page of runs on this machine, with a place to drop images on. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.console import ConsoleReporter
from pruning_lab.lab.output.run_card import run_card
from pruning_lab.lab.output.run_folder import Run, read_run
from pruning_lab.tasks.config import plain
from pruning_lab.tasks.report.run_search import find_runs
from pruning_lab.tasks.report.task import report
from pruning_lab.tasks.show.answer import answer
from pruning_lab.tasks.show.models import Models
from pruning_lab.tasks.show.pages import pages_of
from pruning_lab.tasks.show.server import LOOPBACK, application, bound, serve
from pruning_lab.training.compute import ComputeSettings


def show(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    run: str | None = None,
    runs: str | Sequence[str] | None = None,
    port: int = 8321,
    max_megabytes: float = 64,
    trust: bool = False,
) -> None:
    """Serve until Ctrl-C; each argument is a key of conf/task/show.yaml, which says what it means.

    Raises:
        LabError: neither or both of `run` and `runs` are given, there is no finished run, or the port is taken.
    """
    if (run is None) == (runs is None):
        raise LabError("give task.run, the folder of a run, or task.runs, that of a sweep")
    if not max_megabytes > 0:
        raise LabError(f"task.max_megabytes={max_megabytes}: give more than 0")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with bound(port) as place:
        found = [read_run(Path(run))] if run is not None else find_runs(plain(runs)).runs
        models = Models(
            found, ComputeSettings(config.device, config.precision, config.channels_last), config.bases, trust
        )
        if runs is not None:
            report(config, folder, choices, runs, ablation=False)
        pages = pages_of(models, titles_of(found), None if runs is None else folder)
        app = application(pages, lambda *asked: answer(models.compare(*asked)), int(1e6 * max_megabytes))
        ConsoleReporter().say(f"open http://{LOOPBACK}:{place.getsockname()[1]} in a browser; Ctrl-C ends it")
        serve(app, place)


def titles_of(runs: Sequence[Run]) -> list[str]:
    """What runs are called where one is chosen: as their pages, with seed, and with the folder where two are alike."""
    cards = [run_card(run) for run in runs]
    names = [f"{card.title}, {card.budget}, seed {card.seed}" for card in cards]
    return [
        name if names.count(name) == 1 else f"{name} ({run.folder.name})" for name, run in zip(names, runs, strict=True)
    ]
