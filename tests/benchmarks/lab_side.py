"""What the tables say of pruning_lab: seconds, bytes and exactness. Each function is run in a process of its own."""

from __future__ import annotations

import copy
import math
import tempfile
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.checkpoint import Builder, load, save
from pruning_lab.common.errors import first_line
from pruning_lab.common.modules import tensors_in
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import Uniform, WeightNorm
from tests.benchmarks.cases import Inputs, make, side_of
from tests.benchmarks.timing import forward_seconds, seconds, size_of_object
from tests.graph import helpers
from tests.graph.helpers import draw

EXACT = 1e-4
STEPS = 100
ROUNDING = 1e-5
CUTS = 5
DRAWS = (0, 1)
"""Seeds of the random cuts that are held against masked copies."""
TIED = "are tied together"
ASIDE = ("feeds the model's output", "runs only in training", "its result is used only in training")
"""Reasons for which nobody would cut a filter."""


def speed(name: str) -> dict[str, Any]:
    """Seconds to read the graph without and with trials, for one cut to half of the groups, and for 100 such steps."""
    _warm_up()
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    return {
        "forward_s": forward_seconds(model, inputs),
        "build_s": seconds(lambda: ChannelGraph.trace(model, inputs, prove=False), repeats=3),
        "proved_build_s": seconds(lambda: ChannelGraph.trace(model, inputs), repeats=3),
        "cut_s": _steps(copy.deepcopy(model), copy.copy(graph), 1),
        "steps_s": _steps(model, copy.copy(graph), STEPS),
        "groups": len(graph),
        "graph_bytes": size_of_object(graph),
        "activation_bytes": _activation_bytes(graph),
    }


def _warm_up() -> None:
    """The first trace of a process imports half of torch; that is paid once, whatever the model."""
    ChannelGraph.trace(nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 4, 4))


def _steps(model: nn.Module, graph: ChannelGraph, number: int) -> float:
    """Seconds of so many steps (score, take the lowest, cut) that together take half of every layer's groups.

    Floors and budgets, which the peer does not know, are left out.
    """
    importance = Uniform(WeightNorm())
    share = math.ceil(int(graph.prunable.sum()) / 2 / number)

    def run() -> None:
        for _ in range(number):
            scores = importance(model, graph, [])
            cut(model, graph, scores.masked_fill(~graph.prunable, math.inf).topk(share, largest=False).indices)

    return seconds(run, repeats=1)


def _activation_bytes(graph: ChannelGraph) -> int:
    """All values of a forward pass together, as training would keep them."""
    assert graph.memory is not None
    return graph.memory.total_bytes()


def coverage(name: str) -> dict[str, Any]:
    """Groups, what is frozen and why, whether random cuts are exact, and what can be done with the cut model.

    Half of what can be cut leaves, drawn at random; exactness is the worst of several draws, in double precision.
    """
    _warm_up()
    model, inputs = make(name, side_of(name))
    forward_s = forward_seconds(model, inputs)
    build_s = seconds(lambda: ChannelGraph.trace(model, inputs), repeats=3)
    before = _values(model)
    graph = ChannelGraph.trace(model, inputs)
    difference = max(verify(model, graph, draw(graph, seed), inputs) for seed in DRAWS)
    changed = _changed(before, _values(model))
    groups = draw(graph, DRAWS[0])
    filters, frozen = _frozen(graph)
    answer = {
        "forward_s": forward_s,
        "build_s": build_s,
        "groups": len(graph),
        "frozen_share": frozen / filters if filters else 0.0,
        "reasons": _reasons(graph),
        "difference": difference,
        "exact": difference < EXACT,
        "changed": changed,
        "mixes": bool((groups & graph.mixing).any()),
        "cut_s": _cut_seconds(model, graph, groups),
    }
    return {**answer, "saved": _saved(name, model, graph, inputs), "trained": _trained(model, inputs)}


def _values(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    """Whether reading and trying left a trace in the model's own tensors."""
    return before.keys() != after.keys() or any(not torch.equal(before[name], after[name]) for name in before)


def _saved(name: str, model: nn.Module, graph: ChannelGraph, inputs: Inputs) -> str:
    """What comes of a save and a load: the same tensors bit for bit, read off the model or with a builder; or why not.

    A model of this folder's own making is built anew by its name.
    """
    named = Builder("tests.benchmarks.cases.original", {"name": name})
    told = ""
    for builder, answer in ((None, "yes"), (named, "with a builder")):
        try:
            told = "another model" if _reloads(model, graph, builder, inputs) else ""
        except Exception as error:  # what stopped it is the answer
            told = f"{type(error).__name__}: {first_line(error)}"[:120]
        if not told:
            return answer
    return told


@torch.no_grad()
def _reloads(model: nn.Module, graph: ChannelGraph, builder: Builder | None, inputs: Inputs) -> bool:
    """Whether what comes back has other tensors, or computes something else; kernels may differ in their rounding."""
    with tempfile.TemporaryDirectory() as folder:
        save(folder, model, graph, builder)
        loaded = load(folder, trust=True).eval()
    return _changed(_values(model), _values(loaded)) or helpers.difference(loaded(*inputs), model(*inputs)) > ROUNDING


def _cut_seconds(model: nn.Module, graph: ChannelGraph, groups: Tensor) -> float:
    """Seconds of a cut, the mean of several copies' cuts, since the clock of a process may tick in milliseconds."""
    copies = [(copy.deepcopy(model), copy.copy(graph)) for _ in range(CUTS)]
    cut(model, graph, groups)
    return seconds(lambda: [cut(*one, groups) for one in copies], repeats=1) / CUTS


def _trained(model: nn.Module, inputs: Inputs) -> str:
    """What comes of a training step on two samples: yes, or why not."""
    doubled = tuple(torch.cat([item, item]) for item in inputs)
    try:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        outputs = [item for item in tensors_in(model.train()(*doubled)) if item.requires_grad]
        torch.stack([item.square().mean() for item in outputs]).sum().backward()
        given = [one.grad for one in model.parameters() if one.grad is not None]
        if not given or not all(bool(one.isfinite().all()) for one in given):
            return "no finite gradients"
        optimizer.step()
        with torch.no_grad():
            model.eval()(*inputs)
    except Exception as error:  # what stopped it is the answer
        return f"{type(error).__name__}: {first_line(error)}"[:120]
    return "yes"


def _frozen(graph: ChannelGraph) -> tuple[int, int]:
    """Filters that one might cut, and those of them that can't be."""
    rows = [row for name, row in graph.layers.items() if graph.frozen.get(name) not in ASIDE]
    ids = torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)
    return len(ids), len(ids) - int(graph.prunable[ids[ids >= 0]].sum())


def _reasons(graph: ChannelGraph) -> list[str]:
    """Why filters are frozen, the reason of most filters first; whole layers that are tied count as one reason."""
    told: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name, row in graph.layers.items():
        if graph.frozen.get(name) in ASIDE:
            continue
        for why in (graph.frozen_groups[index] for index in row.tolist() if index in graph.frozen_groups):
            kind = TIED if TIED in why and why.startswith("all filters of") else why
            told[kind] += 1
            first.setdefault(kind, why)
    return [first[kind] for kind, _ in told.most_common(2)]
