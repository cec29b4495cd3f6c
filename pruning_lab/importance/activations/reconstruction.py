"""What a group's readers lose without it when they have done their best to do without. Knows second moments, no labels.

Source: the optimal brain surgeon (Hassibi and Stork 1993), layer by layer (Dong et al., "Learning to prune deep neural
networks via layer-wise optimal brain surgeon", 2017), with whole channels as in the structured forms of optimal brain
compression (Frantar and Alistarh 2022). For a reader with weights W over input patches x, G = E[x x^T] and S the
entries that read the group, the loss of leaving it out with the best update of the other weights is

    sum over filters j that stay: W_jS ((G^-1)_SS)^-1 W_jS^T

and after it has left, W - W_S ((G^-1)_SS)^-1 (G^-1)_S and G^-1 - (G^-1)_:S ((G^-1)_SS)^-1 (G^-1)_S: are the weights
and the inverse of what is left. A group's score is the sum of its readers' losses at the moment when it leaves, the
least first, so that of two groups that can stand for each other one is dear as soon as the other one has left.

Not every output matters alike to what lies behind. With v_j what an error of filter j's output is worth, the loss is

    sum over filters j that stay: v_j W_jS ((G^-1)_SS)^-1 W_jS^T

The best update is the same, as each filter is solved by itself. v_j is 1; or the mean over images of the sum over
places of (gradient of the loss by the output)^2, the diagonal of Fisher's matrix, so that half the score is what the
run's loss gains to second order (as in Theis 2018); or what lies downstream of filter j (`Downstream`), over its
layer's mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.reading_moments import Block, blocks_of
from pruning_lab.importance.contract import Batches, replayable
from pruning_lab.importance.downstream import Downstream
from pruning_lab.importance.gradients.gate_gradients import output_gradients
from pruning_lab.importance.objective import Loss, cross_entropy

_RELATIVE = ("output", "none")
_WEIGHED = ("none", "gradient", "downstream")

_ROUNDING = 1e-6
"""Share of a loss below which a difference to it is none."""


@dataclass(frozen=True)
class Reconstruction:
    """Squared error of the readers' outputs after compensation; no labels, no gradient but where it is weighed by one.

    Args:
        weigh: how much each filter's error counts. none: all alike; gradient: by the squared gradient of the loss, in
            one more forward and backward pass; downstream: by what it feeds, in one more forward pass.
        loss: (logits, mask) -> scalar, a mean over the batch's images; for `weigh` gradient alone.
        relative_to: output: each reader's loss is divided by the variance of its whole output, weighed alike, so that
            readers compare; none: it is not. Weighed by the gradient, losses compare without.
        greedy: share of the prunable groups, from 0 to 1, whose leaving is followed one by one; the others have the
            loss that they have when these have left. More than a step removes is not needed.
        places: of a reader's output, at most, that are looked at in each image.
        widest: weights per filter, at most, that are seen together; wider readers are seen tap by tap.
        ridge: added to the diagonal of G, over its mean.
        seed: draws the places.
    """

    relative_to: str = "output"
    greedy: float = 1.0
    places: int = 64
    widest: int = 640
    ridge: float = 1e-9
    seed: int = 0
    weigh: str = "none"
    loss: Loss = cross_entropy

    def __post_init__(self) -> None:
        if self.relative_to not in _RELATIVE:
            raise LabError(f"importance.relative_to={self.relative_to} is not known; use {' or '.join(_RELATIVE)}")
        if self.weigh not in _WEIGHED:
            raise LabError(
                f"importance.weigh={self.weigh} is not known; use {', '.join(_WEIGHED[:-1])} or {_WEIGHED[-1]}"
            )
        if not 0 <= self.greedy <= 1:
            raise LabError(f"importance.greedy={self.greedy} must lie in [0, 1]")
        if self.places < 1 or self.widest < 1 or self.ridge <= 0:
            raise LabError("importance.places, importance.widest and importance.ridge must be positive")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        batches = replayable(batches)
        blocks = blocks_of(model, graph, batches, self.places, self.widest, self.seed)
        worth = self._worth(model, graph, batches, {block.layer for block in blocks})
        spread: dict[str, float] = {}
        for block in blocks:
            size = ((block.weights @ block.moments) * block.weights).sum(1)
            spread[block.layer] = spread.get(block.layer, 0.0) + float((worth[block.layer][block.filters] * size).sum())
        problems = []
        for block in blocks:
            value = worth[block.layer][block.filters]
            if self.relative_to == "output":
                value = value / max(spread[block.layer], 1e-30)
            problems.append(_Problem(block, graph, value, self.ridge))
        return _greedy(problems, graph, round(self.greedy * int(graph.prunable.sum()))).float()

    def _worth(self, model: nn.Module, graph: ChannelGraph, batches: Batches, layers: set[str]) -> dict[str, Tensor]:
        """What an error of each filter's output is worth, float64 [filters] per layer."""
        alike = {name: torch.ones(len(graph.layers[name]), dtype=torch.float64) for name in layers}
        if self.weigh == "gradient":
            found = output_gradients(model, layers, batches, self.loss)
            return {name: found[name].double() if name in found else 0 * row for name, row in alike.items()}
        if self.weigh == "downstream":
            ahead = Downstream(mix=0.0, last_layers="ones", active=True).by_filter(model, graph, batches)
            return {name: ahead[name].double().cpu() for name in layers}
        return alike


class _Problem:
    """A block while groups leave."""

    def __init__(self, block: Block, graph: ChannelGraph, value: Tensor, ridge: float) -> None:
        self.weights = block.weights.clone()
        self.value = value
        mean = float(block.moments.diagonal().mean())
        held = block.moments.clone()
        self.ridge = ridge * mean if mean > 0 else 1.0
        held.diagonal().add_(self.ridge)
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(held))
        own = graph.layers.get(block.layer)
        self.filters = torch.full_like(block.filters, -1) if own is None else own[block.filters]
        self.entries = {int(g): (block.groups == g).nonzero().squeeze(1) for g in block.groups.unique() if g >= 0}
        self.losses = torch.zeros(len(graph), dtype=torch.float64)
        self.renew()

    def renew(self) -> None:
        """The loss of each group that is left, all groups of one size at once."""
        by_size: dict[int, list[int]] = {}
        for group, entries in self.entries.items():
            by_size.setdefault(len(entries), []).append(group)
        self.losses = torch.zeros_like(self.losses)
        for groups in by_size.values():
            ids = torch.tensor(groups)
            entries = torch.stack([self.entries[group] for group in groups])  # [groups, size]
            parts = self.weights[:, entries].movedim(0, 1)  # [groups, filters, size]
            squares = self.inverse[entries.unsqueeze(2), entries.unsqueeze(1)]
            lost = (torch.linalg.solve(squares, parts.mT).mT * parts).sum(2)
            # What the ridge alone makes of weights that read a constant is no loss.
            own = lost - self.ridge * parts.square().sum(2)
            lost = torch.where(own > _ROUNDING * lost, own, 0.0)
            self.losses[ids] = (self.value * lost * (self.filters != ids.unsqueeze(1))).sum(1)

    def leave(self, group: int) -> None:
        """The weights and the inverse of what is left."""
        entries = self.entries.pop(group)
        factor = torch.linalg.solve(self.inverse[entries][:, entries], self.inverse[entries])
        self.weights = self.weights - self.weights[:, entries] @ factor
        self.inverse = self.inverse - self.inverse[:, entries] @ factor
        self.weights[:, entries] = 0
        self.weights[self.filters == group] = 0  # a filter of the group itself has nothing to lose any more
        self.renew()


def _greedy(problems: list[_Problem], graph: ChannelGraph, steps: int) -> Tensor:
    """Float64 [n_groups]: the loss at the moment of leaving, never less than that of what has left before."""
    current = (
        torch.stack([problem.losses for problem in problems]).sum(0) if problems else torch.zeros(len(graph)).double()
    )
    scores, left = current.clone(), graph.prunable.clone()
    widths = {name: len(row) for name, row in graph.layers.items()}
    most = 0.0
    for _ in range(steps):
        group = int(torch.where(left, current, torch.inf).argmin())
        if not bool(left[group]):
            break
        left[group] = False
        members = {name: int((row == group).sum()) for name, row in graph.layers.items() if bool((row == group).any())}
        if any(widths[name] <= count for name, count in members.items()):
            continue  # the last of its layer stays
        for name, count in members.items():
            widths[name] -= count
        most = max(most, float(current[group]))
        scores[group] = most
        for problem in problems:
            if group in problem.entries:
                current -= problem.losses
                problem.leave(group)
                current += problem.losses
    return torch.where(left, current.clamp(min=most), scores)
