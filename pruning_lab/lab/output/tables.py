"""The tables of a run: base beside pruned model, and widths per layer. Measures nothing."""

import math
from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.table import Table

from pruning_lab.lab.output import units
from pruning_lab.lab.output.card import Card


def before_after_rows(base: Card, pruned: Card) -> list[dict[str, str]]:
    """One row per quantity: its name, both models' values, and what changed, ready to be read."""
    return [
        _cost("CPU latency", base.latency_ms, pruned.latency_ms, units.milliseconds),
        _cost("MACs", base.macs, pruned.macs, units.count),
        _cost("weights", base.weights, pruned.weights, units.count),
        _score("validation IoU", base.val_iou, pruned.val_iou),
        _score("test IoU", base.test_iou, pruned.test_iou),
        _score("test Dice", base.test_dice, pruned.test_dice),
        _cost("size on disk", base.disk_bytes, pruned.disk_bytes, units.size),
    ]


def before_after(base: Card, pruned: Card) -> Table:
    """The table that ends a run: what the pruned model costs and scores beside the base."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for heading in (base.name, pruned.name, "change"):
        table.add_column(heading, justify="right")
    for row in before_after_rows(base, pruned):
        table.add_row(row["quantity"], row["base"], row["pruned"], row["change"])
    return table


def widths_rows(
    widths: Sequence[Mapping[str, int]],
    floors: Mapping[str, float] | None = None,
    frozen: Mapping[str, str] | None = None,
) -> list[dict[str, str | int | float]]:
    """One row per layer: its filters in the base, those left, and their fraction.

    Args:
        widths: filters of each layer at each step, the base's first.
        floors: layer -> filters that must stay; gives a column `floor`.
        frozen: layer -> why it can't be cut; gives a column `frozen`.

    Raises:
        ValueError: `widths` is empty.
    """
    if not widths:
        raise ValueError("there are no widths; the first entry is to be the base's")
    original, current = widths[0], widths[-1]
    rows: list[dict[str, str | int | float]] = []
    for layer, number in original.items():
        row: dict[str, str | int | float] = {"layer": layer, "filters": number}
        row |= {"left": current[layer], "fraction": current[layer] / number}
        row |= {} if floors is None else {"floor": math.ceil(floors[layer]) if layer in floors else ""}
        row |= {} if frozen is None else {"frozen": frozen.get(layer, "")}
        rows.append(row)
    return rows


def widths_table(widths: Sequence[Mapping[str, int]]) -> Table:
    """Filters per layer, in the base and at the end; `widths` as for `widths_rows`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for heading in ("filters", "left", "fraction"):
        table.add_column(heading, justify="right")
    for row in widths_rows(widths):
        fraction = units.percent(float(row["fraction"]), 0)
        table.add_row(str(row["layer"]), str(row["filters"]), str(row["left"]), fraction)
    return table


def _cost(quantity: str, base: float, pruned: float, spell: Callable[[float], str]) -> dict[str, str]:
    change = f"{100 * (pruned / base - 1):+.1f} %" if base else "-"
    return {"quantity": quantity, "base": spell(base), "pruned": spell(pruned), "change": change}


def _score(quantity: str, base: float, pruned: float) -> dict[str, str]:
    return {
        "quantity": quantity,
        "base": units.percent(base, 2),
        "pruned": units.percent(pruned, 2),
        "change": units.points(pruned - base),
    }
