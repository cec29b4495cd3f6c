"""What the tables say of Torch-Pruning: seconds, and whether its cut is what zeroed channels give.

Each function is run in a process of its own. The peer is told which layers feed the output, as pruning_lab finds them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from pruning_lab.common.modules import tensors_in
from pruning_lab.graph import ChannelGraph, TraceError
from tests.benchmarks.cases import Inputs, make, side_of
from tests.benchmarks.lab_side import ASIDE, EXACT, STEPS
from tests.benchmarks.timing import forward_seconds, seconds
from tests.graph.helpers import difference

warnings.simplefilter("ignore")


def speed(name: str) -> dict[str, Any]:
    """Seconds to build its graph, for one cut of half of every layer's channels, and for 100 steps to there."""
    model, inputs = make(name)
    heads = _heads(model, inputs)
    build = partial(torch_pruning.DependencyGraph().build_dependency, model, _example(inputs), verbose=False)
    answer = {"forward_s": forward_seconds(model, inputs), "build_s": seconds(build, repeats=3)}
    for key, steps in (("cut_s", 1), ("steps_s", STEPS)):
        copied = copy.deepcopy(model)
        pruner = _pruner(copied, inputs, heads, steps)
        answer[key] = seconds(lambda pruner=pruner, steps=steps: [pruner.step() for _ in range(steps)], repeats=1)
    return answer


def coverage(name: str) -> dict[str, Any]:
    """Seconds of a graph and a cut to half of every layer's channels, how much it took, and what came of it."""
    model, inputs = make(name, side_of(name))
    forward_s = forward_seconds(model, inputs)
    heads = _heads(model, inputs)
    masked, before = copy.deepcopy(model), _filters(model)
    made: list[Any] = []
    build_s = seconds(lambda: made.append(_pruner(model, inputs, heads, 1)), repeats=1)
    zeroed = _Zeroed(model, masked)
    cut_s = seconds(lambda: [zeroed.prune(group) for group in made[0].step(interactive=True)], repeats=1)
    with torch.no_grad():
        try:
            found = list(tensors_in(model.eval()(*inputs)))
        except Exception as error:  # whatever a broken model raises
            first = (str(error).splitlines() or [""])[0]
            return {"error": f"breaks the model: {type(error).__name__}: {first}"[:120].rstrip(": ")}
        expected = list(tensors_in(masked.eval()(*inputs)))
    apart = difference(found, expected) if [a.shape for a in found] == [b.shape for b in expected] else float("inf")
    return {
        "forward_s": forward_s,
        "build_s": build_s,
        "cut_s": cut_s,
        "removed_share": 1 - _filters(model) / before,
        "difference": apart,
        "exact": apart < EXACT,
    }


def _pruner(model: nn.Module, inputs: Inputs, heads: list[str], steps: int) -> Any:
    return torch_pruning.pruner.BasePruner(
        model,
        _example(inputs),
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.5,
        iterative_steps=steps,
        ignored_layers=[model.get_submodule(name) for name in heads],
    )


def _example(inputs: Inputs) -> Any:
    return inputs[0] if len(inputs) == 1 else inputs


def _heads(model: nn.Module, inputs: Inputs) -> list[str]:
    """Modules whose filters feed the output; the last layer where nobody can tell."""
    layers = [
        name for name, module in model.named_modules() if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
    ]
    try:
        graph = ChannelGraph.trace(model, inputs, prove=False)
    except TraceError:
        return layers[-1:]
    return [name for name in layers if any(reason in graph.frozen.get(name, "") for reason in ASIDE)]


def _filters(model: nn.Module) -> int:
    """Filters of all convolutions and linear layers."""
    weights = (m.weight for m in model.modules() if isinstance(m, (nn.modules.conv._ConvNd, nn.Linear)))
    return sum(weight.shape[0] for weight in weights)


class _Zeroed:
    """A copy of the model whose layers see zeros wherever the peer takes input channels from the model's own.

    The peer speaks in indices of the moment, so what is left of every layer's input channels is kept count of.
    """

    def __init__(self, model: nn.Module, copied: nn.Module) -> None:
        twins = dict(copied.named_modules())
        self._twins = {module: twins[name] for name, module in model.named_modules()}
        self._left: dict[nn.Module, list[int]] = {}
        self._gone: dict[nn.Module, set[int]] = {}

    def prune(self, group: Any) -> None:
        for item in group.items:
            module = item.dep.target.module
            if _reads(module) and item.dep.handler.__name__.endswith("in_channels"):
                self._zero(module, sorted(set(map(int, item.idxs))))
        group.prune()

    def _zero(self, module: nn.Module, indices: list[int]) -> None:
        if module not in self._left:
            self._left[module] = list(range(_inputs_of(module)))
            self._gone[module] = set()
            hook = _hide(self._gone[module], -1 if isinstance(module, nn.Linear) else 1)
            self._twins[module].register_forward_pre_hook(hook)
        left = self._left[module]
        self._gone[module].update(left[index] for index in indices)
        self._left[module] = [channel for channel in left if channel not in self._gone[module]]


def _reads(module: object) -> bool:
    """Whether a module sums over its input channels."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.groups == 1 or module.groups < module.in_channels
    return isinstance(module, nn.Linear)


def _inputs_of(module: Any) -> int:
    return int(module.in_features if isinstance(module, nn.Linear) else module.in_channels)


def _hide(gone: set[int], dim: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        index = torch.tensor(sorted(gone), dtype=torch.int64)
        return args[0].index_fill(dim, index, 0), *args[1:]

    return hook
