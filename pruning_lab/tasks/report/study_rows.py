"""A study as one flat row per run, and its CSV. Knows run folders, not how runs are compared."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.run_folder import Run, budget_of, budget_text, choice_of, data_name
from pruning_lab.tasks.report.study_methods import Described, describe

RUNS_FILE = "report.csv"

Record = TypeVar("Record")


@dataclass(frozen=True)
class StudyRow:
    """What one run says in a comparison; scores and costs left are fractions.

    Attributes:
        base: hash of the base that the run started from.
        differing: JSON of the settings that are not the same in all runs of this base.
        budget: what was to be reached, for people; `resource` and `limit` are its first part, for the order of columns.
        met: 1 where the kept model meets the budget, else 0.
        score_seconds, score_images: of the method, mean over the run's pruning steps; images count once for each pass.
        steps: pruning steps done.
        epochs: of all recoveries together.
        commit: of the code that made the run, with "-dirty" where that had been changed.
    """

    base: str
    data: str
    model: str
    method: str
    differing: str
    budget: str
    resource: str
    limit: float
    seed: int
    met: int
    test_iou: float
    val_iou: float
    base_test_iou: float
    base_val_iou: float
    flops_fraction: float
    weights_fraction: float
    latency_fraction: float
    base_macs: int
    base_weights: int
    base_latency_ms: float
    score_seconds: float
    score_images: float
    steps: int
    epochs: float
    commit: str
    folder: str


def study_rows(runs: Sequence[Run]) -> tuple[list[StudyRow], dict[str, str]]:
    """The rows of some runs, in their order.

    Returns:
        (rows, folder -> why for runs that repeat another: the same method, budget and seed from the same base).
    """
    rows: dict[tuple[Any, ...], tuple[float, StudyRow]] = {}
    repeated = {}
    for described in describe(runs):
        row = _row(described)
        key = (row.base, row.method, row.budget, row.seed, _seeds(described.run.config.get("importance")))
        made = (described.run.folder / "card.json").stat().st_mtime
        if key in rows:
            kept, older = sorted([rows[key], (made, row)], key=lambda entry: -entry[0])
            repeated[older[1].folder] = f"{older[1].folder}: run again later in {kept[1].folder}, which is taken"
            rows[key] = kept
        else:
            rows[key] = (made, row)
    return [row for _, row in rows.values()], repeated


def write_records(path: Path, kind: type[Record], records: Iterable[Record]) -> Path:
    """Write instances of a flat dataclass as CSV, a column for each of its fields."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [item.name for item in fields(kind)], lineterminator="\n")  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)  # type: ignore[call-overload]
    write_atomically(path, stream.getvalue())
    return path


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """What `write_records` stored. Raises LabError naming the file, line and column that is wrong."""
    types = {item.name: _TYPES[str(item.type)] for item in fields(kind)}  # type: ignore[arg-type]
    records = []
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            for number, cells in enumerate(csv.DictReader(stream), start=2):
                place = f"{path}, line {number}"
                records.append(kind(**{name: _value(cells, name, types[name], place) for name in types}))
    except OSError as error:
        raise LabError(f"{path}: can't be read ({error.strerror}); give the folder of a report") from error
    return records


_TYPES: dict[str, type] = {"str": str, "int": int, "float": float}


def _value(cells: Mapping[str, str | None], name: str, kind: type, place: str) -> Any:
    text = cells.get(name)
    if text is None:
        raise LabError(f"{place}: there is no column {name}; make the report again")
    try:
        return kind(text)
    except ValueError as error:
        raise LabError(f"{place}, column {name}: {text!r} is no {kind.__name__}; make the report again") from error


def _row(described: Described) -> StudyRow:
    run = described.run
    base, pruned = run.cards.base, run.cards.pruned
    resource, limit = next(iter(budget_of(run).items()), ("flops", run.cards.left["flops"]))
    scored = [row for row in run.history if "cost/score_seconds" in row]
    return StudyRow(
        base=run.cards.base_hash,
        data=data_name(run),
        model=choice_of(run, "model"),
        method=described.method,
        differing=json.dumps(described.differing),
        budget=budget_text(run),
        resource=resource,
        limit=limit,
        seed=run.cards.seed,
        met=int(run.cards.budget_met),
        test_iou=pruned.test_iou,
        val_iou=pruned.val_iou,
        base_test_iou=base.test_iou,
        base_val_iou=base.val_iou,
        flops_fraction=run.cards.left["flops"],
        weights_fraction=run.cards.left["weights"],
        latency_fraction=pruned.latency_ms / base.latency_ms,
        base_macs=base.macs,
        base_weights=base.weights,
        base_latency_ms=base.latency_ms,
        score_seconds=fmean([row["cost/score_seconds"] for row in scored]) if scored else 0.0,
        score_images=fmean([row.get("cost/score_images", 0.0) for row in scored]) if scored else 0.0,
        steps=len(scored),
        epochs=sum(row.get("cost/recovery_epochs", 0.0) for row in run.history.rows[1:]),
        commit=run.cards.commit,
        folder=str(run.folder),
    )


def _seeds(node: Any) -> tuple[str, ...]:
    """Seeds of the importance's own, which tell apart runs of one seed."""
    if not isinstance(node, Mapping):
        return ()
    own = [f"{value}" for key, value in node.items() if key == "seed"]
    return (*own, *(seed for value in node.values() for seed in _seeds(value)))
