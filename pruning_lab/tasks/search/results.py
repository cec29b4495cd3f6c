"""What came of a search: a table on the console, and two files beside its jobs. Runs nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from textwrap import shorten

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from pruning_lab.common.files import write_atomically
from pruning_lab.tasks.search.study import FOLDER, REASON, Study

TRIALS, FRONT = "trials.csv", "front.csv"
"""All trials, and the best: of several objectives all that no other trial beats in each."""

LONGEST = 140
"""Characters of a reason in the table; all of it is in trials.csv."""

GIVEN_UP = "given up"
STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: GIVEN_UP}


def rows(study: Study, failures: Mapping[int, str]) -> list[dict[str, str | float]]:
    """A row for each trial: its settings, what became of it, and its values.

    Args:
        failures: number -> why a trial failed this time.
    """
    best = {trial.number for trial in study.front()}
    return [
        {
            "trial": trial.number,
            **{key.lstrip("+"): value for key, value in trial.params.items()},
            "state": _state(trial, failures),
            "on_front": "yes" if trial.number in best else "",
            **_values(trial, study.asked.objectives),
            "reason": failures.get(trial.number, trial.user_attrs.get(REASON, "")),
            "folder": trial.user_attrs.get(FOLDER, ""),
        }
        for trial in study.trials
    ]


def write_trials(study: Study, failures: Mapping[int, str]) -> None:
    """Write both files anew."""
    told = rows(study, failures)
    folder = study.journal.parent
    write_atomically(folder / TRIALS, _csv(told))
    write_atomically(folder / FRONT, _csv([row for row in told if row["on_front"]], told))


def show_trials(study: Study, failures: Mapping[int, str]) -> None:
    """All trials in a table, and what is best among them."""
    write_trials(study, failures)
    told, objectives = rows(study, failures), study.asked.objectives
    apart = ("state", "on_front", "reason", "folder", *objectives)
    keys = [key for key in (told[0] if told else ()) if key not in apart]
    table = Table(*keys, *objectives, "what became of it")
    for row in told:
        values = [_number(row[name]) for name in objectives]
        reason = shorten(str(row["reason"]), LONGEST, placeholder=" ...")
        end = f"{row['state']}{', ' if row['state'] == GIVEN_UP else ': '}{reason}" if reason else str(row["state"])
        table.add_row(
            *(_number(row.get(key, "")) for key in keys), *values, end, style="bold" if row["on_front"] else ""
        )
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
    best = [row for row in told if row["on_front"]]
    head = "on the Pareto front" if len(objectives) > 1 else "best"
    for row in best:
        numbers = ", ".join(f"{name} {row[name]:.4f}" for name in objectives)
        print(f"{head}: trial {row['trial']}, {numbers}, {row['folder']}", flush=True)
    print(f"all trials: {study.journal.parent / TRIALS}", flush=True)


def _state(trial: FrozenTrial, failures: Mapping[int, str]) -> str:
    return "failed" if trial.number in failures else STATES.get(trial.state, "unfinished")


def _values(trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, str | float]:
    """Of a trial that is done; Optuna keeps the last step's score of one that was given up, which is no such value."""
    if trial.state != TrialState.COMPLETE:
        return dict.fromkeys(objectives, "")
    return dict(zip(objectives, trial.values, strict=True))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _csv(told: list[dict[str, str | float]], like: list[dict[str, str | float]] | None = None) -> str:
    names = list(dict.fromkeys(name for row in like or told for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(told)
    return stream.getvalue()
