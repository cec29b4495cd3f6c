"""One trial: groups of each claim are cut from a copy of a section of a model. Is the cut what the graph says it is?

Knows how groups are drawn and in which precision a cut is judged, and nothing of the search.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of, light_copy_of
from pruning_lab.common.modules import named_tensors, told
from pruning_lab.graph.build import Reading
from pruning_lab.graph.cutting.cut import cut, cut_shapes
from pruning_lab.graph.proof.claims import Claim
from pruning_lab.graph.proof.comparison import NotAloneError, Pass, SectionPass, WholePass, compare
from pruning_lab.graph.proof.precision import in_doubles
from pruning_lab.graph.proof.sections import Section
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.tracing.tape import Call, Facts, Step

ROUNDING, ROUNDING_OF_DOUBLES = 1e-3, 1e-7
"""Largest relative difference of outputs that rounding explains."""

_RAISES = "a cut raises"


@dataclass(frozen=True)
class _Prepared:
    """A copy of a section in one precision, and for each of its runs what it is given."""

    model: nn.Module
    given: list[tuple[Tensor, ...]]


class TrialCut:
    """Cuts some groups of claims from a copy of a section, once for each call, and tells what goes wrong.

    Args:
        graph: of `model`, at least as far as the section goes; `reading` was recorded on `inputs`.
        alone: runs of sections of which is known that they need no more; those that prove so are added.
        seed: of the groups that are drawn, and of the values that stand for images.
    """

    def __init__(
        self,
        section: Section,
        model: nn.Module,
        graph: Channels,
        reading: Reading,
        inputs: tuple[Tensor, ...],
        alone: set[Call],
        seed: int = 0,
    ) -> None:
        self.section, self.graph, self.reading, self.alone = section, graph, reading, alone
        self.generator = torch.Generator().manual_seed(seed)
        self.copied = functools.partial(light_copy_of, around=section.outside(model))
        alike = copy_of if reading.tape is None or reading.tape.writes_parameters else self.copied
        copied = _shaken(alike(section.of(model)).eval(), self.generator)
        images = (
            [inputs]
            if section.is_whole
            else [tuple(_empty(step, inputs[0]) for step in call.given) for call in section.calls]
        )
        self.plain = _Prepared(copied, [tuple(map(self._drawn_like, given)) for given in images])
        self.count = 0

    def _drawn_like(self, item: Tensor) -> Tensor:
        """Other values of a tensor's sizes; whole numbers stay, since they may be indices."""
        return torch.randn(item.shape, generator=self.generator).to(item) if item.is_floating_point() else item

    @functools.cached_property
    def exact(self) -> _Prepared | None:
        """The same in double precision; None on a device without doubles."""
        try:
            model = self.copied(self.plain.model).double()
            return _Prepared(model, [in_doubles(given) for given in self.plain.given])
        except (RuntimeError, TypeError):
            return None

    def __call__(self, claims: list[Claim]) -> str | None:
        """What goes wrong when some of every claim's groups, at most a third, are cut; None if nothing does.

        Attention's scale may depend on a width, which changes little: that is only seen in double precision. Whatever
        else differs is tried again in double precision, which tells a fault from rounding. What passes must also run
        when every other claim alone is cut: a width that is halved in the code stays even when two lose one group each.

        Raises:
            NotAloneError: the section does not run without the rest of the model.
        """
        self.count += 1
        removed = self._removed(claims)
        if any(claim.contracted for claim in claims) and self.exact:
            exact = self._differs(self.exact, removed, ROUNDING_OF_DOUBLES)
            if exact is None or not exact.startswith(_RAISES):
                return exact or self._raises(claims)
        what = self._differs(self.plain, removed, ROUNDING)
        if what is None:
            return self._raises(claims)
        if what.startswith(_RAISES) or self.exact is None:
            return what
        exact = self._differs(self.exact, removed, ROUNDING_OF_DOUBLES)
        # A model may name a dtype and not run in another one.
        return what if exact and exact.startswith(_RAISES) else exact or self._raises(claims)

    def _differs(self, prepared: _Prepared, removed: Tensor, tolerance: float) -> str | None:
        """What goes wrong when these groups, bool [n_groups], are cut; None if nothing does."""
        try:
            apart = compare(prepared.model, self.graph, removed, self._runs(prepared, removed), self.copied)
        except NotAloneError:
            raise
        except Exception as error:  # whatever the model's own code raises is the answer
            return f"{_RAISES} {told(error)}"
        # Where the output is not finite there is nothing to compare, and the cut has run.
        return f"a cut changes the output by {apart:.0e}" if apart > tolerance else None

    def _raises(self, claims: list[Claim]) -> str | None:
        """What is raised when every other claim is cut, or a single one once more; None if nothing is."""
        removed = self._removed(claims[::2])
        if self._raised(removed, cut_shapes) is None:
            return None
        return self._raised(removed, cut)  # zeros may be what the code refuses

    @torch.no_grad()
    def _raised(self, removed: Tensor, cut: Callable[[nn.Module, Channels, Tensor], None]) -> str | None:
        small = self.copied(self.plain.model)
        try:
            cut(small, copy.copy(self.graph), removed)
            for run in self._runs(self.plain, removed):
                run.cut(small)
        except NotAloneError:
            raise
        except Exception as error:  # whatever the model's own code raises is the answer
            return f"{_RAISES} {told(error)}"
        return None

    def _runs(self, prepared: _Prepared, removed: Tensor) -> list[Pass]:
        if self.section.is_whole:
            return [WholePass(prepared.given[0], self.reading, removed)]
        return [
            SectionPass(call, self.reading, dict(zip(call.given, given, strict=True)), removed, self.alone)
            for call, given in zip(self.section.calls, prepared.given, strict=True)
        ]

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


def _empty(step: Step, image: Tensor) -> Tensor:
    """A tensor of the sizes and type that a step gave out, on the device of an image."""
    assert isinstance(step.result, Facts)
    return torch.empty(step.result.shape, dtype=step.result.dtype, device=image.device)


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
