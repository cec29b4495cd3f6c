"""IPAD: a filter's weights, and how far its mean output lies from the layer's. Knows no other method.

Source: Vitek, Bizjak, Peer, Struc, "IPAD: Iterative pruning with activation deviation for sclera biometrics" (2023).
With W_k the kernel of filter k, n_l = in_channels / groups x kh x kw, M_k the mean of its output map over all images, M
the mean of M_k over the layer's filters and D_k = M_k - M:

    ADC_1 = sum |D_k| / (h w)        ADC_2 = sqrt(sum D_k^2) / (h w)
    score = omega ||W_k||_p / n_l + (1 - omega) equalizer ADC_p
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.observe import observe_outputs
from pruning_lab.importance.contract import Batches, FilterImportance, FilterScores
from pruning_lab.importance.weights.kernels import check_p, filter_weights, norms


@dataclass(frozen=True)
class Ipad(FilterImportance):
    """Weights and activation deviation, weighted by omega.

    Args:
        omega: share of the weights' term in [0, 1]; 1 needs no images.
        p: 1 or 2, the norm in both terms.
        equalizer: brings the activations' term to the weights' scale; not used with `normalize`.
        normalize: None, or `global_sum`: each term is divided by its sum over all filters of the network.
        resize_kernels: resize kernels to 3x3 before the norm, with n_l = in_channels / groups.
        pointwise_by_weights: score 1x1 layers by their weights only, not weighted by omega.
    """

    omega: float = 0.5
    p: int = 1
    equalizer: float = 10.0
    normalize: str | None = None
    resize_kernels: bool = False
    pointwise_by_weights: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.omega <= 1:
            raise LabError(f"importance.omega={self.omega} must lie in [0, 1]")
        check_p(self.p)
        if self.normalize not in (None, "global_sum"):
            raise LabError(f"importance.normalize={self.normalize} must be null or global_sum")

    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        kernels = filter_weights(model, graph)
        by_weights = {layer: self._weight_term(kernel) for layer, kernel in kernels.items()}
        alone = {layer for layer, kernel in kernels.items() if self.pointwise_by_weights and _pointwise(kernel)}
        deviation: FilterScores = {}
        if self.omega < 1:
            seen = self._deviation(model, graph, batches)
            deviation = {layer: term for layer, term in seen.items() if layer not in alone}
        scale = self.equalizer
        if self.normalize == "global_sum":
            by_weights, deviation, scale = _over_sum(by_weights), _over_sum(deviation), 1.0
        scores = {}
        for layer, term in by_weights.items():
            scores[layer] = term if layer in alone else self.omega * term
            if layer in deviation:
                scores[layer] = scores[layer] + (1 - self.omega) * scale * deviation[layer]
        return scores

    def _weight_term(self, kernel: Tensor) -> Tensor:
        """||W_k||_p / n_l, float [filters]."""
        kernel = kernel.float()
        count = kernel[0].numel()
        if self.resize_kernels and kernel.dim() == 4:
            kernel = nn.functional.interpolate(kernel, size=(3, 3), mode="bilinear", align_corners=False)
            count = kernel.shape[1]
        return norms(kernel.flatten(1), self.p) / count

    def _deviation(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        """ADC_p of every layer that ran, float [filters]. Memory: one mean map per layer and image size.

        Images of several sizes have mean maps of several sizes; a layer's ADC is then their mean, weighted by how
        many images each one saw.
        """
        sums: dict[str, dict[torch.Size, tuple[Tensor, int]]] = {}

        def observe(layer: str, output: Tensor) -> None:
            maps = sums.setdefault(layer, {})
            batch_sum = output.sum(0, dtype=torch.float32)
            if output.shape[2:] in maps:
                total, images = maps[output.shape[2:]]
                maps[output.shape[2:]] = (total.add_(batch_sum), images + len(output))
            else:
                maps[output.shape[2:]] = (batch_sum, len(output))

        observe_outputs(model, graph, batches, observe)
        return {layer: self._deviation_of(maps) for layer, maps in sums.items()}

    def _deviation_of(self, maps: dict[torch.Size, tuple[Tensor, int]]) -> Tensor:
        weighted = []
        for total, images in maps.values():
            mean = total.reshape(len(total), -1) / images
            apart = mean - mean.mean(0, keepdim=True)
            weighted.append(images * norms(apart, self.p) / apart.shape[1])
        return torch.stack(weighted).sum(0) / sum(images for _, images in maps.values())


def _pointwise(kernel: Tensor) -> bool:
    return kernel.dim() > 2 and kernel[0, 0].numel() == 1


def _over_sum(terms: FilterScores) -> FilterScores:
    total = sum(float(term.sum()) for term in terms.values())
    return {layer: term / total for layer, term in terms.items()} if total else terms
