"""What a runtime tells of a pass, operator by operator. Knows sizes and seconds; no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pruning_lab.graph.tracing.rules import recorded_whole
from pruning_lab.resources.latency.clock import Clock
from pruning_lab.resources.latency.shapes import LAYERS, TRANSPOSED, channel_dim, kind_of, shape_of_layer


@dataclass(frozen=True)
class LayerTime:
    """One layer's operator: its shape, the channels that it reads and gives, and what it took."""

    shape: str
    reads: int
    gives: int
    time: float


@dataclass(frozen=True)
class Profile:
    """One pass. Times in any unit.

    Attributes:
        layers: operators that apply a layer's weight, in the order in which they ran.
        rest: kind -> time of all other operators of that kind; the empty kind where it is not known.
    """

    layers: tuple[LayerTime, ...]
    rest: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(one.time for one in self.layers) + sum(self.rest.values())

    def times(self, factor: float) -> Profile:
        """The same pass on a machine that is slower by a factor."""
        layers = tuple(LayerTime(one.shape, one.reads, one.gives, one.time * factor) for one in self.layers)
        return Profile(layers, {kind: time * factor for kind, time in self.rest.items()})


def quickest(profiles: list[Profile]) -> Profile:
    """Of several passes over one network each operator's shortest time: nobody interrupted that one."""
    layers = []
    for alike in zip(*(each.layers for each in profiles), strict=True):
        first = alike[0]
        layers.append(LayerTime(first.shape, first.reads, first.gives, min(one.time for one in alike)))
    kinds = {kind for each in profiles for kind in each.rest}
    return Profile(tuple(layers), {kind: min(each.rest.get(kind, math.inf) for each in profiles) for kind in kinds})


def eager_profile(run: Callable[[], Any], clock: Clock) -> Profile:
    """Run torch operator by operator, and time each."""
    mode = _Timed(clock)
    with mode:
        run()
    return Profile(tuple(mode.layers), mode.rest)


class _Timed(TorchDispatchMode):
    """Times every operator that runs inside it, in seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.layers: list[LayerTime] = []
        self.rest: dict[str, float] = {}
        self._clock = clock
        self._apart: dict[Any, bool] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else the first operator of a process waits seconds for torch's compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func not in self._apart:
            self._apart[func] = not recorded_whole(func) and func._can_decompose()
        if self._apart[func]:
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        self._clock.wait()
        start = self._clock.now()
        result = func(*args, **(kwargs or {}))
        self._clock.wait()
        took = self._clock.now() - start
        if func in LAYERS and isinstance(args[1], Tensor):
            image, weight = args[0].shape, args[1].shape
            shape, dim = shape_of_layer(image, weight, result.shape, func in TRANSPOSED), channel_dim(weight)
            self.layers.append(LayerTime(shape, image[dim], result.shape[dim], took))
        else:
            kind = kind_of(func)
            self.rest[kind] = self.rest.get(kind, 0.0) + took
        return result


ONNX_MATRICES = ("Gemm", "FusedGemm")
ONNX_LAYERS = {"Conv": False, "FusedConv": False, "ConvTranspose": True, **dict.fromkeys(ONNX_MATRICES, False)}
"""onnxruntime's operators that apply a layer's weight -> whether it is a transposed convolution."""


def onnx_profiles(events: list[dict[str, Any]]) -> list[Profile]:
    """What onnxruntime wrote down of its passes, in seconds; the first warmed it up."""
    return [_onnx_profile(each) for each in _passes(events)][1:]


def _passes(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The operators of each pass; the event of a whole one says when it began, and how long it took."""
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    for whole in sorted((event for event in events if event["name"] == "model_run"), key=lambda event: event["ts"]):
        start, end = whole["ts"], whole["ts"] + whole["dur"]
        yield [event for event in nodes if start <= event["ts"] <= end]


def _onnx_profile(nodes: list[dict[str, Any]]) -> Profile:
    layers, rest = [], 0.0
    for node in nodes:
        name, seconds = node["args"]["op_name"], node["dur"] / 1e6
        given, result = _sizes(node["args"]["input_type_shape"]), _sizes(node["args"]["output_type_shape"])[0]
        if name in ONNX_MATRICES:  # a weight that was put in order for the processor is not listed
            given = [given[0], [result[-1], given[0][-1]]]
        if name in ONNX_LAYERS and len(given) > 1:
            image, weight = given[:2]
            dim = channel_dim(weight)
            shape = shape_of_layer(image, weight, result, ONNX_LAYERS[name])
            layers.append(LayerTime(shape, image[dim], result[dim], seconds))
        else:
            rest += seconds
    return Profile(tuple(layers), {"": rest})


def _sizes(told: list[dict[str, list[int]]]) -> list[list[int]]:
    return [list(sizes) for one in told for sizes in one.values()]
