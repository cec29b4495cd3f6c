"""One way through a network that was cut, in which every reader is repaired as soon as both networks have reached it.

Knows how to walk, to sample and to change; what is added to a reader is the solver's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import device_of, in_mode, tensors_in
from pruning_lab.compensation.contract import Batches, Before, LayerReport, Report
from pruning_lab.compensation.in_step import InStep, Meeting
from pruning_lab.compensation.patches import (
    channels_of,
    patches_at,
    rows_at,
    sampled_places,
    weight_rows,
    weights_per_filter,
    with_doubles,
)
from pruning_lab.compensation.readers import Reader, readers_of
from pruning_lab.compensation.sampling import Sampling
from pruning_lab.compensation.solve import Solution
from pruning_lab.compensation.statistics import Statistics
from pruning_lab.graph import ChannelGraph

UNCHANGED = 1e-11
"""Squared error over variance below which a reader's output counts as what it was: more is no rounding of float32."""

_PROBE = 16
"""Places of each image by which that is seen."""

Solve = Callable[[Reader, Tensor, Tensor], Solution]
"""(reader, what its filters see [rows, groups, weights], what its output lacks [rows, groups, filters]) -> repair."""


def sweep(
    before: Before,
    model: nn.Module,
    graph: ChannelGraph,
    batches: Batches,
    sampling: Sampling,
    solve: Solve,
    resized: bool = False,
) -> Report:
    """Repair every reader in the network's order, from what the repaired network hands it; in place.

    Layers that run several times in a pass are repaired at the last of them; then what lies behind is repaired once
    more, in a second way through. In the end the network's answer is measured, and the plain cut stays where that was
    nearer to the network before.

    Args:
        resized: filters before a norm get the sizes back that they had, see `statistics`.
    """
    started = time.perf_counter()
    old, images = before.model.to(device_of(model)), sampling.images_of(batches, graph, model)
    readers, left = readers_of(before, model, graph, images[0][:1])
    images = sampling.affordable(images, sum(2 * reader.macs[0] + reader.macs[1] for reader in readers))
    kept_back = [(tensor, tensor.detach().clone()) for reader in readers for tensor in reader.tensors()]
    plain = answers_of(model, images)
    work, statistics = _Sweep(old, model, readers, sampling, solve), Statistics(model, readers if resized else [])
    with statistics.watching():
        layers = work.run(images)
    several = any(reader.calls > 1 for reader in readers)
    if several:
        with statistics.watching():
            again = work.run(images, again=True)
        layers = {name: layer.since(layers.get(name)) for name, layer in (layers | again).items()}
    error, error_plain = distance(work.answers, work.targets), distance(plain, work.targets)
    kept = not error > error_plain
    if kept:
        statistics.settle(layers)
    else:
        with torch.no_grad():
            for tensor, value in kept_back:
                tensor.copy_(value)
    shifted = {r.layer: "its weight is computed" for r in readers if r.weight is None and r.layer in layers}
    return Report(
        layers,
        left | shifted,
        error_plain,
        error,
        kept,
        passes=5 if several else 3,
        images=sum(map(len, images)),
        seconds=time.perf_counter() - started,
    )


@torch.no_grad()
def answers_of(model: nn.Module, images: list[Tensor]) -> list[Any]:
    """What a network returns in evaluation mode, batch by batch."""
    with in_mode(model, training=False):
        return [model(image) for image in images]


def distance(answers: list[Any], targets: list[Any]) -> float:
    """Squared error of answers over the variance of what they should be, over all tensors in them."""
    missing = spread = 0.0
    for answer, target in zip(tensors_in(answers), tensors_in(targets), strict=True):
        if target.is_floating_point():
            wanted = with_doubles(target).double()
            missing += float((with_doubles(answer).double() - wanted).square().sum())
            spread += float((wanted - wanted.mean()).square().sum())
    return missing / max(spread, 1e-30)


class _Sweep:
    def __init__(
        self, old: nn.Module, model: nn.Module, readers: list[Reader], sampling: Sampling, solve: Solve
    ) -> None:
        self.old, self.model, self.sampling, self.solve = old, model, sampling, solve
        self.by_name = {name: reader for reader in readers for name in reader.names}
        self.answers: list[Any] = []
        self.targets: list[Any] = []

    def run(self, images: list[Tensor], again: bool = False) -> dict[str, LayerReport]:
        """Walk through the images once; `again`: leave alone what runs several times, it is repaired already."""
        layers: dict[str, LayerReport] = {}
        gathered: dict[str, list[_Rows]] = {}
        walk = InStep(self.old, self.model, list(self.by_name), images)
        for meeting in walk.meetings():
            reader = self.by_name[meeting.name]
            if again and reader.calls > 1:
                continue
            parts = gathered.setdefault(reader.layer, [])
            parts.append(self._gather(reader, meeting))
            if len(parts) == reader.calls:
                found = self._repair(reader, gathered.pop(reader.layer))
                if found is not None:
                    layers[reader.layer] = found
        self.answers, self.targets = walk.answers, walk.targets
        return layers

    @torch.no_grad()
    def _gather(self, reader: Reader, meeting: Meeting) -> _Rows:
        """Sampled rows of one call; few where they show that the reader gives what it gave before."""
        probe = self._rows_of(reader, meeting, _PROBE)
        if probe.size() <= UNCHANGED * probe.spread():
            return probe
        module = self.model.get_submodule(meeting.name)
        per_call = self.sampling.rows(weights_per_filter(module), probe.seen.element_size()) // reader.calls
        return self._rows_of(reader, meeting, max(1, per_call // sum(map(len, meeting.inputs))))

    def _rows_of(self, reader: Reader, meeting: Meeting, per_image: int) -> _Rows:
        module = self.model.get_submodule(meeting.name)
        seen, wanted, first = [], [], 0
        for inputs, target in zip(meeting.inputs, meeting.targets, strict=True):
            flat = channels_of(module, target)
            places = sampled_places(flat, per_image, self.sampling.seed, first)
            first += len(flat)
            seen.append(patches_at(module, inputs, tuple(target.shape[-_sides(module) :]), places))
            wanted.append(rows_at(flat, places)[:, reader.kept.to(flat.device)])
        rows, target = with_doubles(torch.cat(seen)), with_doubles(torch.cat(wanted))
        weights = with_doubles(weight_rows(module))
        given = torch.einsum("mgn,gon->mgo", rows, weights).double()
        bias = module._parameters.get("bias")
        if bias is not None:
            given += with_doubles(bias).double().reshape(given.shape[1:])
        return _Rows(rows, target.double().reshape(given.shape), given)

    @torch.no_grad()
    def _repair(self, reader: Reader, parts: list[_Rows]) -> LayerReport | None:
        rows = _Rows(*(torch.cat(items) for items in zip(*((p.seen, p.wanted, p.given) for p in parts), strict=True)))
        if rows.size() <= UNCHANGED * rows.spread():
            return None
        found = self.solve(reader, rows.seen, rows.wanted - rows.given)
        reader.change(self.model.get_submodule(reader.names[0]), found.weights, found.shift)
        spread = max(rows.spread(), 1e-30)
        return LayerReport(found.before / spread, found.after / spread, len(rows.seen), found.note)


@dataclass(frozen=True)
class _Rows:
    """What a reader's filters see [rows, groups, weights], what they gave before and what they give [rows, groups,
    filters]."""

    seen: Tensor
    wanted: Tensor
    given: Tensor

    def size(self) -> float:
        return float((self.wanted - self.given).square().mean(0).sum())

    def spread(self) -> float:
        return float(self.wanted.var(0, unbiased=False).sum())


def _sides(module: nn.Module) -> int:
    return len(module.kernel_size) if isinstance(module, nn.modules.conv._ConvNd) else 1
