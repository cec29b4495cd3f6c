"""The end of a run: choose a snapshot on validation data, test it once, save it, and show base and pruned model.

Must not know how the run got there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.card import Card, Cards, write_cards
from pruning_lab.lab.output.description import description
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.output.history import summary as summarize
from pruning_lab.lab.output.run_folder import SNAPSHOTS
from pruning_lab.lab.output.run_page import write_run_page
from pruning_lab.lab.output.sentences import verdict
from pruning_lab.lab.output.tables import before_after, widths_rows
from pruning_lab.lab.output.widths import write_widths
from pruning_lab.lab.pictures import draw, filter_floors
from pruning_lab.lab.saving import keep, size_on_disk
from pruning_lab.lab.snapshots import Snapshot
from pruning_lab.lab.state import RunState
from pruning_lab.resources.latency import Latency, measure_in_turns
from pruning_lab.resources.table import MILLISECONDS, RESOURCES, column

TIMED_PASSES = 51
"""Forward passes of base and pruned model, in turns, whose medians are the CPU latencies of the final table."""


def close(lab: Experiment, state: RunState, called: str = "pruned") -> dict[str, float]:
    """Everything after the last step.

    Args:
        called: a word for the model that is kept.

    Returns:
        the run's summary metrics.
    """
    output = lab.output
    promises = lab.pruning.validation.promise(list(state.history))
    steps = [int(row["step"]) for row in state.history]
    chosen = state.snapshots.most_promising(dict(zip(steps, promises, strict=True)))
    index = steps.index(chosen.step)
    cards = compare(lab, state, chosen, index, called)
    test = {"test/iou": cards.pruned.test_iou, "test/dice": cards.pruned.test_dice}
    state.history[-1].update(test)
    state.history.write(output.folder / "history.csv")
    summary = summarize(state.history, index) | test
    summary |= {
        "budget_met": float(cards.budget_met),
        "latency_ms": cards.pruned.latency_ms,
        "latency_fraction": cards.pruned.latency_ms / cards.base.latency_ms,
        "base/val_iou": cards.base.val_iou,
        "base/test_iou": cards.base.test_iou,
    }
    _save(lab, state, chosen)
    output.tracker.tag("ended", state.ended)
    write_cards(output.folder, cards)
    output.tracker.log_artifact(output.folder / "card.json")
    _log(lab, state, chosen, summary)
    told = verdict(state.ended, state.step, cards.budget_met, chosen.step)
    output.tracker.describe(description(cards, told, output.tags, output.folder))
    output.reporter.say(told)
    output.reporter.show(before_after(cards.base, cards.pruned))
    output.reporter.say(f"saved in {output.folder}")
    return summary


def compare(lab: Experiment, state: RunState, chosen: Snapshot[ChannelGraph], index: int, called: str) -> Cards:
    """Base and chosen model side by side; both are tested here, for the first and only time."""
    base_row, row = state.history[0], state.history[index]
    fractions = {name: row[column(name)] for name in (*RESOURCES, MILLISECONDS) if column(name) in row}
    models = [state.base.cpu(), chosen.model.cpu()]
    base, pruned = measure_in_turns(models, lab.example().cpu(), repeats=TIMED_PASSES)
    return Cards(
        base=_card(lab, "base", state.base, base_row, base, state.base_test),
        pruned=_card(lab, f"{called} (step {chosen.step})", chosen.model, row, pruned),
        base_hash=state.base_hash,
        seed=lab.training.seed,
        commit=lab.output.commit,
        budget_met=not lab.pruning.stop(fractions),
    )


def _card(
    lab: Experiment, name: str, model: nn.Module, row: Mapping[str, float], latency: Latency, known: Row | None = None
) -> Card:
    """One side of the comparison; what is `known` of its test scores is not found anew."""
    test = known or lab.validator().evaluate(model, lab.loaders().eval_loader("test"))
    return Card(
        name=name,
        macs=int(row["resources/macs"]),
        weights=int(row["resources/weights"]),
        latency_ms=1000 * latency.median_s,
        val_iou=row["val/iou"],
        test_iou=test["iou"],
        test_dice=test["dice"],
        disk_bytes=size_on_disk(lab, model),
    )


def _save(lab: Experiment, state: RunState, chosen: Snapshot[ChannelGraph]) -> None:
    lab.output.tracker.log_model_folder(keep(lab, chosen.model, chosen.graph, _about(lab, state, chosen)))
    if lab.pruning.validation.save_snapshots:
        for each in state.snapshots:
            keep(lab, each.model, each.graph, _about(lab, state, each), f"{SNAPSHOTS}/step_{each.step}")


def _about(lab: Experiment, state: RunState, snapshot: Snapshot[ChannelGraph]) -> dict[str, Any]:
    """What is known of a model besides its layers and weights."""
    return {
        "class_names": list(lab.data.dataset.class_names),
        "ignore_index": lab.data.dataset.ignore_index,
        "mean": list(lab.data.dataset.mean),
        "std": list(lab.data.dataset.std),
        "scale": None if lab.data.dataset.scale is None else asdict(lab.data.dataset.scale),
        "input": list(lab.example().shape),
        "resized": lab.data.dataset.resized,
        "file_size": None if lab.data.dataset.file_size is None else list(lab.data.dataset.file_size),
        "step": snapshot.step,
        "base_hash": state.base_hash,
        "seed": lab.training.seed,
        "commit": lab.output.commit,
    }


def _log(lab: Experiment, state: RunState, chosen: Snapshot[ChannelGraph], summary: Mapping[str, float]) -> None:
    """The run's pictures, tables and page, in its folder and in the tracking store."""
    folder, tracker = lab.output.folder, lab.output.tracker
    for path in draw(lab, state, chosen) if lab.output.pictures else ():
        tracker.log_artifact(path, "figures")
    widths = widths_rows([state.widths[0], chosen.widths], filter_floors(state), chosen.graph.frozen)
    write_widths(folder, widths)
    tracker.log_table("widths", widths)
    for name in ("history.csv", "config.yaml", "card.json"):
        tracker.log_artifact(folder / name)
    if lab.output.pictures:
        tracker.log_artifact(write_run_page(folder))
    tracker.log_summary(summary)
