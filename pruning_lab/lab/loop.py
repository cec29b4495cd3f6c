"""One experiment from start to end: read `prune` first. Knows neither Hydra nor MLflow, only an Experiment's parts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from torch import Tensor

from pruning_lab.common.claims import claimed
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import score as method_scores
from pruning_lab.lab.aiming import aimed
from pruning_lab.lab.base_model import trained_base
from pruning_lab.lab.compensating import before_cut, compensate, is_repaired
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.finish import close
from pruning_lab.lab.output import sentences
from pruning_lab.lab.output.history import Row
from pruning_lab.lab.rehearsal import rehearse
from pruning_lab.lab.room import check_room
from pruning_lab.lab.saved_state import sweep_up
from pruning_lab.lab.saving import try_saving
from pruning_lab.lab.snapshots import Snapshots
from pruning_lab.lab.start import announce, mark_done, set_threads, start_anew, tracked
from pruning_lab.lab.state import RunState
from pruning_lab.lab.step import Counted, cut_off, finish_step, heal, prove_cut, rest, validate
from pruning_lab.lab.timing import model_of
from pruning_lab.lab.weighing import costs_of
from pruning_lab.resources.counting import measure
from pruning_lab.selection.selection import Choice
from pruning_lab.training.compute import deterministic, seed_everything
from pruning_lab.training.loop import NonFiniteLossError


def prune(lab: Experiment) -> dict[str, float]:
    """Train or fetch the base, prune it step by step until the budget is met, and keep the most promising model.

    What an earlier run left in the folder makes way; `resume.prune` goes on with it instead.

    Returns:
        the run's summary: `best/val_iou`, `best/flops_fraction`, `test/iou`, ...
    """
    with claimed(lab.output.folder):
        with tracked(lab.output):
            summary = go_on(lab, begin(lab))
        mark_done(lab.output, summary)
    return summary


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
        sweep_up(lab.output.folder)
        raise failure
    return summary


def descend(lab: Experiment, state: RunState, before_step: Callable[[], None] | None = None) -> None:
    """Step by step down to the budget; between two steps the state is at rest, and saved.

    Args:
        before_step: is called before each step.
    """
    if state.half:
        finish_step(lab, state, recover(lab, state))
    while not state.ended:
        state.ended = reason_to_end(lab, state)
        rest(lab, state)
        if state.ended:
            return
        if lab.output.judge is not None and state.step:
            lab.output.judge(state.history[-1])
        if before_step is not None:
            before_step()
        set_threads(lab)
        scores, spent = score(lab, state)
        choice = choose(lab, state, scores)
        if not bool(choice.groups.any()):
            state.ended = "floors"
            return
        finish_step(lab, state, advance(lab, state, choice, spent))


def begin(lab: Experiment) -> RunState:
    """The state before the first cut: the base, its channel graph, and its row in the history.

    Raises:
        LabError: the model could not be kept, or the rehearsal failed; nothing is trained then.
    """
    start_anew(lab.output.folder)
    set_threads(lab)
    deterministic(lab.training.deterministic)
    announce(lab)
    check_room(lab)
    try_saving(lab, lab.model.build())
    if lab.pruning.check:
        rehearse(lab)
    digest, base = trained_base(lab)
    lab.output.tracker.tag("base_hash", digest)
    seed_everything(lab.training.seed)
    model = lab.training.settings.place(copy.deepcopy(base))
    graph = ChannelGraph.trace(model, lab.example(), connections=lab.model.connections)
    original = measure(graph)
    state = RunState(
        model=model,
        graph=graph,
        optimizer=lab.training.recovery.new_optimizer(model),
        base=base,
        base_hash=digest,
        original=original,
        floors=lab.pruning.floors.resolve(model, graph, original),
        importance=lab.pruning.importance,
        snapshots=Snapshots(lab.pruning.validation.keep),
        preference=dict(lab.pruning.selection.prefer),
    )
    sentences.tell_network(lab.output.reporter, graph, original)
    finish_step(lab, state, validate(lab, state))
    return state


def reason_to_end(lab: Experiment, state: RunState) -> str:
    """`budget` where it is met, `max_steps` where the most steps are done, and else nothing."""
    if not state.unmet:
        return "budget"
    most = lab.pruning.max_steps
    return "max_steps" if most is not None and state.step >= most else ""


def score(lab: Experiment, state: RunState) -> tuple[Tensor, Row]:
    """Importance of every group, float [n_groups], and what the method cost."""
    batches = Counted(lab.loaders().score_batches(), lab.training.settings.device)
    started = time.perf_counter()
    scores = method_scores(state.importance, state.model, state.graph, batches)
    return scores, {"cost/score_seconds": time.perf_counter() - started, "cost/score_images": batches.images}


def choose(lab: Experiment, state: RunState, scores: Tensor) -> Choice:
    """The groups that leave next; none, with a warning, where the floors forbid all."""
    costs = costs_of(lab, state)

    def select(worth: float) -> Choice:
        return lab.pruning.selection(
            scores,
            state.graph,
            state.floors,
            lab.pruning.stop,
            state.original,
            measured=costs,
            latency=model_of(lab, state),
            worth=worth,
        )

    choice = aimed(lab, state, costs, select)
    if not bool(choice.groups.any()):
        lab.output.reporter.warn(sentences.stuck(choice, state.unmet))
    return choice


def advance(lab: Experiment, state: RunState, choice: Choice, spent: Row) -> Row:
    """One pruning step: prove the first cut, cut, compensate, validate, recover, validate.

    Args:
        spent: what the scores cost.

    Returns:
        the step's row, but for what the network costs now.
    """
    state.half = damage(lab, state, choice, spent)
    return recover(lab, state)


def damage(lab: Experiment, state: RunState, choice: Choice, spent: Row) -> Row:
    """The first half of a step, up to its recovery; returns what is known of the step by then."""
    started = time.perf_counter()
    if dict(choice.preference) != state.preference:
        state.preference = dict(choice.preference)
        lab.output.reporter.say(sentences.preference(state.preference))
    proof = prove_cut(lab, state, choice.groups) if lab.pruning.verify and state.step == 0 else {}
    uncut = before_cut(lab, state)
    cut = cut_off(state, choice.groups)
    repair = compensate(lab, state, uncut)
    after_cut = state.scores = validate(lab, state)
    return {
        **{f"val/{name}_before_recovery": after_cut[f"val/{name}"] for name in ("iou", "loss")},
        **{f"selection/prefer_{name}": value for name, value in state.preference.items()},
        "selection/groups_removed": float(choice.groups.sum()),
        **spent,
        **proof,
        **cut,
        **repair,
        "cost/validation_seconds": after_cut["cost/validation_seconds"],
        "cost/step_seconds": time.perf_counter() - started + spent["cost/score_seconds"],
    }


def recover(lab: Experiment, state: RunState) -> Row:
    """The second half of a step: train, and validate. Returns the whole row, but for what the network costs now."""
    started = time.perf_counter()
    before = 0.0 if state.training is None else state.training.seconds
    recovery = heal(lab, state, f"recovery {state.step + 1}", final=False, repaired=is_repaired(state.half))
    if state.scores and not recovery["cost/recovery_images"]:  # it is still what was validated after the cut
        row: Row = state.scores | {"cost/validation_seconds": 0.0}
    else:
        row = validate(lab, state)
    half = state.half
    state.step, state.half, state.scores = state.step + 1, {}, {}
    seconds = before + time.perf_counter() - started
    spent = {"cost/validation_seconds": row["cost/validation_seconds"], "cost/step_seconds": seconds}
    return {**row, **recovery, **half, **{name: half[name] + value for name, value in spent.items()}}


def recover_at_end(lab: Experiment, state: RunState) -> None:
    """The long, final recovery; it gets a row of its own after the last step's."""
    if state.recovered or lab.training.recovery.total_steps(len(lab.loaders().train_loader(0)), final=True) == 0:
        return
    recovery = heal(lab, state, "final recovery", final=True)
    state.step, state.recovered = state.step + 1, True
    finish_step(lab, state, validate(lab, state) | recovery)
    rest(lab, state)
