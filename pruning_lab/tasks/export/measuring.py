"""What exported files cost and how well they segment, beside the same files of the base. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pruning_lab.data import SegmentationData
from pruning_lab.lab.export import Exported, Exporter
from pruning_lab.lab.export.checking import iou_of
from pruning_lab.lab.export.deployed import as_input
from pruning_lab.lab.export.opening import Opened
from pruning_lab.lab.export.sizes import example_images
from pruning_lab.lab.output.console import Reporter
from pruning_lab.resources.latency import LatencyPlan, measure_in_turns
from pruning_lab.tasks.export.tables import BARE, Row

SCORED_AT_ONCE = 8
SLOW = 5
"""Times the network's own latency."""
Files = tuple[Exporter, Sequence[Exported]]
"""A network, and what was made of it."""


def measured(
    own: Files, base: Files | None, data: SegmentationData | None, scored: int, plan: LatencyPlan, reporter: Reporter
) -> list[Row]:
    """A row for the network itself, and one for each of its files.

    Args:
        own, base: the model and its base, exported in the same way.
        data: on whose validation images float16, int8 and the network itself are scored; None: they are not.
        scored: on how many of them, evenly spread.
        plan: how latency is measured, for one image.
    """
    exporter, made = own
    runs, runs_of_base = _runs(own), _runs(base) if base else {}
    latency = _in_turns(runs, runs_of_base, exporter, plan)
    sizes = {each.path.name: _megabytes(each.path) for each in base[1]} if base else {}
    weights = None if base is None else _weights(base[0])
    iou = _scores(runs, exporter, made, data, scored, reporter)
    rows = [Row(BARE, "float32", "", "", None, None, *latency[""], _weights(exporter), weights, iou.get(""))]
    for each in made:
        name, found = each.path.name, each.agreement
        told = (each.format, each.precision, name, each.sizes.in_words(), found.max_error, found.disagreement)
        rows.append(Row(*told, *latency[name], _megabytes(each.path), sizes.get(name), iou.get(name)))
    return rows


def _runs(files: Files) -> dict[str, Opened]:
    """The network itself under an empty name, and each file under its own."""
    exporter, made = files
    return {"": Opened(exporter.expected), **{each.path.name: each.open() for each in made}}


def _in_turns(
    own: Mapping[str, Opened], base: Mapping[str, Opened], exporter: Exporter, plan: LatencyPlan
) -> dict[str, tuple[float, float | None]]:
    """Name -> milliseconds of one pass over one image, of the model and of its base; a pass of each in turn.

    What takes many times as long as the network itself, as float16 does in torch on many CPUs, gets a few passes only.
    """
    image = example_images((1, *exporter.shape), exporter.kind)
    runs = {**{("own", name): run for name, run in own.items()}, **{("base", name): run for name, run in base.items()}}
    once = dict(zip(runs, measure_in_turns(list(runs.values()), image, 1, 2), strict=True))
    slow = [key for key in runs if once[key].median_s > SLOW * once[key[0], ""].median_s]
    fast = [key for key in runs if key not in slow]
    found = dict(
        zip(fast, measure_in_turns([runs[key] for key in fast], image, plan.warmup, plan.repeats), strict=True)
    )
    spent = {key: 1000 * each.median_s for key, each in {**once, **found}.items()}
    return {name: (spent["own", name], spent.get(("base", name))) for name in own}


def _scores(
    runs: Mapping[str, Opened],
    exporter: Exporter,
    made: Sequence[Exported],
    data: SegmentationData | None,
    count: int,
    reporter: Reporter,
) -> dict[str, float]:
    """Name -> mean IoU on validation images, of the network and of what is less precise; empty without data."""
    if data is None or not count:
        return {}
    less = {each.path.name: each.sizes.any_batch for each in made if each.precision != "float32"}
    found = {}
    with reporter.task("score", len(less) + 1) as task:
        for name, any_batch in {"": True, **less}.items():
            batches = _batches(exporter, data, count, SCORED_AT_ONCE if any_batch else 1)
            found[name] = iou_of(runs[name], batches, data.class_names, data.ignore_index, exporter.place)
            task.advance()
    return found


def _batches(exporter: Exporter, data: SegmentationData, count: int, at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
    chosen = evenly(len(data.val), count)
    for start in range(0, len(chosen), at_once):
        pairs = [data.val[index] for index in chosen[start : start + at_once]]
        images, masks = (torch.from_numpy(np.stack([pair[place] for pair in pairs])) for place in (0, 1))
        yield as_input(images, exporter.facts, exporter.options), masks.long()


def evenly(length: int, count: int) -> list[int]:
    """At most `count` places, evenly spread over a length."""
    count = min(count, length)
    return [place * length // count for place in range(count)]


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


def _weights(exporter: Exporter) -> float:
    model = exporter.model
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())) / 1e6
