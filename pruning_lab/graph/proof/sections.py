"""Sections of a model that run alone: a module, with what it was given when the model was recorded.

A trial of what one module's code holds needs no more than that module. It stands for the whole where nothing reaches
the module but its arguments, and nothing leaves it but the tensors that it returns. Knows tapes and modules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import every_path
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.structure.id_rows import Rows
from pruning_lab.graph.structure.records import Consumer, Structure
from pruning_lab.graph.tracing.tape import Call, Facts, Step, Tape, leaves

WHOLE = ""
"""The path of the model itself."""

_EFFORT_OF_A_TRIAL = 20
"""The steps of a small network that take as long as to copy, cut and draw for one trial, as measured."""


@dataclass(frozen=True, eq=False)
class Section:
    """A module by its path, and its runs; those of the whole model are not needed."""

    path: str
    calls: tuple[Call, ...] = ()
    steps_effort: float = 0.0

    @property
    def is_whole(self) -> bool:
        return self.path == WHOLE

    @property
    def depth(self) -> int:
        """How many modules it lies in; 0 for the whole."""
        return 0 if self.is_whole else 1 + self.path.count(".")

    @property
    def effort(self) -> float:
        """Steps that it takes to try it, with what a trial takes besides."""
        return _EFFORT_OF_A_TRIAL + self.steps_effort

    def of(self, model: nn.Module) -> nn.Module:
        """The section as a model of its own, in which every tensor has the name that it has in `model`."""
        return model if self.is_whole else _Alone(self.path, model.get_submodule(self.path))

    def outside(self, model: nn.Module) -> list[nn.Module]:
        """The model's modules that are not in it; what it is made of may know them."""
        if self.is_whole:
            return []
        inside = {id(module) for _, module in every_path(model.get_submodule(self.path))}
        return [module for _, module in every_path(model) if id(module) not in inside]

    def holds(self, name: str) -> bool:
        """Whether a module or tensor of that name belongs to it."""
        return self.is_whole or name == self.path or name.startswith(self.path + ".")


class _Alone(nn.Module):
    """A module at the path that it has in a model, and nothing else of that model."""

    def __init__(self, path: str, module: nn.Module) -> None:
        super().__init__()
        self._path = path
        *above, last = path.split(".")
        holder: nn.Module = self
        for name in above:
            holder._modules[name] = holder = nn.Module()
        holder._modules[last] = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.get_submodule(self._path).forward(*args, **kwargs)


class Sections:
    """Finds the smallest section of a recorded model in which a module runs alone."""

    def __init__(self, tape: Tape | None) -> None:
        self._tape = tape or Tape()
        self.whole = Section(WHOLE)
        self._found: dict[str, Section | None] = {WHOLE: self.whole}

    @cached_property
    def _calls(self) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = {}
        for call in self._tape.calls:
            found.setdefault(call.module, []).append(call)
        return found

    @cached_property
    def _efforts(self) -> list[float]:
        """What all steps before a place on the tape take."""
        return [0.0, *itertools.accumulate(map(_effort, self._tape.steps))]

    @cached_property
    def _places(self) -> dict[Step, int]:
        return {step: place for place, step in enumerate(self._tape.steps)}

    def around(self, module: str) -> Section:
        """The smallest section that holds a module, itself included."""
        return self._alone(module) or self.around(module.rpartition(".")[0])

    def _alone(self, path: str) -> Section | None:
        """The module as a section, if it runs alone."""
        if path not in self._found:
            calls = tuple(self._calls.get(path, ()))
            section = Section(
                path, calls, sum(self._efforts[call.behind] - self._efforts[call.first] for call in calls)
            )
            self._found[path] = section if self._stands_alone(section) else None
        return self._found[path]

    def few(self, modules: Iterable[str]) -> dict[str, Section]:
        """For each of these modules a section that holds it; one for several, where that is run sooner.

        The whole is not run for the sake of what a smaller section holds.
        """
        plans: dict[str, list[Section]] = {}
        own = {module: self.around(module) for module in modules}
        for section in own.values():
            plans[section.path] = [section]
        for depth in range(max((section.depth for section in own.values()), default=0), 1, -1):
            below: dict[str, list[Section]] = {}
            for path in [path for path in plans if Section(path).depth == depth]:
                below.setdefault(path.rpartition(".")[0], []).extend(plans.pop(path))
            for path, sections in below.items():
                larger = self._alone(path)
                if larger is not None and (
                    path in plans or larger.effort < sum(section.effort for section in sections)
                ):
                    plans[path] = [larger]
                else:
                    plans[path] = sections + plans.get(path, [])
        chosen = {section.path: section for sections in plans.values() for section in sections}
        return {module: _holding_section(chosen, section) for module, section in own.items()}

    def beyond(self, section: Section) -> Section:
        """The next larger one, for a section that proved not to stand alone."""
        self._found[section.path] = None
        return self.around(section.path.rpartition(".")[0])

    def _stands_alone(self, section: Section) -> bool:
        return (
            bool(section.calls)
            and all(self._is_closed(section, call) for call in section.calls)
            and self._asks_its_own(section)
        )

    def _asks_its_own(self, section: Section) -> bool:
        """Whether its code asks no tensor of another section for a size."""
        given = {step for call in section.calls for step in call.given}
        return all(
            step in given
            or self._is_own(section, step)
            or any(call.first <= self._places[step] for call in section.calls)
            for step in (read.step for read in self._tape.size_reads if section.holds(read.module))
        )

    def _is_closed(self, section: Section, call: Call) -> bool:
        """Whether a run depends on its arguments and the section's own tensors alone, and gives out tensors alone."""
        if not all(_is_image(step) for step in call.given) or not _are_tensors((call.args, list(call.kwargs.values()))):
            return False
        if not _are_tensors(call.result) or not any(True for _ in leaves(call.result, Step)):
            return False
        known = set(call.given)
        inside = self._tape.steps[call.first : call.behind]
        return all(
            source in known or self._places[source] >= call.first or self._is_own(section, source)
            for step in inside
            for source in step.sources
        ) and all(section.holds(step.name) for step in inside if step.name)

    def _is_own(self, section: Section, start: Step) -> bool:
        """Whether it is one of the section's own tensors, or a constant."""
        return start.target is None and (section.holds(start.name) if start.name else start.constant is not None)


def _effort(step: Step) -> float:
    """About what a step takes, in steps of small tensors: by its elements, and by its products with a weight."""
    if step.target is None or not isinstance(step.result, Facts):
        return 0.0
    elements = math.prod(step.result.shape)
    weights = [one.result.shape for one in step.sources if one.name and len(one.result.shape) > 1]
    products = max((math.prod(shape[1:]) for shape in weights), default=0)
    return 1 + elements / 50_000 + elements * products / 200_000


def _holding_section(chosen: dict[str, Section], section: Section) -> Section:
    """The innermost of the chosen sections that holds a section."""
    path = section.path
    while path not in chosen:
        path = path.rpartition(".")[0]
    return chosen[path]


def _are_tensors(tree: Any) -> bool:
    """Whether there are tensors and flags alone: a number may be one of channels."""
    if isinstance(tree, (list, tuple)):
        return all(map(_are_tensors, tree))
    if isinstance(tree, dict):
        return all(map(_are_tensors, tree.values()))
    return tree is None or isinstance(tree, (Step, bool))


def _is_image(step: Step) -> bool:
    """Whether other values can stand for a tensor's: indices and masks can't be drawn."""
    return isinstance(step.result, Facts) and step.result.dtype.is_floating_point


def within(graph: Channels, section: Section, groups: Tensor) -> Channels:
    """The graph as far as a section's own tensors go, with all layers that hold any of `groups`, int64 [any]."""
    if section.is_whole:
        return graph
    old = graph.structure
    tensors = {name: info for name, info in old.tensors.items() if section.holds(name)}
    consumers = [
        Consumer(one.layer, own, one.dim, one.channels) for one in old.consumers if (own := _own(one, tensors))
    ]
    structure = Structure(
        layers=_holding(graph, groups),
        consumers=consumers,
        tensors=tensors,
        costs=[],
        group_counts={name: row for name, row in old.group_counts.items() if section.holds(name)},
        channel_counts={name: row for name, row in old.channel_counts.items() if section.holds(name)},
        held=[held for held in old.held if section.holds(held.module)],
        split=old.split,
    )
    return replace(
        graph,
        structure=structure,
        rows=Rows(structure.rows()),
        original={name: graph.original[name] for name in structure.layers},
        frozen_groups={},
    )


def _own(consumer: Consumer, tensors: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in consumer.tensors if name in tensors)


def _holding(graph: Channels, groups: Tensor) -> dict[str, Tensor]:
    """Layers that hold any of these groups."""
    layers = graph.structure.layers
    if not layers:
        return {}
    wanted = torch.zeros(len(graph), dtype=torch.bool)
    wanted[groups] = True
    numbers = torch.arange(len(layers)).repeat_interleave(torch.tensor([len(row) for row in layers.values()]))
    holding = set(numbers[graph.taken(wanted, torch.cat(list(layers.values())))].unique().tolist())
    return {name: row for place, (name, row) in enumerate(layers.items()) if place in holding}
