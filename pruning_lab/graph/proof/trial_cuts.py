"""Trial cuts: which groups can be cut, and which attributes cuts must set. Knows sections, claims and their trials.

A graph that was read at one size can't tell `x.view(n, 4, -1)` from `x.view(n, 4, 16)`. The second breaks when
channels leave, or goes on with the wrong ones; trying it out is the only way to know. It is tried where it stands: the
smallest section of the model that runs alone around such code is cut, and the rest of the model needs not run.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.graph.build import Reading
from pruning_lab.graph.proof.claims import Claim, claims_of
from pruning_lab.graph.proof.comparison import NotAloneError
from pruning_lab.graph.proof.held_sizes import held_sizes
from pruning_lab.graph.proof.hidden_sizes import may_hide_sizes
from pruning_lab.graph.proof.search import guilty_of, missed
from pruning_lab.graph.proof.sections import Section, Sections, within
from pruning_lab.graph.proof.trial import TrialCut
from pruning_lab.graph.structure.channels import Channels
from pruning_lab.graph.structure.records import HeldSize
from pruning_lab.graph.tracing.interpreter import Suspect
from pruning_lab.graph.tracing.tape import Call


def freeze_guilty(model: nn.Module, graph: Channels, reading: Reading, inputs: tuple[Tensor, ...]) -> Channels:
    """The graph with those groups frozen whose cut breaks the model, or makes it compute something else.

    Code that holds a size and asks no tensor for one has it from an attribute: where one fits, cuts set it at once.
    """
    sections, trials = Sections(reading.tape), _Trials(model, graph, reading, inputs)
    if reading.by_hand or reading.tape is None or may_hide_sizes(model):
        claims = trials.claims(reading.suspects, everywhere=True)
        if (what := trials.fails(sections.whole, claims)) is not None:
            trials.search(sections.whole, claims, what)
        return trials.proved()
    few = sections.few({suspect.module for suspect in reading.suspects})
    waiting: dict[Section, list[Suspect]] = {}
    for suspect in reading.suspects:
        waiting.setdefault(few[suspect.module], []).append(suspect)
    while waiting:
        section = max(waiting, key=lambda one: one.depth)
        suspects = waiting.pop(section)
        claims = trials.claims(suspects)
        try:
            if (what := trials.fails(section, claims)) is None:
                continue
            inner = [sections.around(suspect.module) for suspect in suspects]
            if all(one is section for one in inner):
                trials.search(section, claims, what)
                continue
        except NotAloneError:
            inner = [sections.beyond(section)] * len(suspects)
        for one, suspect in zip(inner, suspects, strict=True):
            waiting.setdefault(one, []).append(suspect)
    return trials.proved()


class _Trials:
    """Section after section, the inner ones first: which attributes cuts must set, and which groups can't be cut."""

    def __init__(self, model: nn.Module, graph: Channels, reading: Reading, inputs: tuple[Tensor, ...]) -> None:
        self.model, self.graph, self.reading, self.inputs = model, graph, reading, inputs
        self.provable = graph.prunable if reading.tape is not None else graph.prunable & ~graph.mixing
        self.alone: set[Call] = set()
        self.kept: list[HeldSize] = []
        self.dropped: list[HeldSize] = []
        self.reasons: dict[int, str] = {}

    @functools.cached_property
    def held(self) -> list[HeldSize]:
        """Attributes that look like numbers of channels."""
        return held_sizes(self.model, self.graph, self.reading.sizes)

    def proved(self) -> Channels:
        """The graph with what was found."""
        graph = self.graph.with_held(self.kept) if self.kept else self.graph
        return graph.with_frozen(self.reasons) if self.reasons else graph

    def claims(self, suspects: list[Suspect], everywhere: bool = False) -> list[Claim]:
        """What is still to be shown of these suspects; see `claims_of`."""
        return claims_of(self.graph, suspects, self.provable, everywhere)

    def fails(self, section: Section, claims: list[Claim]) -> str | None:
        """What goes wrong with a section where cuts set only such attributes as no code asks a tensor for.

        Raises:
            NotAloneError: the section does not run without the rest of the model.
        """
        if not claims:
            return None
        sure = self._sure(self._held_in(section))
        what = self._trial(section, claims, sure)(claims)
        if what is None:
            self.kept += sure
        return what

    def search(self, section: Section, claims: list[Claim], what: str) -> None:
        """Find what fails of what is claimed of a section, of which `what` is known.

        Raises:
            LabError: the user's connections don't fit the model.
            NotAloneError: the section does not run without the rest of the model.
        """
        held = self._held_in(section)
        kept, guilty = self._guilty(section, claims, held, what if self._sure(held) == held else None)
        if guilty:
            guilty |= missed(claims, guilty, self._trial(section, claims, kept, seed=1))
        _blame_connections(self.graph, self.reading, guilty)
        self.kept += kept
        self.dropped += [one for one in held if one not in kept]
        self._freeze(claims, guilty)

    def _sure(self, held: list[HeldSize]) -> list[HeldSize]:
        return [one for one in held if one.module not in self.reading.asked]

    def _held_in(self, section: Section) -> list[HeldSize]:
        """Attributes of a section that look like numbers of channels, and of which nothing is known."""
        known = [*self.kept, *self.dropped]
        return [one for one in self.held if section.holds(one.module) and one not in known]

    def _trial(self, section: Section, claims: list[Claim], held: list[HeldSize], seed: int = 0) -> TrialCut:
        groups = torch.tensor([index for claim in claims for index in claim.groups])
        known = [one for one in self.kept if section.holds(one.module)]
        graph = within(self.graph, section, groups).with_held([*known, *held])
        return TrialCut(section, self.model, graph, self.reading, self.inputs, self.alone, seed)

    def _guilty(
        self, section: Section, claims: list[Claim], held: list[HeldSize], what: str | None
    ) -> tuple[list[HeldSize], dict[Claim, str]]:
        """Let cuts set attributes that look like the numbers at fault. What fails where these are set is tried without.

        Returns:
            the attributes that cuts must set, and the claims that fail.
        """
        guilty = guilty_of(claims, self._trial(section, claims, held), what)
        dropped = [one for one in held if any(_touches(claim, one) for claim in guilty)]
        if not dropped:
            return held, guilty
        kept = [one for one in held if one not in dropped]
        again = [claim for claim in guilty if any(_touches(claim, one) for one in dropped)]
        found = guilty_of(again, self._trial(section, claims, kept))
        return kept, {
            claim: found.get(claim, what) for claim, what in guilty.items() if claim not in again or claim in found
        }

    def _freeze(self, claims: list[Claim], guilty: Mapping[Claim, str]) -> None:
        innocent = {place for claim in claims if claim not in guilty for place in claim.places}
        provable = self.provable.clone()
        for claim, what in guilty.items():
            place = next((one for one in claim.places if one not in innocent), claim.places[0])
            self.reasons.update(dict.fromkeys(claim.groups, f"{place} needs its number of channels ({what})"))
            provable[list(claim.groups)] = False
        self.provable = provable


def _touches(claim: Claim, held: HeldSize) -> bool:
    """Whether a cut of the claim's groups changes the number that the attribute holds."""
    groups = torch.tensor(claim.groups)
    return any(bool(torch.isin(row, groups).any()) for row in held.rows)


def _blame_connections(graph: Channels, reading: Reading, guilty: Mapping[Claim, str]) -> None:
    """A mistake in what the user gave by hand is told, and not frozen away."""
    for claim, what in guilty.items() if reading.by_hand else ():
        for name, row in graph.layers.items():
            if name in reading.by_hand and bool(torch.isin(row, torch.tensor(claim.groups)).any()):
                raise LabError(f"connections for layer {name} don't fit the model: {what}; check them, or return None")
