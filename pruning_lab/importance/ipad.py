"""IPAD: a filter's weights, and how far its mean output lies from the layer's.

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

from pruning_lab.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations import observe_outputs
from pruning_lab.importance.scoring import Batches, filter_weights, to_groups


@dataclass(frozen=True)
class Ipad:
    """Weights and activation deviation, weighted by omega.

    Args:
        omega: share of the weights' term in [0, 1]; 1 needs no images.
        p: 1 or 2, the norm in both terms.
        equalizer: brings the activations' term to the weights' scale; not used with `normalize`.
        normalize: None, or `global_sum`: each term is divided by its sum over all filters of the network.
        resize_kernels: resize kernels to 3x3 before the norm, with n_l = in_channels / groups.
        pointwise_by_weights: score 1x1 layers by their weights only.
        reduce: over the filters of a group: mean, sum, amax.
    """

    omega: float = 0.5
    p: int = 1
    equalizer: float = 10.0
    normalize: str | None = None
    resize_kernels: bool = False
    pointwise_by_weights: bool = False
    reduce: str = "mean"

    def __post_init__(self) -> None:
        if not 0 <= self.omega <= 1:
            raise LabError(f"importance.omega={self.omega} must lie in [0, 1]")
        if self.p not in (1, 2):
            raise LabError(f"importance.p={self.p} must be 1 or 2")
        if self.normalize not in (None, "global_sum"):
            raise LabError(f"importance.normalize={self.normalize} must be null or global_sum")

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> Tensor:
        kernels = filter_weights(model, graph)
        weight_term = {layer: self._weight_term(kernel) for layer, kernel in kernels.items()}
        deviation = self._deviation(model, graph, batches) if self.omega < 1 else {}
        pointwise = {layer for layer, kernel in kernels.items() if kernel.dim() > 2 and kernel[0, 0].numel() == 1}
        scale = self.equalizer
        if self.normalize == "global_sum":
            weight_term = _divide_by_sum(weight_term)
            deviation = _divide_by_sum(deviation)
            scale = 1.0
        scores = {}
        for layer, term in weight_term.items():
            if layer not in deviation or (self.pointwise_by_weights and layer in pointwise):
                scores[layer] = term if self.pointwise_by_weights and layer in pointwise else self.omega * term
            else:
                scores[layer] = self.omega * term + (1 - self.omega) * scale * deviation[layer].to(term.device)
        return to_groups(graph, scores, self.reduce)

    def _weight_term(self, kernel: Tensor) -> Tensor:
        """||W_k||_p / n_l, float [filters]."""
        kernel = kernel.float()
        count = kernel[0].numel()
        if self.resize_kernels and kernel.dim() == 4:
            kernel = nn.functional.interpolate(kernel, size=(3, 3), mode="bilinear", align_corners=False)
            count = kernel.shape[1]
        return torch.linalg.vector_norm(kernel.flatten(1), ord=self.p, dim=1) / count

    def _deviation(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> dict[str, Tensor]:
        """ADC_p of every layer that ran, float [filters]. Memory: one mean map per layer."""
        sums: dict[tuple[str, int], tuple[Tensor, int]] = {}

        def observe(layer: str, output: Tensor) -> None:
            total, images = sums.get((layer, output.shape[2]), (0, 0))
            sums[layer, output.shape[2]] = (total + output.sum(0, dtype=torch.float32), images + len(output))

        if observe_outputs(model, graph, batches, observe) == 0:
            raise LabError("importance got no images to look at; raise loader.score_images or set importance.omega=1")
        seen: dict[str, list[tuple[Tensor, int]]] = {}
        for (layer, positions), (total, images) in sums.items():
            mean = total / images
            apart = mean - mean.mean(0, keepdim=True)
            norm = torch.linalg.vector_norm(apart, ord=self.p, dim=1) / positions
            seen.setdefault(layer, []).append((norm, images))
        return {
            layer: sum(norm * images for norm, images in parts) / sum(images for _, images in parts)  # type: ignore[misc]
            for layer, parts in seen.items()
        }


def _divide_by_sum(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    total = sum(float(term.sum()) for term in terms.values())
    return {layer: term / total for layer, term in terms.items()} if total else terms
