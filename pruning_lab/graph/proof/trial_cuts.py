"""Trial cuts on copies of a model: is a cut what the graph says it is? Knows surgery and the graph, but no operator.

A graph that was read at one size can't tell `x.view(n, 4, -1)` from `x.view(n, 4, 16)`. The second breaks when
channels leave, or goes on with the wrong ones; trying it out is the only way to know.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of, light_copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode, named_tensors, tensors_in, told
from pruning_lab.graph.build import Reading, read_graph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.cutting.mask import mask
from pruning_lab.graph.proof.held_sizes import held_sizes
from pruning_lab.graph.proof.hidden_sizes import may_hide_sizes
from pruning_lab.graph.proof.masked_reference import run_without
from pruning_lab.graph.proof.precision import doubled, in_double
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.structure.records import HeldSize
from pruning_lab.graph.tracing.recording import Inputs, TraceError, as_inputs

ROUNDING, ROUNDING_OF_DOUBLES = 1e-3, 1e-7
"""Largest relative difference of outputs that rounding explains."""

_RAISES = "a cut raises"

MOST_TRIALS = 64
"""After so many trials the search for the guilty goes no deeper: tracing must end in reasonable time."""


def verify(model: nn.Module, graph: Channels, groups: Tensor | list[int], inputs: Inputs) -> float:
    """Cut one copy of the model, mask another, run both in evaluation mode, and compare. Nothing is changed.

    Where a normalization mixes channels, the masked copy's normalization is taken over the channels that are left. The
    model is read anew for it. What is tied together in that reading, and was not before earlier cuts, is then cut as a
    whole, or not at all where it can't. All is done in double precision where the model runs so: float32 rounds to ten
    bits on some devices.

    Args:
        groups: prunable groups, as ids or a bool mask [n_groups].
        inputs: what the model takes, on its device.

    Returns:
        the largest difference between two outputs, relative to the largest value of that output.

    Raises:
        LabError: a group is not prunable, or a layer would be left without a filter.
    """
    removed, given = graph.as_mask(groups), as_inputs(inputs)
    with in_mode(model, training=False):
        model, given = in_double(model, given) or (model, given)
    try:
        fresh, reading = read_graph(model, given, split=graph.structure.split)
    except TraceError:  # the graph came from connections
        return _compare(copy_of(model).eval(), graph, removed, given, None, removed)
    removed = _whole(graph, fresh, removed)
    return _compare(copy_of(model).eval(), graph, removed, given, reading, _same_groups(graph, fresh, removed))


def _whole(graph: Channels, fresh: Channels, removed: Tensor) -> Tensor:
    """Groups of `graph` that are removed with all that `fresh` ties to them; without those where this can't leave.

    Of groups that are mixed, those that `fresh` does not know stay too: nothing is there to compare them with.
    """
    removed = removed & (_same_groups(fresh, graph, _same_groups(graph, fresh, removed)) | ~graph.mixing)
    tied = _same_groups(fresh, graph, _same_groups(graph, fresh, removed))
    while bool((tied & ~removed).any()):
        if bool((tied & ~graph.prunable).any()) or graph.emptied(tied):
            partly = _same_groups(graph, fresh, tied & ~removed)
            return removed & ~_same_groups(fresh, graph, partly)
        removed = tied
        tied = _same_groups(fresh, graph, _same_groups(graph, fresh, removed))
    return removed


def _same_groups(graph: Channels, fresh: Channels, removed: Tensor) -> Tensor:
    """A bool mask of `graph`'s groups, as one of the groups of `fresh`, by the tensors that they have in common."""
    found = torch.zeros(len(fresh), dtype=torch.bool)
    others = fresh.tensors
    for name, info in graph.tensors.items():
        for dim, row in info.axes.items():
            other = others[name].axes.get(dim)
            if other is not None:
                ids = other[graph.taken(removed, row)]
                found[ids[ids >= 0]] = True
    return found


@torch.no_grad()
def _compare(
    model: nn.Module,
    graph: Channels,
    removed: Tensor,
    inputs: tuple[Tensor, ...],
    reading: Reading | None,
    absent: Tensor,
) -> float:
    """Relative difference between cut and masked; `absent` are the removed groups as `reading` numbers them.

    Args:
        model: a copy in evaluation mode, which is masked in place for a while.
    """
    small = light_copy_of(model)
    cut(small, copy.copy(graph), removed)
    found = list(tensors_in(small(*inputs)))
    with _masked(model, graph, removed):
        if reading is not None and reading.tape is not None and bool((removed & graph.mixing).any()):
            gone = graph.taken(absent, reading.group_of_label)
            expected = run_without(reading.tape, reading.values, gone, model, inputs)
        else:
            expected = list(tensors_in(model(*inputs)))
    if [item.shape for item in found] != [item.shape for item in expected]:
        return math.inf
    return max((_relative(one, other) for one, other in zip(found, expected, strict=True)), default=0.0)


@contextmanager
def _masked(model: nn.Module, graph: Channels, removed: Tensor) -> Iterator[None]:
    """A copy of a model, masked inside. What a mask writes into takes memory of its own and is put back at the end."""
    names = {
        name
        for consumer in graph.consumers
        for name in consumer.tensors
        if consumer.dim in graph.tensors[name].axes
        and bool(graph.taken(removed, graph.tensors[name].axes[consumer.dim]).any())
    }
    if bool((removed & graph.contracted).any()):
        names.update(graph.tensors)
    parameters, buffers = named_tensors(model)
    tensors = parameters | buffers
    before = {name: tensors[name].data for name in names & set(tensors)}
    try:
        for name, values in before.items():
            tensors[name].data = values.clone()
        mask(model, graph, removed)
        yield
    finally:
        for name, values in before.items():
            tensors[name].data = values


def _relative(one: Tensor, other: Tensor) -> float:
    if not other.numel():
        return 0.0
    if not other.is_floating_point():
        return float((one != other).any())
    largest = float(other.abs().max())
    apart = float((one - other).abs().max())
    return apart / largest if largest > 0 else apart


def freeze_guilty(model: nn.Module, graph: Channels, reading: Reading, inputs: tuple[Tensor, ...]) -> Channels:
    """The graph with those groups frozen whose cut breaks the model, or makes it compute something else.

    Code that holds a size and asks no tensor for one has it from an attribute: where one fits, cuts set it at once.
    """
    everywhere = bool(reading.by_hand) or reading.tape is None or may_hide_sizes(model)
    claims = _claims(graph, reading, everywhere) if everywhere or reading.suspects else []
    if not claims:
        return graph
    held = held_sizes(model, graph, reading.sizes)
    sure = [one for one in held if one.module not in reading.asked]
    first = graph.with_held(sure)
    if _TrialCuts(model, first, reading, inputs)(claims) is None:
        return first
    graph, guilty = _with_held_sizes(model, graph, held, reading, inputs, claims)
    guilty |= missed(claims, guilty, _TrialCuts(model, graph, reading, inputs, seed=1))
    _blame_connections(graph, reading, guilty)
    innocent = {place for claim in claims if claim not in guilty for place in claim.places}
    reasons = {}
    for claim, what in guilty.items():
        place = next((one for one in claim.places if one not in innocent), claim.places[0])
        reasons.update(dict.fromkeys(claim.groups, f"{place} needs its number of channels ({what})"))
    return graph.with_frozen(reasons)


def _with_held_sizes(
    model: nn.Module,
    graph: Channels,
    held: list[HeldSize],
    reading: Reading,
    inputs: tuple[Tensor, ...],
    claims: list[Claim],
) -> tuple[Channels, dict[Claim, str]]:
    """Let cuts set attributes that look like the numbers at fault. What fails where these are set is tried without."""
    following = graph.with_held(held)
    guilty = _guilty(claims, _TrialCuts(model, following, reading, inputs))
    dropped = [one for one in held if any(_touches(claim, one) for claim in guilty)]
    if not dropped:
        return following, guilty
    remaining = graph.with_held([one for one in held if one not in dropped])
    again = [claim for claim in guilty if any(_touches(claim, one) for one in dropped)]
    found = _guilty(again, _TrialCuts(model, remaining, reading, inputs))
    return remaining, {
        claim: found.get(claim, what) for claim, what in guilty.items() if claim not in again or claim in found
    }


def missed(claims: list[Claim], guilty: Mapping[Claim, str], trial: Trial) -> dict[Claim, str]:
    """Claims that still fail, alone or together: in the search draws of theirs may have agreed by chance."""
    found: dict[Claim, str] = {}
    left = [claim for claim in claims if claim not in guilty]
    while left and (what := trial(left)) is not None:
        found |= _guilty(left, trial) or dict.fromkeys(left, what)
        left = [claim for claim in left if claim not in found]
    return found


def _touches(claim: Claim, held: HeldSize) -> bool:
    """Whether a cut of the claim's groups changes the number that the attribute holds."""
    groups = torch.tensor(claim.groups)
    return any(bool(torch.isin(row, groups).any()) for row in held.rows)


def _blame_connections(graph: Channels, reading: Reading, guilty: Mapping[Claim, str]) -> None:
    """A mistake in what the user gave by hand is told, and not frozen away."""
    for claim, what in guilty.items():
        for name, row in graph.layers.items():
            if name in reading.by_hand and bool(torch.isin(row, torch.tensor(claim.groups)).any()):
                raise LabError(f"connections for layer {name} don't fit the model: {what}; check them, or return None")


@dataclass(frozen=True)
class Claim:
    """These groups can be cut, say the rules; `places` are the operators that may know better."""

    places: tuple[str, ...]
    groups: tuple[int, ...]
    suspected: bool
    contracted: bool


def _claims(graph: Channels, reading: Reading, everywhere: bool) -> list[Claim]:
    """Disjoint claims: prunable groups that pass the same suspects stand together.

    Args:
        everywhere: claim the rest as well, layer by layer, for models whose code may use a number of channels without
            any sign of it.
    """
    passed: dict[int, list[int]] = {}
    for number, (_, ids) in enumerate(reading.suspects):
        for index in ids.unique().tolist():
            passed.setdefault(index, []).append(number)
    together: dict[tuple[int | str, ...], list[int]] = {}
    provable = (graph.prunable if reading.tape is not None else graph.prunable & ~graph.mixing).tolist()
    layer_of = _first_layers(graph) if everywhere else {}
    for index in range(len(graph)) if everywhere else sorted(passed):
        if provable[index]:
            together.setdefault(tuple(passed.get(index) or [layer_of[index]]), []).append(index)
    claims = []
    for key, groups in together.items():
        names = tuple(reading.suspects[one][0] if isinstance(one, int) else f"code behind {one}" for one in key)
        contracted = bool(graph.contracted[groups].any())
        claims.append(Claim(names, tuple(groups), isinstance(key[0], int), contracted))
    return claims


def _first_layers(graph: Channels) -> dict[int, str]:
    """Group -> the first of its layers."""
    found: dict[int, str] = {}
    for name, row in graph.layers.items():
        for index in row.unique().tolist():
            found.setdefault(index, name)
    return found


class Trial(Protocol):
    """Tells what goes wrong when some of every claim's groups are cut, None if nothing does; `count` is how often."""

    count: int

    def __call__(self, claims: list[Claim]) -> str | None: ...


class _TrialCuts:
    """Cuts some groups of claims from a copy of the model and tells what goes wrong."""

    def __init__(
        self, model: nn.Module, graph: Channels, reading: Reading, inputs: tuple[Tensor, ...], seed: int = 0
    ) -> None:
        self.graph, self.reading = graph, reading
        self.generator = torch.Generator().manual_seed(seed)
        alike = copy_of if reading.tape is None or reading.tape.writes_parameters else light_copy_of
        self.model = _shaken(alike(model).eval(), self.generator)
        self.inputs = tuple(
            torch.randn(item.shape, generator=self.generator).to(item) if item.is_floating_point() else item
            for item in inputs
        )
        self.count = 0

    @functools.cached_property
    def doubled(self) -> tuple[nn.Module, tuple[Tensor, ...]] | None:
        """Model and inputs in double precision; None on a device without doubles."""
        try:
            return doubled(self.model, self.inputs)
        except (RuntimeError, TypeError):
            return None

    def __call__(self, claims: list[Claim]) -> str | None:
        """What goes wrong when some of every claim's groups, at most a third, are cut; None if nothing does.

        Attention's scale may depend on a width, which changes little: that is only seen in double precision. Whatever
        else differs is tried again in double precision, which tells a fault from rounding. What passes must also run
        when every other claim alone is cut: a width that is halved in the code stays even when two lose one group each.
        """
        self.count += 1
        removed = self._removed(claims)
        if any(claim.contracted for claim in claims) and self.doubled:
            exact = self._differs(*self.doubled, removed, ROUNDING_OF_DOUBLES)
            if exact is None or not exact.startswith(_RAISES):
                return exact or self._raises(claims)
        what = self._differs(self.model, self.inputs, removed, ROUNDING)
        if what is None:
            return self._raises(claims)
        if what.startswith(_RAISES) or self.doubled is None:
            return what
        exact = self._differs(*self.doubled, removed, ROUNDING_OF_DOUBLES)
        # A model may name a dtype and not run in another one.
        return what if exact and exact.startswith(_RAISES) else exact or self._raises(claims)

    @torch.no_grad()
    def _raises(self, claims: list[Claim]) -> str | None:
        """What is raised when every other claim is cut, or a single one once more; None if nothing is."""
        small = light_copy_of(self.model)
        try:
            cut(small, copy.copy(self.graph), self._removed(claims[::2]))
            small(*self.inputs)
        except Exception as error:  # whatever the model's own code raises is the answer
            return f"{_RAISES} {told(error)}"
        return None

    def _removed(self, claims: list[Claim]) -> Tensor:
        """Groups drawn of each claim, bool [n_groups].

        How many is drawn anew for each, and is another number and another share for each where it can be: two widths
        that the code compares, or divides by each other, must not agree by chance. Claims of few groups choose first.
        """
        removed = torch.zeros(len(self.graph), dtype=torch.bool)
        taken: set[int | Fraction] = set()
        for claim in sorted(claims, key=lambda claim: len(claim.groups)):
            number = self._drawn(len(claim.groups), taken)
            order = torch.randperm(len(claim.groups), generator=self.generator)
            removed[[claim.groups[place] for place in order[:number].tolist()]] = True
        for name in self.graph.emptied(removed):
            removed[self.graph.layers[name][0]] = False
        return removed

    def _drawn(self, groups: int, taken: set[int | Fraction]) -> int:
        """A number from one to a third of the groups; it and its share of them are new where they can be."""
        numbers = [*range(1, max(1, groups // 3) + 1)]
        new = [number for number in numbers if number not in taken]
        free = [number for number in new if Fraction(number, groups) not in taken] or new or numbers
        number = free[int(torch.randint(0, len(free), (), generator=self.generator))]
        taken.update((number, Fraction(number, groups)))
        return number

    def _differs(self, model: nn.Module, inputs: tuple[Tensor, ...], removed: Tensor, tolerance: float) -> str | None:
        """What goes wrong when these groups, bool [n_groups], are cut; None if nothing does."""
        try:
            apart = _compare(model, self.graph, removed, inputs, self.reading, removed)
        except Exception as error:  # whatever the model's own code raises is the answer
            return f"{_RAISES} {told(error)}"
        # Where the output is not finite there is nothing to compare, and the cut has run.
        return f"a cut changes the output by {apart:.0e}" if apart > tolerance else None


def _shaken(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Noise on tensors that hold one value only: a factor that starts at zero hides whatever it multiplies."""
    with torch.no_grad():
        parameters, buffers = named_tensors(model)
        for tensor in [*parameters.values(), *buffers.values()]:
            if tensor.is_floating_point() and tensor.numel() > 1 and _is_uniform(tensor):
                tensor.data = tensor + 0.3 * torch.rand(tensor.shape, generator=generator).to(tensor)
    return model


def _is_uniform(tensor: Tensor) -> bool:
    first = tensor.flatten()[0]
    return bool((tensor[-1] == first).all()) and bool((tensor == first).all())


def _guilty(claims: list[Claim], trial: Trial) -> dict[Claim, str]:
    """Claims that fail, and what happens then.

    What attention contracts is looked for together, since it is tried in double precision, which takes longer.
    """
    return _bisect(sorted(claims, key=lambda claim: not claim.contracted), trial)


def _bisect(claims: list[Claim], trial: Trial) -> dict[Claim, str]:
    """The claims that fail on their own, found by halving; claims that fail only together all count.

    When too many trials have been spent, claims that fail together count as they stand.
    """
    if not claims or (what := trial(claims)) is None:
        return {}
    if len(claims) == 1 or trial.count > MOST_TRIALS:
        return dict.fromkeys(claims, what)
    middle = len(claims) // 2
    found = {**_bisect(claims[:middle], trial), **_bisect(claims[middle:], trial)}
    return found or dict.fromkeys(claims, what)
