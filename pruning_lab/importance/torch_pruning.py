"""The scores of a peer, Torch-Pruning, so that it can run in the same study. Knows its graph and its criteria.

Source: Fang et al., "DepGraph: towards any structural pruning" (2023), and the package's own examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.modules import device_of, in_mode, tensors_in
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches, over_ids, raise_no_images, replayable
from pruning_lab.importance.objective import Loss, cross_entropy, main_output

CRITERIA = ("magnitude", "taylor")
GROUP_REDUCTIONS = ("mean", "sum", "max", "prod", "first")
NORMALIZERS = ("mean", "sum", "max", "standarization", "gaussian", "lamp")
"""By the names that the peer gives them; beside them `sentinel_Q`."""


@dataclass(frozen=True)
class TorchPruning:
    """What Torch-Pruning's own criterion says of its own groups, ranked over the network as its global pruning does.

    The peer reads its dependency graph from one image in evaluation mode, lists its groups by their first layer, and
    scores every filter of that layer over all that leaves with it: filters, and the weights by which they are read.
    Gradients are taken in evaluation mode and added up over batches, as in its examples: with a normalizer that keeps
    its divisor from zero, another factor would be another rank. Only a batch of another size than the first counts by
    its size, so that all images count alike. Where this graph ties several filters of a first layer (grouped
    convolutions), their mean counts, as in the peer's pruner. A group that the peer does not list, or whose score is
    not a number (its layer's scores are all 0), stays, as it would there. The peer's max_pruning_ratio is one minus a
    floor of `floors`, which also holds within a step.

    Args:
        criterion: `magnitude`, the sum of |w|^p; or `taylor`, the sum of |w x gradient|.
        p: exponent of `magnitude`.
        multivariable: for `taylor`, |sum of w x gradient| in place of the sum of sizes.
        group_reduction: over the tensors that a filter leaves with: mean, sum, max, prod, or first (its own layer's).
        normalizer: by what the scores of a layer are made comparable with others': mean, sum, max, standarization,
            gaussian, lamp, sentinel_Q (divided by the quantile Q, as in sentinel_0.5), or None.
        bias: count biases as well.
        loss: for `taylor`, (logits, mask) -> scalar, a mean over the batch's images.

    Raises:
        LabError: the peer is not installed, it can't read the model, it finds no group, or there was no image.
    """

    criterion: str = "magnitude"
    p: int = 2
    multivariable: bool = False
    group_reduction: str = "mean"
    normalizer: str | None = "mean"
    bias: bool = False
    loss: Loss = cross_entropy

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise LabError(f"importance.criterion={self.criterion} is not known; use one of {', '.join(CRITERIA)}")
        if self.p < 1:
            raise LabError(f"importance.p={self.p} must be at least 1")
        if self.group_reduction not in GROUP_REDUCTIONS:
            known = ", ".join(GROUP_REDUCTIONS)
            raise LabError(f"importance.group_reduction={self.group_reduction} is not known; use one of {known}")
        if self.normalizer is not None and self.normalizer not in NORMALIZERS and not _is_sentinel(self.normalizer):
            known = ", ".join(NORMALIZERS)
            raise LabError(
                f"importance.normalizer={self.normalizer} is not known; use null, {known}, or sentinel_Q, 0 <= Q < 1"
            )

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        peer, batches = _peer(), replayable(batches)
        with in_mode(model, training=False), _fresh_gradients(model), torch.enable_grad():
            groups = _groups(peer, model, batches)
            if self.criterion == "taylor":
                _backward(model, batches, self.loss)
            scores = _scores(self._criterion(peer), groups)
        return _to_groups(graph, {name: values for name, values in scores.items() if name in graph.layers})

    def _criterion(self, peer: ModuleType) -> Any:
        shared = {"group_reduction": self.group_reduction, "normalizer": self.normalizer, "bias": self.bias}
        if self.criterion == "taylor":
            return peer.importance.GroupTaylorImportance(multivariable=self.multivariable, **shared)
        return peer.importance.GroupMagnitudeImportance(p=self.p, **shared)


def _is_sentinel(normalizer: str) -> bool:
    name, _, quantile = normalizer.partition("_")
    try:
        return name == "sentinel" and 0 <= float(quantile) < 1
    except ValueError:
        return False


def _peer() -> ModuleType:
    try:
        import torch_pruning
    except ImportError as error:
        raise LabError(
            f"importance torch_pruning needs Torch-Pruning ({error}); install it: pip install 'pruning_lab[dev]'"
        ) from error
    return torch_pruning


def _groups(peer: ModuleType, model: nn.Module, batches: Batches) -> list[tuple[str, Any]]:
    """(name of the first layer, the peer's group of all its filters), in the peer's order."""
    image = next((image[:1] for image, _ in batches if len(image)), None)
    if image is None:
        raise_no_images()
    names = {module: name for name, module in model.named_modules()}
    try:
        dependencies = peer.DependencyGraph().build_dependency(
            model, image.to(device_of(model)), forward_fn=_all_outputs, verbose=False
        )
        groups = list(dependencies.get_all_groups())
    except Exception as error:  # whatever the peer, or the model under it, raises
        raise LabError(
            f"importance torch_pruning: Torch-Pruning can't read {type(model).__name__} ({type(error).__name__}: "
            f"{first_line(error)}); use another importance"
        ) from error
    return [(names[group[0].dep.target.module], group) for group in groups]


def _all_outputs(model: nn.Module, image: Tensor) -> list[Tensor]:
    return list(tensors_in(model(image)))


def _backward(model: nn.Module, batches: Batches, loss: Loss) -> None:
    """Leave the gradient, summed over batches, in every parameter's `.grad`; a batch counts by its size."""
    device, usual = device_of(model), 0
    for image, mask in batches:
        usual = usual or len(image)
        value = loss(main_output(model(image.to(device))), mask.to(device))
        (value * len(image) / max(usual, 1)).backward()
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


@contextmanager
def _fresh_gradients(model: nn.Module) -> Iterator[None]:
    """Every parameter asks for a gradient and has none inside; both are as they were at the end."""
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    for parameter, _, _ in before:
        parameter.requires_grad_(True)
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, asked, gradient in before:
            parameter.grad = gradient
            parameter.requires_grad_(asked)


def _scores(criterion: Any, groups: list[tuple[str, Any]]) -> dict[str, Tensor]:
    """First layer -> float [filters]; a group whose tensors the criterion does not know is left out."""
    scores = {}
    for name, group in groups:
        try:
            values = criterion(group)
        except Exception as error:  # whatever the peer raises where it mistakes a layer's channels
            raise LabError(
                f"importance torch_pruning: Torch-Pruning can't score layer {name} ({type(error).__name__}: "
                f"{first_line(error)}); use another importance"
            ) from error
        if values is not None:
            scores[name] = values
    return scores


def _to_groups(graph: ChannelGraph, by_layer: Mapping[str, Tensor]) -> Tensor:
    """Scores of first layers' filters as float32 [n_groups]; infinity where there is none."""
    if not by_layer:
        raise LabError("importance torch_pruning: Torch-Pruning finds no group in this model; use another importance")
    ids = torch.cat([graph.layers[name] for name in by_layer])
    values = torch.cat([scores.detach().float().cpu() for scores in by_layer.values()])
    seen = torch.zeros(len(graph), dtype=torch.bool)
    seen[ids[ids >= 0]] = True
    scores = over_ids(ids, values, len(graph), "mean")
    return scores.masked_fill(~seen | scores.isnan() | ~graph.prunable, torch.inf)
