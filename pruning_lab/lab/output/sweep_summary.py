"""What people are told of a whole sweep: its best runs, the trade between score and cost, failures. Runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from pruning_lab.lab.output import units
from pruning_lab.lab.output.figures import fraction_axis
from pruning_lab.lab.output.palette import BLUE, DARK, GREY, drawing
from pruning_lab.lab.output.sweep_record import RUNNING, Job
from pruning_lab.lab.output.tracker import Sweep

SCORE, COST, WEIGHTS, TEST = "best/val_iou", "best/flops_fraction", "best/weights_fraction", "test/iou"

COLUMNS = (SCORE, COST, WEIGHTS, TEST)
HEADINGS = ("val IoU", "FLOPs", "weights", "test IoU")
"""Of the tables; wide enough to stay apart on a page that gives columns no room."""

BEST = 10
"""Runs in the table of the best; the front has all of its own."""

FAILURES = 20
"""Failures that are told one by one."""

LABELED = 12
"""Points of the front that have room for their names."""

WORDS = {RUNNING: "running", "FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}


def scored(jobs: Sequence[Job]) -> list[Job]:
    """Finished jobs that have a score and a cost, the best first."""
    done = [job for job in jobs if job.status == "FINISHED" and SCORE in job.summary and COST in job.summary]
    return sorted(done, key=lambda job: -job.summary[SCORE])


def front(jobs: Sequence[Job]) -> list[Job]:
    """Those that no other beats in score without costing more, the cheapest first."""
    best: list[Job] = []
    for job in sorted(scored(jobs), key=lambda job: (job.summary[COST], -job.summary[SCORE])):
        if not best or job.summary[SCORE] > best[-1].summary[SCORE]:
            best.append(job)
    return best


def counts(jobs: Sequence[Job]) -> dict[str, float]:
    """How many jobs are in which state: `jobs/finished`, `jobs/failed`, ..."""
    states = Counter(job.status for job in jobs)
    return {f"jobs/{word}": float(states[status]) for status, word in WORDS.items()}


def status(jobs: Sequence[Job]) -> str:
    """The state of the whole sweep: it runs while a job does, and failed where every job did."""
    states = {job.status for job in jobs}
    if RUNNING in states:
        return RUNNING
    return next((state for state in ("FINISHED", "KILLED") if state in states), "FAILED")


def text(sweep: Sweep, jobs: Sequence[Job]) -> str:
    """The sweep in Markdown; the first line says most of it, as MLflow folds the others."""
    told = ", ".join(f"{number:.0f} {name.removeprefix('jobs/')}" for name, number in counts(jobs).items() if number)
    parts = [f"Jobs: {told or 'none'}"]
    if best := scored(jobs):
        score, cost = (units.percent(best[0].summary[name]) for name in (SCORE, COST))
        parts[0] += f". Best: {_cell(best[0].name)}, validation IoU {score} with {cost} of the FLOPs"
        more = f" ({len(best)} in all, see tables/runs.csv)" if len(best) > BEST else ""
        parts += [f"**Best runs by validation IoU**{more}", _table(best[:BEST])]
        parts += ["**Best for what they cost** (Pareto front of validation IoU over FLOPs)", _table(front(jobs))]
    for state, heading in (("FAILED", "Failures"), ("KILLED", "Interrupted")):
        lines = [_failure(job) for job in jobs if job.status == state]
        if lines:
            left = [f"- and {len(lines) - FAILURES} more, see tables/runs.csv"] if len(lines) > FAILURES else []
            parts += [f"**{heading}**", "\n".join([*lines[:FAILURES], *left])]
    parts += [f"`{' '.join(sweep.asked)}`"] if sweep.asked else []
    parts.append(f"Folder: `{sweep.folder}`")
    return "\n\n".join(parts)


def rows(jobs: Sequence[Job]) -> list[dict[str, str | float]]:
    """A row for each job: what the sweep changes for it, what became of it, and its numbers."""
    lead = {job.folder for job in front(jobs)}
    return [
        {
            "run": job.name,
            **job.changed,
            "status": WORDS.get(job.status, job.status),
            "on_front": "yes" if job.folder in lead else "",
            **job.summary,
            "reason": job.reason,
            "folder": job.folder,
        }
        for job in jobs
    ]


def picture(jobs: Sequence[Job], path: Path) -> Path | None:
    """Validation IoU over FLOPs of all runs, and the front; None where no run has a score yet."""
    done, lead = scored(jobs), front(jobs)
    if not done:
        return None
    costs = [job.summary[COST] for job in done]
    with drawing(path, 7.5, 4.8) as figure:
        axes = figure.subplots()
        axes.plot([100 * cost for cost in costs], [_score(job) for job in done], "o", color=GREY, label="runs")
        places = [100 * job.summary[COST] for job in lead]
        axes.plot(places, [_score(job) for job in lead], "-o", color=BLUE, label="Pareto front", zorder=3)
        for job in lead if len(lead) <= LABELED else []:
            place = (100 * job.summary[COST], _score(job))
            axes.annotate(job.name, place, (5, 5), textcoords="offset points", fontsize=8, color=DARK)
        axes.set_title("Validation IoU of the sweep's runs")
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=None))
        axes.set_xlabel("FLOPs left, of the base's")
        if max(costs) > 2 * min(costs):
            fraction_axis(axes, max(costs) * 1.2, min(costs) / 1.2)
        else:
            axes.invert_xaxis()
            axes.xaxis.set_major_formatter(PercentFormatter(decimals=None))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2, borderpad=0, fontsize=9)
    return path


def _score(job: Job) -> float:
    return 100 * job.summary[SCORE]


def _table(jobs: Sequence[Job]) -> str:
    lines = [f"| run | {' | '.join(f'&emsp;{name}' for name in HEADINGS)} |", "|---|---:|---:|---:|---:|"]
    for job in jobs:
        cells = ["&emsp;" + units.percent(job.summary[name]) if name in job.summary else "" for name in COLUMNS]
        lines.append(f"| {_cell(job.name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _failure(job: Job) -> str:
    return f"- {_cell(job.name)}" + (f": {_cell(job.reason)}" if job.reason else "") + f" (`{job.folder}`)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
