"""What a run says on its way, in words. Must not know how anything came about."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.output.console import Reporter
from pruning_lab.resources.counting import Resources
from pruning_lab.selection.selection import Choice
from pruning_lab.surgery.unused import unused_text


def tell_network(reporter: Reporter, graph: ChannelGraph, resources: Resources) -> None:
    """How large the network is, what of it can be cut, and a warning of layers that nothing needs."""
    reporter.say(
        f"{len(graph)} groups of filters in {len(graph.layers)} layers, {int(graph.prunable.sum())} prunable; "
        f"{resources.macs / 1e6:.1f} M MACs, {resources.weights / 1e6:.3f} M weights"
    )
    if unused := unused_text(graph):
        reporter.warn(unused)


def first_cut(difference: float, mixed: bool) -> str:
    """The proof of the first cut; `mixed`: some normalization sees several channels at once."""
    note = " (normalizations over channels taken over those left)" if mixed else ""
    return f"first cut proved on real images: cut and masked differ by {difference:.1e}{note}"


def preference(wanted: Mapping[str, float]) -> str:
    """The ranking now prefers other resources than before."""
    spelled = ", ".join(f"{name} {value:g}" for name, value in wanted.items())
    return f"selection now prefers {spelled}: the rest of the budget is met"


def stuck(choice: Choice, unmet: Collection[str]) -> str:
    """No group may leave, though the budget is not met."""
    return (
        f"the budget can't be met: {', '.join(sorted(unmet))} still above it and no group may leave; "
        f"{_what_binds(choice)} or raise the budget"
    )


def _what_binds(choice: Choice) -> str:
    if choice.given_back:
        return f"selection.round_to kept the {choice.given_back} groups that could; lower it, or floors.*,"
    if choice.bound:
        return f"floors bind at {', '.join(choice.bound)}; lower floors.*"
    return "what is left is frozen, or kept by the importance method; choose another"


def verdict(ended: str, steps: int, budget_met: bool, kept: int) -> str:
    """Why a run ended, and which step's model it kept."""
    met = "the budget is met" if budget_met else "the budget is NOT met"
    return f"run ended ({ended}) after {steps} steps; {met}; kept step {kept} of those in memory"
