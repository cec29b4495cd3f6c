"""Tells the tracking store what came of a search, in the run above its jobs. Launches none.

It is written beside the sweep's record, from where each job that ends brings the run above up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.journal import FOLDER, Journal
from pruning_lab.lab.output.palette import BLUE, GREY, drawing
from pruning_lab.lab.output.sweep_record import NOTE, SweepRecord
from pruning_lab.lab.output.tracker import Sweep
from pruning_lab.tasks.search.results import FRONT, TRIALS, rows
from pruning_lab.tasks.search.study import Study

PICTURE = "search.png"


def tell_sweep(study: Study, failures: Mapping[int, str]) -> None:
    """Write down what is best by now, both tables and the picture, where jobs of the sweep are tracked.

    Args:
        failures: number -> why a trial failed this time.
    """
    sweep = study.journal.parent.parent
    if not (sweep / FOLDER).is_dir():
        return
    more = SweepRecord(Sweep(sweep, "")).more
    more.mkdir(exist_ok=True)
    for name in (TRIALS, FRONT):
        write_atomically(more / name, (study.journal.parent / name).read_text(encoding="utf-8"))
    if any(trial.state == TrialState.COMPLETE for trial in study.trials):
        picture(study, more / PICTURE)
    write_atomically(more / NOTE, text(study, failures) + "\n")


def tell_store(study: Study, config: DictConfig) -> None:
    """Bring the run above up to date; where the store is away, `task=upload` does it later."""
    sweep = study.journal.parent.parent
    journals = sorted(sweep.glob(f"*/{FOLDER}/*.jsonl"))
    if not journals:
        return
    from pruning_lab.lab.output.mlflow import summarize
    from pruning_lab.tasks.upload import uri_of

    journal = Journal.read(journals[-1])
    try:
        summarize(journal, uri_of(journal, config.tracking.get("uri")))
    except LabError as error:
        print(f"the search's results are not in the store ({error}); task=upload sends them", file=sys.stderr)


def text(study: Study, failures: Mapping[int, str]) -> str:
    """The best trials in Markdown: of several objectives the Pareto front."""
    told, objectives = rows(study, failures), list(study.asked.objectives)
    best = [row for row in told if row["on_front"]]
    apart = {*objectives, "state", "on_front", "reason", "folder"}
    keys = [name for name in (told[0] if told else ()) if name not in apart]
    ended = sum(row["state"] != "unfinished" for row in told)
    head = f"**Search {study.name}**: {ended} trials, {'Pareto front' if len(objectives) > 1 else 'the best'} of "
    head += ", ".join(
        f"{name} ({direction})" for name, direction in zip(objectives, study.asked.directions, strict=True)
    )
    names = [*keys, *objectives]
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in best]
    return "\n\n".join([head, "\n".join(lines)] if best else [head])


def picture(study: Study, path: Path) -> Path:
    """Two objectives against each other with the front; one over the trials, with the best so far."""
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    with drawing(path, 7.5, 4.8) as figure:
        axes = figure.subplots()
        axes.set_title(f"Trials of the search {study.name}")
        axes.set_ylabel(study.asked.objectives[0])
        if len(study.asked.objectives) == 1:
            values = [trial.values[0] for trial in done]
            better = max if study.asked.directions[0] == "maximize" else min
            best = [better(values[: place + 1]) for place in range(len(values))]
            numbers = [trial.number for trial in done]
            axes.set_xlabel("trial")
            axes.plot(numbers, values, "o", color=GREY, label="trials")
            axes.plot(numbers, best, "-", color=BLUE, label="best so far", drawstyle="steps-post")
        else:
            axes.set_xlabel(study.asked.objectives[1])
            axes.plot(*_points(done), "o", color=GREY, label="trials")
            axes.plot(*_points(study.front()), "-o", color=BLUE, label="Pareto front")
        axes.legend(loc="best", fontsize=9)
    return path


def _points(trials: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
    """The second objective and the first, in the order of the second."""
    ordered = sorted(trials, key=lambda trial: trial.values[1])
    return [trial.values[1] for trial in ordered], [trial.values[0] for trial in ordered]


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
