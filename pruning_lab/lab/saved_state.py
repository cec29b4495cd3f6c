"""The state of a run on disk: written whole or not at all, and read back bit for bit. No pickle.

A state is a folder `state/step_N`, or `state/step_N_batch_M` within a recovery, of the run's folder: tensors as
safetensors, all else as `state.json`. What follows from the experiment (channel graph, floors, resources of the base)
is worked out anew. Must not know what a step does.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.common.versions import versions, write_version
from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.memory import load_memory, memory_of
from pruning_lab.lab.networks import kept_of, reduced
from pruning_lab.lab.output.history import History
from pruning_lab.lab.snapshots import Snapshots
from pruning_lab.lab.state import RunState
from pruning_lab.resources.counting import measure
from pruning_lab.training.held import fill, load_optimizer, optimizer_parts, tensors_of
from pruning_lab.training.progress import Progress
from pruning_lab.training.saved_files import read_json, read_tensors, write_json, write_tensors

FORMAT = "pruning_lab.state/2"
FOLDER, CONTENT = "state", "state.json"
PLAIN = (
    *("base_hash", "step", "epoch", "widths", "preference", "timed", "random"),
    *("ended", "recovered", "half"),
)
"""Attributes of a state that JSON holds as they are."""


def save_state(state: RunState, run_folder: Path, run_id: str = "", like: Path | None = None) -> Path:
    """Write the state of a run; the one before leaves when this one is there.

    Args:
        run_id: the tracking store's name for the run.
        like: folder of another run that goes the same way; files that its state has are linked.

    Returns:
        the state's folder.

    Raises:
        LabError: the optimizer, its schedule or the importance method holds something that is no number, text or
            tensor.
        OSError: it can't be written.
    """
    name = f"step_{state.step}" if state.training is None else f"step_{state.step}_batch_{state.training.steps}"

    def write(draft: Path, before: list[Path]) -> None:
        _write(draft, state, run_id, before + (versions(like / FOLDER) if like is not None else []))

    return write_version(run_folder / FOLDER, name, write)


def _write(draft: Path, state: RunState, run_id: str, before: list[Path]) -> None:
    """Write all files of a state; what never changes is linked from the states `before`, where they have it."""
    optimizer, moments = optimizer_parts(state.optimizer)
    write_tensors(draft / "model.safetensors", tensors_of(state.model))
    write_tensors(draft / "optimizer.safetensors", moments)
    write_tensors(draft / "importance.safetensors", memory_of(state.importance))
    fixed = {"base": state.base, **{f"snapshot_{each.step}": each.model for each in state.snapshots}}
    for name, model in fixed.items():
        path = draft / f"{name}.safetensors"
        if not _linked(path, [folder / path.name for folder in before]):
            write_tensors(path, tensors_of(model))
    content = {name: getattr(state, name) for name in PLAIN} | {
        "format": FORMAT,
        "threads": torch.get_num_threads(),
        "run_id": run_id,
        "unmet": sorted(state.unmet),
        "history": state.history.rows,
        "optimizer": optimizer,
        "kept": kept_of(state.graph),
        "modes": [name for name, module in state.model.named_modules() if module.training],
        "training": None if state.training is None else asdict(state.training),
        "snapshots": [[each.step, kept_of(each.graph)] for each in state.snapshots],
    }
    write_json(draft / CONTENT, content)


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

    @property
    def threads(self) -> int:
        """How many the run had."""
        return int(self.content["threads"])

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
            module.training = name in self.content["modes"]
        load_optimizer(optimizer, self.content["optimizer"], self._tensors("optimizer"))
        load_memory(lab.pruning.importance, self._tensors("importance"))
        history, training = History(), self.content["training"]
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
            training=None if training is None else Progress(**training),
            **{name: self.content[name] for name in PLAIN},
        )

    def _tensors(self, name: str) -> dict[str, Tensor]:
        return read_tensors(self.folder / f"{name}.safetensors")


def saved_state(run_folder: Path) -> SavedState | None:
    """The latest state in a run's folder; None where there is none.

    Raises:
        LabError: it is damaged or of another version.
    """
    folders = versions(run_folder / FOLDER)
    if not folders:
        return None
    path = folders[-1] / CONTENT
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise LabError(f"{path} is not of format {FORMAT}; go on with the version of the lab that wrote it")
    return SavedState(folders[-1], content)


def _linked(path: Path, sources: list[Path]) -> bool:
    """Whether a file got its content from one that has it already; not every file system can do that."""
    for source in sources:
        try:
            os.link(source, path)
        except OSError:
            continue
        return True
    return False
