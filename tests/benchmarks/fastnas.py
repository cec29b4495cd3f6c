"""A peer of the study: NVIDIA Model Optimizer's FastNAS chooses widths and filters. Knows its search and its rules.

    pip install -e ".[fastnas]"

FastNAS sorts the filters of every layer, measures the score of the network with each layer at each of some widths, and
takes for all layers the widths whose loss stays below one threshold, by bisection for a budget of FLOPs. Its cut keeps
weights as they are, so it is a choice of filters like any other: here it says which leave, and the lab cuts. It does
not cut the layers of an encoder that a skip connection reads as well.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance.contract import Batches
from pruning_lab.lab.validation import confusion_matrix, segmentation_scores
from pruning_lab.resources.counting import measure

Filter = tuple[str, int]
"""(layer, index of the filter in the original model)."""

RATIOS = tuple(k / 20 for k in range(2, 21))


class FastNas:
    """Scores 0 for the filters that leave until the next budget, infinity for the others.

    It searches once for each budget, on the network as it is by then, and the lab's steps take away what it chose.
    """

    def __init__(self) -> None:
        self.whole = 0
        self.leaving: set[Filter] = set()

    def __call__(self, model: nn.Module, graph: ChannelGraph, batches: Batches, limits: Sequence[float]) -> Tensor:
        """Scores, float [n_groups].

        Args:
            limits: the budgets, fractions of the FLOPs of the network that it is asked about first.
        """
        now = measure(graph).macs
        self.whole = self.whole or now
        names = _names(graph)
        if not any(name in self.leaving for name in names):
            limit = max((limit for limit in limits if limit < now / self.whole), default=None)
            if limit is None:
                raise LabError("fastnas: the network is below all of its budgets; give it the budgets of the run")
            kept = _searched(model, list(batches), limit * self.whole / now)
            self.leaving = {name for name, stays in zip(names, _stay(model, graph, kept), strict=True) if not stays}
        return torch.tensor([0.0 if name in self.leaving else torch.inf for name in names])


scores = FastNas()
"""The callable for `importance.method.path`; a job has one run, so one is enough."""


def _names(graph: ChannelGraph) -> list[Filter]:
    """Of every group the name of one of its filters."""
    names: dict[int, Filter] = {}
    for layer, row in graph.layers.items():
        for group, original in zip(row.tolist(), graph.original[layer].tolist(), strict=True):
            names.setdefault(group, (layer, original))
    return [names[group] for group in range(len(graph))]


def _searched(model: nn.Module, batches: list[tuple[Tensor, Tensor]], fraction: float) -> nn.Module:
    """What FastNAS leaves of a copy of the model, at a fraction of the FLOPs that it has.

    Raises LabError when it finds no such network.
    """
    try:
        import modelopt.torch.prune as peer
    except ImportError as error:
        raise LabError(f"fastnas needs Model Optimizer ({error}); install it: pip install -e '.[fastnas]'") from error
    copied = copy.deepcopy(model).eval()
    for parameter in copied.parameters():
        parameter.data = parameter.data.contiguous()
    layers = {"channels_ratio": RATIOS, "kernel_size": (), "channel_divisor": 1}
    norms = {"features_ratio": RATIOS, "feature_divisor": 1}
    rules = {"nn.Conv2d": layers, "nn.ConvTranspose2d": layers, "nn.BatchNorm2d": norms}
    images = [(image,) for image, _ in batches]
    settings = {
        "score_func": _iou(batches),
        "data_loader": images,
        "collect_func": lambda batch: batch[0],
        "verbose": False,
        "checkpoint": None,
    }
    told = io.StringIO()
    try:
        with redirect_stdout(told), redirect_stderr(told), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wants 50 batches to measure norms with; it gets the run's images
            found, _ = peer.prune(
                copied,
                mode=[("fastnas", {name: {"*": rule} for name, rule in rules.items()})],
                constraints={"flops": f"{100 * fraction:.4f}%"},
                dummy_input=images[0][0][:1],
                config=settings,
            )
    except Exception as error:  # whatever the peer raises, as where no network is small enough
        raise LabError(f"fastnas: Model Optimizer finds no network ({first_line(error)})") from error
    return found


def _iou(batches: list[tuple[Tensor, Tensor]]) -> Callable[[nn.Module], float]:
    """Mean IoU over the images, which the peer's search goes by."""

    @torch.inference_mode()
    def score(model: nn.Module) -> float:
        total: Tensor | int = 0
        for image, mask in batches:
            logits = model(image)
            classes = logits.shape[1]
            labeled = mask.where((mask >= 0) & (mask < classes), classes)
            total = total + confusion_matrix(logits.argmax(1), labeled, classes, ignore_index=classes)
        assert isinstance(total, Tensor)
        return segmentation_scores(total, [str(k) for k in range(len(total))])["iou"]

    return score


def _stay(model: nn.Module, graph: ChannelGraph, found: nn.Module) -> list[bool]:
    """Which groups the found network still has, by the running means of its batch norms, which are all different.

    A group without a batch norm stays.
    """
    stays = [True] * len(graph)
    left = dict(found.named_buffers())
    for name, before in model.named_buffers():
        if name.endswith("running_mean") and 0 in graph.tensors[name].axes:
            kept = set(left[name].tolist())
            for group, value in zip(graph.tensors[name].axes[0].tolist(), before.tolist(), strict=True):
                stays[group] = value in kept
    return stays
