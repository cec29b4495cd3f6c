"""One experiment from start to end: read `prune` first. Knows neither Hydra nor MLflow, only an Experiment's parts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.importance import check_scores
from pruning_lab.lab.base_model import trained_base
from pruning_lab.lab.compensating import before_cut, compensate
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.finish import close
from pruning_lab.lab.snapshots import Snapshots
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import (
    Counted,
    finish_step,
    heal,
    prove_cut,
    show_samples,
    training_costs,
    validate,
    weigh,
)
from pruning_lab.resources.counting import measure
from pruning_lab.selection.selection import Choice
from pruning_lab.surgery.unused import unused_text
from pruning_lab.training.compute import deterministic, seed_everything
from pruning_lab.training.loop import NonFiniteLossError


def prune(lab: Experiment) -> dict[str, float]:
    """Train or fetch the base, prune it step by step until the budget is met, and keep the most promising model.

    Returns:
        the run's summary: `best/val_iou`, `best/flops_fraction`, `test/iou`, ...
    """
    with tracked(lab):
        return go_on(lab, begin(lab))


def go_on(lab: Experiment, state: RunState, before_step: Callable[[], None] | None = None) -> dict[str, float]:
    """From any step to the end: descend to the budget, recover, choose a model, test it and save it.

    A training that fails ends the run there: what was reached is kept, and the error is raised again.

    Returns:
        the run's summary.
    """
    failure: NonFiniteLossError | None = None
    try:
        descend(lab, state, before_step)
        recover_at_end(lab, state)
    except NonFiniteLossError as error:
        failure, state.ended = error, str(error)
    summary = close(lab, state)
    if failure is not None:
        raise failure
    return summary


def descend(lab: Experiment, state: RunState, before_step: Callable[[], None] | None = None) -> None:
    """Step by step down to the budget; `before_step` is called before each, when the state is at rest."""
    while not is_over(lab, state):
        if before_step is not None:
            before_step()
        choice = choose(lab, state, score(lab, state))
        if not bool(choice.groups.any()):
            break
        advance(lab, state, choice)


def begin(lab: Experiment) -> RunState:
    """The state before the first cut: the base, its channel graph, and its row in the history."""
    deterministic(lab.deterministic)
    announce(lab)
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
    """One pruning step: cut, compensate, validate, recover, validate, log."""
    started = time.perf_counter()
    if dict(choice.preference) != state.preference:
        state.preference = dict(choice.preference)
        spelled = ", ".join(f"{name} {value:g}" for name, value in state.preference.items())
        lab.reporter.say(f"selection now prefers {spelled}: the rest of the budget is met")
    if lab.verify and state.step == 0:
        prove_cut(lab, state, choice.groups)
    uncut = before_cut(lab, state)
    before = time.perf_counter()
    cut(state.model, state.graph, choice.groups, state.optimizer)
    state.costs["cost/cut_seconds"] = time.perf_counter() - before
    repaired = compensate(lab, state, uncut)
    row = validate(lab, state)
    after_cut = {"val/iou_before_recovery": row["val/iou"], "val/loss_before_recovery": row["val/loss"], **repaired}
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


def announce(lab: Experiment) -> None:
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
