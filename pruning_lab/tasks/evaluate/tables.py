"""The tables of an evaluation: by class, by image, and who was taken for whom. Measures nothing."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich import box
from rich.table import Table

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.evaluation import MEASURES, Counts
from pruning_lab.lab.validation import Metric

MEAN = "mean"
HEADINGS = {"iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall", "boundary_iou": "boundary IoU"}


@dataclass(frozen=True)
class Judged:
    """What a model scored: the counts of each image, and their sum."""

    images: tuple[Counts, ...]

    @property
    def total(self) -> Counts:
        """All images together."""
        first, *rest = self.images
        for counts in rest:
            first = first + counts
        return first


def class_rows(models: Mapping[str, Judged], class_names: Sequence[str]) -> list[dict[str, object]]:
    """A row for each model and class, and one for its mean over the classes that occur in the masks."""
    rows: list[dict[str, object]] = []
    for model, judged in models.items():
        scores, total = judged.total.scores(), judged.total
        for index, name in enumerate(class_names):
            numbers = {measure: float(scores[measure][index]) for measure in MEASURES}
            rows.append({"model": model, "class": name, "pixels": int(total.confusion[index].sum()), **numbers})
        rows.append({"model": model, "class": MEAN, "pixels": int(total.confusion.sum()), **total.means()})
    return rows


def image_rows(
    models: Mapping[str, Judged], labels: Sequence[str], class_names: Sequence[str]
) -> Iterable[dict[str, object]]:
    """A row for each image, model and class, and one for the mean over the classes that occur in the image's mask."""
    for place, label in enumerate(labels):
        for model, judged in models.items():
            for row in class_rows({model: Judged((judged.images[place],))}, class_names):
                yield {"image": label, **row}


def confusion_rows(models: Mapping[str, Judged], class_names: Sequence[str]) -> list[dict[str, object]]:
    """A row for each model and true class: pixels by predicted class."""
    return [
        {"model": model, "true": name, **dict(zip(class_names, judged.total.confusion[index].tolist(), strict=True))}
        for model, judged in models.items()
        for index, name in enumerate(class_names)
    ]


def scores_of(models: Mapping[str, Judged], metrics: Mapping[str, Metric]) -> dict[str, dict[str, float]]:
    """Model -> what each of the user's own metrics says of all images together."""
    return {
        model: {name: float(metric(torch.from_numpy(judged.total.confusion))) for name, metric in metrics.items()}
        for model, judged in models.items()
    }


def write_tables(
    folder: Path,
    models: Mapping[str, Judged],
    labels: Sequence[str],
    class_names: Sequence[str],
    own_scores: Mapping[str, Mapping[str, float]],
) -> None:
    """Write per_class.csv, per_image.csv, confusion.csv, and the means as evaluation.json.

    Args:
        own_scores: see `scores_of`; they stand under `metrics` beside the means.
    """
    write_atomically(folder / "per_class.csv", _csv(class_rows(models, class_names)))
    write_atomically(folder / "per_image.csv", _csv(list(image_rows(models, labels, class_names))))
    write_atomically(folder / "confusion.csv", _csv(confusion_rows(models, class_names)))
    means: dict[str, dict[str, object]] = {
        model: {name: _number(value) for name, value in judged.total.means().items()}
        for model, judged in models.items()
    }
    for model, scores in own_scores.items():
        if scores:
            means[model]["metrics"] = {name: _number(value) for name, value in scores.items()}
    write_atomically(folder / "evaluation.json", json.dumps({"images": len(labels), **means}, indent=2) + "\n")


def class_table(models: Mapping[str, Judged], class_names: Sequence[str]) -> Table:
    """Scores by class; where there are two models, the base's IoU stands beside the pruned model's."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    first, *others = models
    base = [f"{other} IoU" for other in others]
    for heading in (*HEADINGS.values(), *base):
        table.add_column(heading, justify="right")
    rows = class_rows(models, class_names)
    for row in (row for row in rows if row["model"] == first):
        beside = [other["iou"] for other in rows if other["model"] != first and other["class"] == row["class"]]
        table.add_row(str(row["class"]), *(_short(value) for value in (*(row[name] for name in MEASURES), *beside)))
    return table


def _short(value: object) -> str:
    return "" if not isinstance(value, float) or math.isnan(value) else f"{value:.4f}"


def _number(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows under their names; what has no meaning is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _number(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()
