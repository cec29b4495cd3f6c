"""The end of a run: choose a snapshot on validation data, test it once, save it, and show base and pruned model.

Must not know how the run got there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output import figures
from pruning_lab.lab.output.card import Card, Cards, write_cards
from pruning_lab.lab.output.description import description
from pruning_lab.lab.output.history import summary as summarize
from pruning_lab.lab.output.samples import predictions
from pruning_lab.lab.output.sentences import verdict
from pruning_lab.lab.output.tables import before_after, widths_rows
from pruning_lab.lab.saving import keep, size_on_disk
from pruning_lab.lab.snapshots import Snapshot
from pruning_lab.lab.state import RunState
from pruning_lab.resources.latency import Latency, measure_in_turns
from pruning_lab.resources.table import RESOURCES, column

TIMED_PASSES = 51
"""Forward passes of base and pruned model, in turns, whose medians are the CPU latencies of the final table."""

SHOWN = 4
"""Validation images in the picture of predictions."""


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
    _log(lab, state, chosen, summary)
    write_cards(output.folder, cards)
    output.tracker.log_artifact(output.folder / "card.json")
    told = verdict(state.ended, state.step, cards.budget_met, chosen.step)
    output.tracker.describe(description(cards, told, output.tags, output.folder))
    output.reporter.say(told)
    output.reporter.show(before_after(cards.base, cards.pruned))
    output.reporter.say(f"saved in {output.folder}")
    return summary


def compare(lab: Experiment, state: RunState, chosen: Snapshot[ChannelGraph], index: int, called: str) -> Cards:
    """Base and chosen model side by side; both are tested here, for the first and only time."""
    base_row, row = state.history[0], state.history[index]
    fractions = {name: row[column(name)] for name in RESOURCES if column(name) in row}
    models = [state.base.cpu(), chosen.model.cpu()]
    base, pruned = measure_in_turns(models, lab.example().cpu(), repeats=TIMED_PASSES)
    return Cards(
        base=_card(lab, "base", state.base, base_row, base),
        pruned=_card(lab, f"{called} (step {chosen.step})", chosen.model, row, pruned),
        base_hash=state.base_hash,
        seed=lab.training.seed,
        commit=lab.output.commit,
        budget_met=not lab.pruning.stop(fractions),
    )


def _card(lab: Experiment, name: str, model: nn.Module, row: Mapping[str, float], latency: Latency) -> Card:
    test = lab.validator().evaluate(model, lab.loaders().eval_loader("test"))
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
    about = {
        "class_names": list(lab.data.dataset.class_names),
        "ignore_index": lab.data.dataset.ignore_index,
        "mean": list(lab.data.dataset.mean),
        "std": list(lab.data.dataset.std),
        "scale": None if lab.data.dataset.scale is None else asdict(lab.data.dataset.scale),
        "input": list(lab.example().shape),
        "resized": lab.data.dataset.resized,
        "file_size": None if lab.data.dataset.file_size is None else list(lab.data.dataset.file_size),
        "step": chosen.step,
        "base_hash": state.base_hash,
        "seed": lab.training.seed,
        "commit": lab.output.commit,
    }
    lab.output.tracker.log_model_folder(keep(lab, chosen.model, chosen.graph, about))


def _log(lab: Experiment, state: RunState, chosen: Snapshot[ChannelGraph], summary: Mapping[str, float]) -> None:
    folder = lab.output.folder / "figures"
    paths = [
        figures.score_over_steps(state.history, folder / "score_over_steps.png"),
        figures.iou_against_flops(state.history, folder / "iou_against_flops.png"),
        figures.layer_widths(state.widths, folder / "layer_widths.png"),
        _draw_predictions(lab, state.base, chosen.model, folder / "predictions.png"),
    ]
    for path in paths:
        lab.output.tracker.log_artifact(path, "figures")
    lab.output.tracker.log_table("widths", widths_rows([state.widths[0], chosen.widths]))
    lab.output.tracker.log_artifact(lab.output.folder / "history.csv")
    lab.output.tracker.log_artifact(lab.output.folder / "config.yaml")
    lab.output.tracker.log_summary(summary)


def _draw_predictions(lab: Experiment, base: nn.Module, pruned: nn.Module, path: Path) -> Path:
    split = lab.data.dataset.val
    count = min(SHOWN, len(split))
    pairs = [split[index] for index in range(count)]
    batch = next(iter(lab.loaders().eval_loader("val")))[0][:count]
    return predictions(
        [image for image, _ in pairs],
        [mask for _, mask in pairs],
        list(_predict(lab, base, batch).numpy()),
        list(_predict(lab, pruned, batch).numpy()),
        lab.data.dataset.class_names,
        lab.data.dataset.ignore_index,
        path,
    )


@torch.no_grad()
def _predict(lab: Experiment, model: nn.Module, images: Tensor) -> Tensor:
    """Class indices, uint8 [N, H, W], on the CPU."""
    lab.training.settings.place(model).eval()
    logits = lab.training.settings.logits(model, images.to(lab.training.settings.device))
    return logits.argmax(1).to(torch.uint8).cpu()
