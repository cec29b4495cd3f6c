"""Tables of an inspected model: for the console, as CSV and as JSON. Knows the facts, not how they were found."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output import units
from pruning_lab.resources.table import BY_LAYER, spelled
from pruning_lab.selection.floors import KINDS
from pruning_lab.tasks.inspect.facts import ConsumerFacts, Inspection, LayerFacts, Runs
from pruning_lab.tasks.inspect.milliseconds import LatencyFacts

LAYERS_FILE, READS_FILE, JSON_FILE = "layers.csv", "consumers.csv", "inspect.json"

SHOWN_RUNS = 4
"""Unbroken runs of channels that a text lists; it counts the others."""

SHOWN_READERS = 4
"""Consumers of one layer that the console lists; consumers.csv has all."""

LONGEST_NAME = 40
"""Letters of a layer's name that one line of the console has room for."""

SHOWN_LAYERS = 5
"""Layers that a sentence names; it counts the others."""


def write_inspection(folder: Path, facts: Inspection) -> list[Path]:
    """Write layers.csv, consumers.csv and inspect.json into a folder; returns their paths."""
    folder = Path(folder)
    contents = {
        LAYERS_FILE: _csv([_layer_row(layer) for layer in facts.layers]),
        READS_FILE: _csv([_read_row(read) for read in facts.reads] or [dict.fromkeys(_READ_COLUMNS, "")]),
        JSON_FILE: json.dumps(asdict(facts), indent=1) + "\n",
    }
    for name, text in contents.items():
        write_atomically(folder / name, text)
    return [folder / name for name in contents]


def layers_table(facts: Inspection) -> Table:
    """One line per layer: what it has, costs and must keep, what is left of it at the budget, and what is special."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True, title=_title(facts), title_justify="left")
    total = ("", str(facts.filters), units.count(facts.macs), "", units.count(facts.weights), "", "", "", "")
    longest = max((len(layer.name) for layer in facts.layers), default=0)
    table.add_column("layer", "whole model", overflow="fold", min_width=min(longest, LONGEST_NAME))
    headings = ("type", "filters", "MACs", "share", "weights", "share", "floor", "left", "")
    for heading, footer in zip(headings, total, strict=True):
        right = heading not in ("type", "")
        table.add_column(heading, footer, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for layer in facts.layers:
        table.add_row(
            layer.name,
            layer.type + (f" /{layer.convolution_groups}" if layer.convolution_groups > 1 else ""),
            str(layer.filters),
            units.count(layer.macs),
            units.percent(layer.macs_share),
            units.count(layer.weights),
            units.percent(layer.weights_share),
            floor_text(layer),
            str(layer.filters_at_budget),
            notes(layer),
        )
    return table


def reads_table(facts: Inspection) -> Table:
    """One line per layer: who reads its filters, and as which input channels."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("read by: input channels there", overflow="fold")
    by_layer: dict[str, list[str]] = {layer.name: [] for layer in facts.layers}
    for read in facts.reads:
        by_layer[read.layer].append(f"{read.consumer}: {runs_text(read.channels)}")
    for name, readers in by_layer.items():
        hidden = len(readers) - SHOWN_READERS
        more = [f"and {hidden} more, see {READS_FILE}"] if hidden > 0 else []
        table.add_row(name, "; ".join([*readers[:SHOWN_READERS], *more]) or "no layer")
    return table


def latency_table(facts: LatencyFacts) -> Table:
    """One line per layer: what it takes on the target, what cutting it saves, and how far it lies above a step."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True, title=facts.target, title_justify="left")
    table.add_column("layer", "whole model", overflow="fold")
    above = f"above a multiple of {facts.step}" if facts.step > 1 else "above a step"
    for heading, footer in (
        ("time", units.milliseconds(facts.ms)),
        ("share", ""),
        ("half of it saves", ""),
        (above, ""),
    ):
        table.add_column(heading, footer, justify="right")
    for layer in facts.layers:
        saves = units.percent(layer.half_saves) + ("" if layer.worth_cutting else ", not worth it")
        above = str(layer.above_step or "")
        table.add_row(layer.name, units.milliseconds(layer.ms), units.percent(layer.share), saves, above)
    return table


def sentences(facts: Inspection) -> list[str]:
    """What the tables don't say: totals, the budget, unused layers."""
    shape = " x ".join(map(str, facts.input_shape))
    lines = [
        f"{facts.model} on {shape}: {units.count(facts.macs)} MACs ({units.count(facts.flops)} FLOPs), "
        f"{units.count(facts.weights)} weights ({units.size(facts.bytes)})"
        + (f", {units.size(facts.memory)} of activations at their peak" if facts.memory is not None else "")
        + f"; {facts.groups} groups of filters in {len(facts.layers)} layers, {facts.prunable_groups} prunable",
        _budget_text(facts),
    ]
    if facts.latency is not None:
        lines.insert(0, _latency_text(facts.latency))
    if facts.dropped:
        lines.append(f"dropped before, because nothing reads it: {_some(facts.dropped)}")
    if facts.unused:
        share = units.percent(facts.unused_weights / max(facts.weights, 1))
        lines.append(
            f"nothing reads {_some(facts.unused)}: {units.count(facts.unused_weights)} weights, {share} of all; "
            "drop_unused=true takes them out"
        )
    return lines


def floor_text(layer: LayerFacts) -> str:
    """What must stay of a layer, as its floors say: "4", or "4, 12 k weights"."""
    filters = [str(math.ceil(layer.floor["filters"]))] if "filters" in layer.floor else []
    others = [f"{units.count(layer.floor[name])} {spelled(name)}" for name in BY_LAYER if name in layer.floor]
    return ", ".join(filters + others)


def notes(layer: LayerFacts) -> str:
    """Why filters can't be cut, what they are tied to, and what a cut of them is exact against."""
    parts = []
    if layer.frozen:
        parts.append(f"frozen: {layer.frozen}")
    if layer.tied:
        parts.append(f"tied to {_some(layer.tied, 1)}")
    elif layer.groups < layer.filters and not layer.frozen:
        parts.append(f"{layer.groups} groups")
    if layer.mixed:
        parts.append(f"exact over those left of {layer.mixed}")
    return "; ".join(parts)


def runs_text(runs: Runs) -> str:
    """((0, 63), (128, 128)) -> "0..63, 128"."""
    texts = [str(first) if first == last else f"{first}..{last}" for first, last in runs[:SHOWN_RUNS]]
    if len(runs) > SHOWN_RUNS:
        texts.append(f"... ({sum(last - first + 1 for first, last in runs)} in all)")
    return ", ".join(texts)


def _title(facts: Inspection) -> str:
    return f"{facts.model}, input {' x '.join(map(str, facts.input_shape))}"


def _budget_text(facts: Inspection) -> str:
    budget = facts.budget
    how = f"{budget.scores} scores" + (", as the chosen importance needs images" if budget.fell_back else "")
    counts = {"flops": f" ({units.count(budget.macs)} MACs)", "weights": f" ({units.count(budget.weights)})"}
    parts = [f"{units.percent(part)} of {spelled(name)}{counts.get(name, '')}" for name, part in budget.left.items()]
    reached = ", ".join(parts)
    took = f"{budget.groups_removed} of {facts.groups} groups gone in {budget.steps} steps ({how})"
    if not budget.unmet:
        return f"the budget leaves {reached}: {took}"
    unmet = " and ".join(map(spelled, budget.unmet))
    why = f"floors bind at {_some(budget.bound)}" if budget.bound else "no group is left that may leave"
    return f"the budget can't be met: {unmet} still above it at {reached}, {took}; {why}"


def _latency_text(facts: LatencyFacts) -> str:
    worth = [layer.name for layer in sorted(facts.layers, key=lambda one: -one.half_saves) if layer.worth_cutting]
    return (
        f"{units.milliseconds(facts.ms)} on {facts.target} (predicted; error {units.percent(facts.error)}); "
        f"worth cutting: {_some(worth) or 'no layer'}"
    )


def _some(names: Sequence[str], shown: int = SHOWN_LAYERS) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


_READ_COLUMNS = ("layer", "consumer", "filters", "channels", "count")


def _read_row(read: ConsumerFacts) -> dict[str, object]:
    spelled = {kind: " ".join(f"{first}..{last}" for first, last in getattr(read, kind)) for kind in _READ_COLUMNS[2:4]}
    count = sum(last - first + 1 for first, last in read.channels)
    return {"layer": read.layer, "consumer": read.consumer, **spelled, "count": count}


def _layer_row(layer: LayerFacts) -> dict[str, object]:
    row = asdict(layer)
    floor: Mapping[str, float] = row.pop("floor")
    row["tied"] = " ".join(layer.tied)
    return {**row, **{f"floor_{kind}": floor.get(kind, "") for kind in KINDS}}


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    rows = list(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
