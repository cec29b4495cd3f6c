"""One experiment from start to end: read `prune` first. Knows neither Hydra nor MLflow, only an Experiment's parts."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from pruning_lab.closing import close
from pruning_lab.devices import deterministic, seed_everything, set_random_state
from pruning_lab.experiment import Experiment
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Importance, check_scores
from pruning_lab.resources import measure
from pruning_lab.selection import Choice
from pruning_lab.snapshots import Snapshots
from pruning_lab.stages import (
    Counted,
    finish_step,
    heal,
    logged,
    prove_cut,
    show_samples,
    trained_base,
    training_costs,
    validate,
    weigh,
)
from pruning_lab.state import RunState
from pruning_lab.surgery import cut
from pruning_lab.training import NonFiniteLossError
from pruning_lab.unused import unused_text


def prune(lab: Experiment) -> dict[str, float]:
    """Train or fetch the base, prune it step by step until the budget is met, and keep the most promising model.

    Returns:
        the run's summary: `best/val_iou`, `best/flops_fraction`, `test/iou`, ...
    """
    return prune_to_each([lab])[0]


def prune_to_each(labs: Sequence[Experiment]) -> list[dict[str, float]]:
    """Prune to several budgets, and take the steps that they share once.

    Every budget ends as a run of its own, with its own last step and final recovery; it is the run that `prune` makes
    of it alone.

    Args:
        labs: differ in their stop rules, folders and trackers alone. Each budget is tighter than the one before it,
            and of the same single resource.

    Returns:
        the summary of each run.
    """
    fork: Fork | None = None
    summaries = []
    for given in labs:
        with tracked(given):
            lab, state = (given, begin(given)) if fork is None else take_over(given, fork)
            fork, failure = None, None
            try:
                fork = descend(lab, state, remember=given is not labs[-1])
                recover_at_end(lab, state)
            except NonFiniteLossError as error:
                failure, state.ended = error, str(error)
            summaries.append(close(lab, state))
            if failure is not None:
                raise failure
    return summaries


@dataclass(frozen=True)
class Fork:
    """Where a tighter budget leaves the way of another: before the last step, which the budget may have cut short."""

    state: RunState
    importance: Importance
    folder: Path


def descend(lab: Experiment, state: RunState, remember: bool = False) -> Fork | None:
    """Step by step down to the budget.

    Returns:
        where a tighter budget goes on, if that is to be remembered.
    """
    fork: Fork | None = None
    while not is_over(lab, state):
        if remember:
            fork = Fork(state.fork(), copy.deepcopy(lab.importance), lab.folder)
        scores = score(lab, state)
        choice = choose(lab, state, scores)
        if not bool(choice.groups.any()):
            break
        advance(lab, state, choice)
    return fork or (Fork(state.fork(), lab.importance, lab.folder) if remember else None)


def take_over(lab: Experiment, fork: Fork) -> tuple[Experiment, RunState]:
    """Go on from another run's step, as if this one had come here by itself."""
    state = fork.state
    _announce(lab)
    lab.tracker.tag("base_hash", state.base_hash)
    lab.tracker.tag("steps_shared_with", str(fork.folder))
    for row in state.history:
        lab.tracker.log_step(int(row["step"]), logged(row))
    lab.reporter.say(f"{state.step} steps are shared with {fork.folder}")
    state.ended = ""
    set_random_state(state.random)
    return replace(lab, importance=fork.importance), state


def begin(lab: Experiment) -> RunState:
    """The state before the first cut: the base, its channel graph, and its row in the history."""
    deterministic(lab.deterministic)
    _announce(lab)
    digest, base = trained_base(lab)
    lab.tracker.tag("base_hash", digest)
    seed_everything(lab.seed)
    model = lab.settings.place(copy.deepcopy(base))
    graph = ChannelGraph.trace(model, lab.example(), connections=lab.connections)
    original = measure(graph)
    state = RunState(
        model=model,
        graph=graph,
        optimizer=lab.recovery.new_optimizer(model),
        base=base,
        base_hash=digest,
        original=original,
        floors=lab.floors.resolve(model, graph, original),
        snapshots=Snapshots(lab.validation.keep),
        preference=dict(lab.selection.prefer),
    )
    lab.reporter.say(
        f"{len(graph)} groups of filters in {len(graph.layers)} layers, {int(graph.prunable.sum())} prunable; "
        f"{original.macs / 1e6:.1f} M MACs, {original.weights / 1e6:.3f} M weights"
    )
    if unused := unused_text(graph):
        lab.reporter.warn(unused)
    finish_step(lab, state, validate(lab, state))
    return state


def is_over(lab: Experiment, state: RunState) -> bool:
    """Whether the budget is met, or the most steps are done."""
    if not lab.stop(weigh(lab, state)):
        state.ended = "budget"
    elif lab.max_steps is not None and state.step >= lab.max_steps:
        state.ended = "max_steps"
    return bool(state.ended)


def score(lab: Experiment, state: RunState) -> Tensor:
    """Importance of every group, float [n_groups]; what the method cost goes into the coming row."""
    batches = Counted(lab.loaders().score_batches())
    started = time.perf_counter()
    scores = check_scores(lab.importance(state.model, state.graph, batches), state.graph, lab.importance)
    state.costs = {"cost/score_seconds": time.perf_counter() - started, "cost/score_images": batches.images}
    return scores


def choose(lab: Experiment, state: RunState, scores: Tensor) -> Choice:
    """The groups that leave next; none where the floors forbid all, which ends the run."""
    left = weigh(lab, state)
    choice = lab.selection(scores, state.graph, state.floors, lab.stop, state.original, measured=left)
    if not bool(choice.groups.any()):
        state.ended = "floors"
        unmet = ", ".join(sorted(lab.stop(left)))
        lab.reporter.warn(
            f"the budget can't be met: {unmet} still above it and no group may leave; "
            f"{_what_binds(choice)} or raise the budget"
        )
    return choice


def advance(lab: Experiment, state: RunState, choice: Choice) -> None:
    """One pruning step: cut, validate, recover, validate, log."""
    started = time.perf_counter()
    if dict(choice.preference) != state.preference:
        state.preference = dict(choice.preference)
        spelled = ", ".join(f"{name} {value:g}" for name, value in state.preference.items())
        lab.reporter.say(f"selection now prefers {spelled}: the rest of the budget is met")
    if lab.verify and state.step == 0:
        prove_cut(lab, state, choice.groups)
    before = time.perf_counter()
    cut(state.model, state.graph, choice.groups, state.optimizer)
    state.costs["cost/cut_seconds"] = time.perf_counter() - before
    row = validate(lab, state)
    after_cut = {"val/iou_before_recovery": row["val/iou"], "val/loss_before_recovery": row["val/loss"]}
    report = heal(lab, state, f"recovery {state.step + 1}", final=False)
    row = validate(lab, state) | after_cut | training_costs(report)
    row |= {f"selection/prefer_{name}": value for name, value in state.preference.items()}
    row |= {"selection/groups_removed": float(choice.groups.sum())}
    state.step += 1
    state.costs["cost/step_seconds"] = time.perf_counter() - started + state.costs["cost/score_seconds"]
    finish_step(lab, state, row)


def recover_at_end(lab: Experiment, state: RunState) -> None:
    """The long, final recovery; it gets a row of its own after the last step's."""
    if lab.recovery.total_steps(len(lab.loaders().train_loader(0)), final=True) == 0:
        return
    report = heal(lab, state, "final recovery", final=True)
    state.step += 1
    state.costs = {}
    finish_step(lab, state, validate(lab, state) | training_costs(report))


def _announce(lab: Experiment) -> None:
    """Tell the tracking store what the run works on."""
    counts = {split: len(lab.data.split(split)) for split in ("train", "val", "test")}
    lab.tracker.log_dataset(lab.data.name, lab.data.fingerprint(), counts)
    show_samples(lab)


def _what_binds(choice: Choice) -> str:
    if choice.given_back:
        return f"selection.round_to kept the {choice.given_back} groups that could; lower it, or floors.*,"
    if choice.bound:
        return f"floors bind at {', '.join(choice.bound)}; lower floors.*"
    return "what is left is frozen, or kept by the importance method; choose another"


@contextmanager
def tracked(lab: Experiment) -> Iterator[None]:
    """Open the run in the tracking store, and close it with what became of it."""
    lab.tracker.start(lab.output_root, lab.parameters, lab.tags)
    try:
        yield
    except KeyboardInterrupt:
        lab.tracker.finish("KILLED")
        raise
    except BaseException:
        lab.tracker.finish("FAILED")
        raise
    lab.tracker.finish("FINISHED")
