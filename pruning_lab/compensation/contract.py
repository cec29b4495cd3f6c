"""What every compensation shares: the contract, the network before the cut, the report. Knows no way to compensate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph

Batches = Iterable[tuple[Tensor, Tensor]]
"""Pairs of image [N, C, ...] and mask; the masks are not looked at."""


@dataclass(frozen=True)
class Before:
    """A network as it was before a cut, and which of the traced filters it had then.

    Attributes:
        original: layer -> int64 [filters], the index that each filter had when the model was traced.
    """

    model: nn.Module
    original: Mapping[str, Tensor]

    @staticmethod
    def of(model: nn.Module, graph: ChannelGraph) -> Before:
        """A copy of a model as it is now; take it before `cut`, which changes model and graph in place."""
        return Before(copy_of(model), dict(graph.original))

    def kept(self, layer: str, graph: ChannelGraph) -> Tensor:
        """Where the layer's filters that are left stood in this network, int64 [filters left], ascending.

        Args:
            graph: of the same network after the cut.

        Raises:
            LabError: the layer has filters now that it did not have before.
        """
        now, then = graph.original[layer], self.original[layer]
        places = {original: place for place, original in enumerate(then.tolist())}
        if any(original not in places for original in now.tolist()):
            raise LabError(
                f"compensation: {layer} has filters that it did not have before; give the model before the cut"
            )
        return now.new_tensor([places[original] for original in now.tolist()])


@dataclass(frozen=True)
class LayerReport:
    """What came of one reader. Errors are mean squares against what the same filters gave before the cut.

    Attributes:
        before, after: squared error of its output over the output's variance, with its own weights and with the new
            ones, both from what the small network hands it now.
        samples: positions that were looked at.
        note: what was different about it, or why it kept its weights; empty otherwise.
    """

    before: float
    after: float
    samples: int
    note: str = ""

    def since(self, first: LayerReport | None) -> LayerReport:
        """The same of a second way through, told from before the first."""
        return self if first is None else replace(self, before=first.before)


@dataclass(frozen=True)
class Report:
    """What a compensation did.

    Attributes:
        layers: reader -> what came of it, in the network's order.
        left: layers that kept their weights although what they read has changed -> why.
        plain, compensated: squared error of the network's answer over the answer's variance, after the cut alone and
            with the compensation; NaN where nothing was measured.
        kept: False where the compensated network was farther from the one before, so that the plain cut stays.
        passes: forward passes over the images, of both networks together.
        images: how many images were looked at.
        seconds: wall-clock time.
    """

    layers: Mapping[str, LayerReport] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    plain: float = float("nan")
    compensated: float = float("nan")
    kept: bool = True
    passes: int = 0
    images: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, float]:
        """Columns for the history of a run; empty where nothing was done, and errors only where they were measured."""
        if not self.passes:
            return {}
        row = {
            "compensation/passes": float(self.passes),
            "compensation/images": float(self.images),
            "cost/compensation_seconds": self.seconds,
        }
        if math.isnan(self.plain):
            return row
        return row | {
            "compensation/error_plain": self.plain,
            "compensation/error": self.compensated,
            "compensation/kept": float(self.kept),
            "compensation/layers": float(len(self.layers)),
            "compensation/layers_left": float(len(self.left)),
        }

    def text(self) -> str:
        """One line for the console; empty where nothing was done."""
        if not self.passes:
            return ""
        if math.isnan(self.plain):
            return f"compensated in {self.seconds:.1f} s, by {self.images} images"
        fate = "" if self.kept else "; it was farther off than the plain cut, which stays"
        left = f"; {len(self.left)} layers kept their weights: {_listed(self.left)}" if self.left else ""
        noted = {name: layer.note for name, layer in self.layers.items() if layer.note}
        notes = f"; {_listed(noted)}" if noted else ""
        return (
            f"compensated {len(self.layers)} readers in {self.seconds:.1f} s: squared error of the answer "
            f"{self.plain:.3g} -> {self.compensated:.3g}{fate}{left}{notes}"
        )


class Compensation(Protocol):
    """Anything that repairs a network right after a cut, without labels and without training."""

    @property
    def needs_before(self) -> bool:
        """Whether it looks at the network before the cut."""

    def __call__(self, before: Before | None, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Report:
        """Change the weights, biases or running statistics of a network that was cut, in place.

        Args:
            before: the network before the cut; None where `needs_before` is False.
            model, graph: the network after the cut.
            batches: images to look at.
        """


def _listed(reasons: Mapping[str, str], most: int = 3) -> str:
    named = [f"{name} ({why})" for name, why in list(reasons.items())[:most]]
    return ", ".join(named) + (f" and {len(reasons) - most} more" if len(reasons) > most else "")
