"""IPAD: a filter's weights, and how far its mean output lies from the layer's. Knows no other method.

Source: Vitek, Bizjak, Peer, Struc, "IPAD: Iterative pruning with activation deviation for sclera biometrics" (2023).
With W_k the kernel of filter k, n_l = in_channels / groups x kh x kw, M_k the mean of its output map over all images, M
the mean of M_k over the layer's filters and D_k = M_k - M:

    ADC_1 = sum |D_k| / (h w)        ADC_2 = sqrt(sum D_k^2) / (h w)
    score = omega ||W_k||_p / n_l + (1 - omega) equalizer ADC_p
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.activations.observe import Observe, observe_outputs, observe_reads
from pruning_lab.importance.contract import Batches, FilterImportance, FilterScores, over_ids, readers
from pruning_lab.importance.scopes import ranks_in_layers
from pruning_lab.importance.weights.kernels import check_p, filter_weights, norms


@dataclass(frozen=True)
class Ipad(FilterImportance):
    """Weights and activation deviation, weighted by omega.

    Args:
        omega: share of the weights' term in [0, 1]; 1 needs no images.
        p: 1 or 2, the norm in both terms.
        equalizer: brings the activations' term to the weights' scale; not used with `normalize`.
        normalize: None; `global_sum`: each term is divided by its sum over all filters of the network; `layer_mean`: by
            its mean over the filters of the layer, so that every layer gives its own least useful filters. What is
            said of readers is held against the mean of each reader.
        of: whose deviation: `outputs`, the layer's own as in the paper, before normalization and activation; `reads`,
            what the readers of its filters read, behind both: M is then the mean over the reader's channels, and a
            filter has the mean over the places where its group is read.
        weights: whose weights: `own`, the filter's kernel as in the paper; `readers`, what its readers multiply it
            with, n_l being a reader's filters x kh x kw: a norm behind a filter undoes the size of its own kernel.
        around: what an output deviates from: `layer`, the mean over the layer's filters, as in the paper; `own`, the
            filter's own mean over all images and places, so that its term is its standard deviation, whatever p: what
            is lost where the filter is replaced by its mean.
        ranked: give each filter its place in its layer's order, in (0, 1], in place of its score, so that all layers
            give alike shares of their filters.
        resize_kernels: resize kernels to 3x3 before the norm, with n_l = in_channels / groups.
        pointwise_by_weights: score 1x1 layers by their weights only, not weighted by omega.
    """

    omega: float = 0.5
    p: int = 1
    equalizer: float = 10.0
    normalize: str | None = None
    resize_kernels: bool = False
    pointwise_by_weights: bool = False
    of: str = "outputs"
    around: str = "layer"
    weights: str = "own"
    ranked: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.omega <= 1:
            raise LabError(f"importance.omega={self.omega} must lie in [0, 1]")
        check_p(self.p)
        if not self.equalizer >= 0:
            raise LabError(f"importance.equalizer={self.equalizer} must not be negative")
        if self.normalize not in (None, *_NORMALIZED):
            raise LabError(f"importance.normalize={self.normalize} must be null, {' or '.join(_NORMALIZED)}")
        for key, known in _CHOICES.items():
            if getattr(self, key) not in known:
                raise LabError(f"importance.{key}={getattr(self, key)} must be {' or '.join(known)}")

    def by_filter(self, model: nn.Module, graph: ChannelGraph, batches: Batches) -> FilterScores:
        kernels = filter_weights(model, graph)
        alone = {layer for layer, kernel in kernels.items() if self.pointwise_by_weights and _pointwise(kernel)}
        if self.weights == "own":
            by_weights = self._over({layer: self._weight_term(kernel) for layer, kernel in kernels.items()})
        else:
            by_weights = _of_filters(graph, self._over(self._by_readers(model, graph, kernels)))
        deviation: FilterScores = {}
        if self.omega < 1:
            deviation = self._deviation(model, graph, batches, alone)
        scale = self.equalizer if self.normalize is None else 1.0
        scores = {}
        for layer, term in by_weights.items():
            scores[layer] = term if layer in alone else self.omega * term
            if layer in deviation:
                scores[layer] = scores[layer] + (1 - self.omega) * scale * deviation[layer]
        return ranks_in_layers(graph, scores) if self.ranked else scores

    def _over(self, terms: FilterScores) -> FilterScores:
        return terms if self.normalize is None else _NORMALIZED[self.normalize](terms)

    def _by_readers(self, model: nn.Module, graph: ChannelGraph, kernels: FilterScores) -> FilterScores:
        """||W_r(., i)||_p / n_r of every channel i that a layer r reads, float [in_channels] each."""
        found = {}
        for layer, channels in readers(graph).items():
            kernel = kernels.get(layer)
            blocks = 0 if kernel is None or kernel.dim() < 2 else len(channels) // kernel.shape[1]
            if kernel is None or not blocks or len(kernel) % blocks:
                continue  # a product of activations, or a bare parameter
            parts = kernel.float().reshape(blocks, len(kernel) // blocks, kernel.shape[1], -1).transpose(1, 2)
            rows = parts.reshape(len(channels), -1)
            found[layer] = norms(rows, self.p) / rows.shape[1]
        return found

    def _weight_term(self, kernel: Tensor) -> Tensor:
        """||W_k||_p / n_l, float [filters]."""
        kernel = kernel.float()
        count = kernel[0].numel()
        if self.resize_kernels and kernel.dim() == 4:
            kernel = nn.functional.interpolate(kernel, size=(3, 3), mode="bilinear", align_corners=False)
            count = kernel.shape[1]
        return norms(kernel.flatten(1), self.p) / count

    def _deviation(
        self, model: nn.Module, graph: ChannelGraph, batches: Batches, without: Collection[str]
    ) -> FilterScores:
        """ADC_p of every layer but some, float [filters]. Memory: one mean map per layer and image size.

        Images of several sizes have mean maps of several sizes; a layer's ADC is then their mean, weighted by how
        many images each one saw.
        """
        look = partial(self._observed, model, graph, batches)
        found = _standard_deviations(look) if self.around == "own" else self._around_layers(look)
        if self.of == "reads":
            found = _of_filters(graph, self._over(found))
        found = {layer: term for layer, term in found.items() if layer not in without}
        return found if self.of == "reads" else self._over(found)

    def _observed(self, model: nn.Module, graph: ChannelGraph, batches: Batches, observe: Observe) -> None:
        (observe_outputs if self.of == "outputs" else observe_reads)(model, graph, batches, observe)

    def _around_layers(self, look: Callable[[Observe], None]) -> FilterScores:
        sums: dict[str, dict[torch.Size, tuple[Tensor, int]]] = {}

        def observe(layer: str, output: Tensor) -> None:
            maps = sums.setdefault(layer, {})
            batch_sum = output.sum(0, dtype=torch.float32)
            if output.shape[2:] in maps:
                total, images = maps[output.shape[2:]]
                maps[output.shape[2:]] = (total.add_(batch_sum), images + len(output))
            else:
                maps[output.shape[2:]] = (batch_sum, len(output))

        look(observe)
        return {layer: self._deviation_of(maps) for layer, maps in sums.items()}

    def _deviation_of(self, maps: dict[torch.Size, tuple[Tensor, int]]) -> Tensor:
        weighted = []
        for total, images in maps.values():
            mean = total.reshape(len(total), -1) / images
            apart = mean - mean.mean(0, keepdim=True)
            weighted.append(images * norms(apart, self.p) / apart.shape[1])
        return torch.stack(weighted).sum(0) / sum(images for _, images in maps.values())


def _standard_deviations(look: Callable[[Observe], None]) -> FilterScores:
    """Of each channel that is shown, over all images and places; float [channels] for each layer."""
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def observe(layer: str, output: Tensor) -> None:
        values = output.double().transpose(0, 1).flatten(1)
        total, squares, count = sums.get(layer, (0.0, 0.0, 0))
        sums[layer] = total + values.sum(1), squares + values.square().sum(1), count + values.shape[1]

    look(observe)
    return {
        layer: (squares / count - (total / count).square()).clamp(min=0).sqrt().float()
        for layer, (total, squares, count) in sums.items()
    }


def _pointwise(kernel: Tensor) -> bool:
    return kernel.dim() > 2 and kernel[0, 0].numel() == 1


def _over_sum(terms: FilterScores) -> FilterScores:
    total = sum(float(term.sum()) for term in terms.values())
    return {layer: term / total for layer, term in terms.items()} if total else terms


def _over_layer_mean(terms: FilterScores) -> FilterScores:
    return {layer: term / term.mean() if bool(term.any()) else term for layer, term in terms.items()}


_CHOICES = {"of": ("outputs", "reads"), "around": ("layer", "own"), "weights": ("own", "readers")}
_NORMALIZED = {"global_sum": _over_sum, "layer_mean": _over_layer_mean}


def _of_filters(graph: ChannelGraph, by_reader: FilterScores) -> FilterScores:
    """From the channels of readers, float [in_channels] each, over the groups that they read to layers' filters."""
    ids = readers(graph)
    if not by_reader:
        return {}
    channels, values = torch.cat([ids[layer] for layer in by_reader]), torch.cat(list(by_reader.values()))
    by_group = torch.cat([over_ids(channels, values.cpu(), len(graph), "mean"), torch.zeros(1)])
    return {layer: by_group[row].to(values.device) for layer, row in graph.layers.items()}
