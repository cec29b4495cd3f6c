"""Ablation: a group's true effect, by masking it and running what lies behind it. The judge of all other methods.

Exact, as `surgery.mask` is, unless it is told to sample. Knows effects and sampling; not how masked networks are run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import device_of, in_mode
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.ablation.effects import EFFECTS
from pruning_lab.importance.ablation.masked_runs import MaskedRuns, Work
from pruning_lab.importance.contract import Batches, raise_no_images
from pruning_lab.importance.objective import Loss, cross_entropy

Picture = tuple[Tensor, Tensor]
"""One image [1, C, H, W] and its mask [1, H, W]."""


@dataclass
class Ablation:
    """Mean over images of the effect that masking the group has on the model's answer.

    Groups that can't be cut are not tried and get the highest score there is. With `effect=loss` a score can be
    negative: the network is better off without the group.

    Args:
        effect: `loss` (its change), `flips` (share of pixels that change class), `soft_mask` (mean change of
            probability), or `logits` (mean change of logits).
        loss: (logits, mask) -> scalar, for `effect=loss`; it is given one image at a time.
        images: how many images to look at, at most; None for all.
        pixels: at how many pixels, drawn at random for each image, the effect is measured; None for all. The loss
            must then be a mean over pixels.
        rounds: 1 tries every group on every image. With more, the images are split into so many parts, and after each
            the half of the groups with the larger effect leaves the race with the mean that it has (successive
            halving), since only the least are looked for.
        memory_mb: bound in MiB on what is kept of an image's whole run, and on what runs side by side. What does not
            fit is computed again.
        seed: of the pixels.

    Attributes:
        last_report: what the last call ran, and what brute force would have.
    """

    effect: str = "loss"
    loss: Loss = cross_entropy
    images: int | None = None
    pixels: int | None = None
    rounds: int = 1
    memory_mb: float = 512.0
    seed: int = 0
    last_report: Work = field(default_factory=Work, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.effect not in EFFECTS:
            raise LabError(f"importance.effect={self.effect} is not known; use one of {', '.join(EFFECTS)}")
        for key in ("images", "pixels"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise LabError(f"importance.{key}={getattr(self, key)} must be at least 1, or null for all")
        if self.rounds < 1:
            raise LabError(f"importance.rounds={self.rounds} must be at least 1")
        if self.memory_mb <= 0:
            raise LabError(f"importance.memory_mb={self.memory_mb} must be positive")

    @torch.no_grad()
    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        totals, counts = torch.zeros(len(graph), dtype=torch.float64), torch.zeros(len(graph))
        racing = graph.prunable.nonzero().squeeze(1)
        generator = torch.Generator().manual_seed(self.seed)
        runs = MaskedRuns(model, graph, self.memory_mb * 2**20)
        with in_mode(model, training=False):
            for pictures in self._rounds(batches):
                for image, mask in pictures:
                    self._add_effects(totals, runs, image.to(device_of(model)), mask, racing, generator)
                    counts[racing] += 1
                order = (totals[racing] / counts[racing]).argsort(stable=True)
                racing = racing[order[: (len(order) + 1) // 2]].sort().values
        self.last_report = runs.work
        if not runs.work.whole_runs and not runs.work.evaluations:
            raise_no_images()
        scores = (totals / counts.clamp_min(1)).float()
        return torch.where(graph.prunable, scores, scores.max())

    def _add_effects(
        self, totals: Tensor, runs: MaskedRuns, image: Tensor, mask: Tensor, groups: Tensor, generator: torch.Generator
    ) -> None:
        whole, answers = runs(image, groups)
        mask = mask.to(whole.device)
        if self.pixels is not None:
            count = mask[0].numel()
            chosen = torch.randperm(count, generator=generator)[: self.pixels].to(whole.device)
            whole, mask = _pixels(whole, 2, chosen), _pixels(mask, 1, chosen)
        for part, logits in answers:
            if self.pixels is not None:
                logits = _pixels(logits, 3, chosen)
            totals[part] += EFFECTS[self.effect](logits, whole, mask, self.loss).double().cpu()

    def _rounds(self, batches: Batches) -> Iterable[Iterable[Picture]]:
        pictures = islice(_one_by_one(batches), self.images)
        if self.rounds == 1:
            return [pictures]
        kept = list(pictures)
        size = -(-len(kept) // self.rounds)
        return [kept[start : start + size] for start in range(0, len(kept), max(size, 1))]


def _one_by_one(batches: Batches) -> Iterator[Picture]:
    for images, masks in batches:
        yield from zip(images.split(1), masks.split(1), strict=True)


def _pixels(values: Tensor, first_side: int, chosen: Tensor) -> Tensor:
    """Chosen places [p] of all sides from `first_side` on, as an image of height p and width 1."""
    return values.flatten(first_side).index_select(first_side, chosen).unsqueeze(-1)
