"""A run in Markdown, for people who meet it in a tracking store: its card, how it ended, how to get it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pruning_lab.lab.output import units
from pruning_lab.lab.output.card import Cards
from pruning_lab.lab.output.tables import before_after_rows


def description(cards: Cards, verdict: str, tags: Mapping[str, str], folder: Path) -> str:
    """Base and pruned model side by side; the first line says it all, as tables of runs show no more.

    Args:
        verdict: why the run ended, in a sentence.
        tags: of the run; `command` is what was typed.
        folder: of the run.
    """
    base, pruned, left = cards.base, cards.pruned, cards.left
    lead = (
        f"validation IoU {units.percent(pruned.val_iou)} (base {units.percent(base.val_iou)}) "
        f"with {units.percent(left['flops'])} of the FLOPs and {units.percent(left['weights'])} of the weights"
    )
    # The spaces keep columns apart on a page that gives them no room.
    lines = [f"| | &emsp;{base.name} | &emsp;{pruned.name} | &emsp;change |", "|---|---:|---:|---:|"]
    for row in before_after_rows(base, pruned):
        lines.append(f"| {row['quantity']} | &emsp;{row['base']} | &emsp;{row['pruned']} | &emsp;{row['change']} |")
    parts = [lead, "\n".join(lines), verdict, f'`pruning_lab.load("{folder / "model"}")`']
    if command := tags.get("command"):
        parts.append(f"`{command}`")
    return "\n\n".join(parts)
