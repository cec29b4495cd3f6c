"""The state of a run on disk: written whole or not at all, and read back bit for bit. No pickle.

A state is a folder `state/step_N` of the run's folder: tensors as safetensors, all else as `state.json`. What follows
from the experiment (channel graph, floors, resources of the base) is worked out anew. Must not know what a step does.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import replacing, write_atomically
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.memory import load_memory, load_optimizer, memory_of, optimizer_parts
from pruning_lab.lab.networks import fill, kept_of, reduced, tensors_of
from pruning_lab.lab.output.history import History
from pruning_lab.lab.snapshots import Snapshots
from pruning_lab.lab.state import RunState
from pruning_lab.resources.counting import measure

FORMAT = "pruning_lab.state/1"
FOLDER, CONTENT = "state", "state.json"
PLAIN = ("base_hash", "step", "epoch", "widths", "preference", "timed", "random")
"""Attributes of a state that JSON holds as they are."""


def save_state(state: RunState, run_folder: Path, run_id: str = "") -> Path:
    """Write the state of a run between two steps; the one before leaves when this one is there.

    Args:
        run_id: the tracking store's name for the run.

    Returns:
        the state's folder.

    Raises:
        LabError: the optimizer or the importance method holds something that is no number, text or tensor.
    """
    before, place = _states(run_folder), run_folder / FOLDER / f"step_{state.step}"
    draft = place.with_name(f".{place.name}")
    try:
        _write_draft(draft, state, run_id, before)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for folder in before:
        if folder != place:
            shutil.rmtree(folder)
    return place


def _write_draft(draft: Path, state: RunState, run_id: str, before: list[Path]) -> None:
    """Write all files of a state; what never changes is linked from the states `before`, where they have it."""
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    optimizer, moments = optimizer_parts(state.optimizer)
    _write_tensors(draft / "model.safetensors", tensors_of(state.model))
    _write_tensors(draft / "optimizer.safetensors", moments)
    _write_tensors(draft / "importance.safetensors", memory_of(state.importance))
    fixed = {"base": state.base, **{f"snapshot_{each.step}": each.model for each in state.snapshots}}
    for name, model in fixed.items():
        path = draft / f"{name}.safetensors"
        if not _linked(path, [folder / path.name for folder in before]):
            _write_tensors(path, tensors_of(model))
    content = {name: getattr(state, name) for name in PLAIN} | {
        "format": FORMAT,
        "run_id": run_id,
        "unmet": sorted(state.unmet),
        "history": state.history.rows,
        "optimizer": optimizer,
        "kept": kept_of(state.graph),
        "training": [name for name, module in state.model.named_modules() if module.training],
        "snapshots": [[each.step, kept_of(each.graph)] for each in state.snapshots],
    }
    write_atomically(draft / CONTENT, _as_json(content))


def sweep_up(run_folder: Path) -> None:
    """Remove all states of a run, and drafts of states: the run is done, or starts anew."""
    shutil.rmtree(run_folder / FOLDER, ignore_errors=True)


@dataclass(frozen=True)
class SavedState:
    """A state as its folder holds it; `restore` makes a run's state of it."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """The tracking store's name for the run."""
        return str(self.content["run_id"])

    def restore(self, lab: Experiment) -> RunState:
        """The state, bit for bit as it was.

        Args:
            lab: the run's experiment, built anew; its importance method takes up its memory in place.

        Raises:
            LabError: a file is missing or damaged, or is not of this experiment's model.
        """
        base = lab.model.build()
        fill(base, self._tensors("base"))
        model = lab.training.settings.place(copy.deepcopy(base))
        graph = ChannelGraph.trace(model, lab.example(), connections=lab.model.connections)
        original, optimizer = measure(graph), lab.training.recovery.new_optimizer(model)
        floors = lab.pruning.floors.resolve(model, graph, original)
        snapshots: Snapshots[ChannelGraph] = Snapshots(lab.pruning.validation.keep)
        for step, kept in self.content["snapshots"]:
            snapshot, left = reduced(base, graph, kept)
            fill(snapshot, self._tensors(f"snapshot_{step}"))
            snapshots.add(step, snapshot, left)
        model, graph = reduced(model, graph, self.content["kept"], optimizer)
        fill(model, self._tensors("model"))
        for name, module in model.named_modules():
            module.training = name in self.content["training"]
        load_optimizer(optimizer, self.content["optimizer"], self._tensors("optimizer"))
        load_memory(lab.pruning.importance, self._tensors("importance"))
        history = History()
        for row in self.content["history"]:
            history.append(row)
        return RunState(
            model=lab.training.settings.place(model),
            graph=graph,
            optimizer=optimizer,
            base=base,
            original=original,
            floors=floors,
            importance=lab.pruning.importance,
            snapshots=snapshots,
            history=history,
            unmet=frozenset(self.content["unmet"]),
            **{name: self.content[name] for name in PLAIN},
        )

    def _tensors(self, name: str) -> dict[str, Tensor]:
        path = self.folder / f"{name}.safetensors"
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise LabError(f"{path} can't be read ({error}); the state is damaged, start the run anew") from error


def saved_state(run_folder: Path) -> SavedState:
    """The latest state in a run's folder.

    Raises:
        LabError: there is none, or it is damaged or of another version.
    """
    folders = _states(run_folder)
    if not folders:
        raise LabError(
            f"{run_folder} holds no saved state: the run is done, or was stopped before its base was; "
            "give the folder of a pruning that was cut short"
        )
    path = folders[-1] / CONTENT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{path} can't be read ({error}); the state is damaged, start the run anew") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LabError(f"{path} is not of format {FORMAT}; go on with the version of the lab that wrote it")
    return SavedState(folders[-1], content)


def _states(run_folder: Path) -> list[Path]:
    """Whole states, the latest last."""
    return sorted((run_folder / FOLDER).glob("step_*"), key=lambda folder: int(folder.name.removeprefix("step_")))


def _linked(path: Path, sources: list[Path]) -> bool:
    """Whether a file got its content from one that has it already; not every file system can do that."""
    for source in sources:
        try:
            os.link(source, path)
        except OSError:
            continue
        return True
    return False


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(path) as draft:
        save_file(tensors, draft)


def _as_json(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content)
    except TypeError as error:
        raise LabError(f"the optimizer keeps more than tensors and numbers ({error})") from error
