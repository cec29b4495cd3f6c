"""A whole experiment on next to nothing, for tests of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pruning_lab.checkpoint import Builder
from pruning_lab.data import Augmentation, Loaders, SegmentationData
from pruning_lab.importance import WeightNorm
from pruning_lab.lab.experiment import DataPart, Experiment, ModelPart, OutputPart, PruningPart, TrainingPart
from pruning_lab.lab.output.tracker import Opening
from pruning_lab.lab.promise import BestWithinBudget
from pruning_lab.lab.validation import Validation
from pruning_lab.models import UNet
from pruning_lab.selection.amounts import ShareOf
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import All
from pruning_lab.training.losses import CrossEntropy
from pruning_lab.training.recovery import BaseTraining, Recovery

SIZE = 16
CLASSES = 2


@dataclass(frozen=True)
class Squares:
    """A bright square on dark noise, somewhere; the square is class 1."""

    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        stream = np.random.default_rng((self.seed, index))
        image = stream.integers(0, 120, (SIZE, SIZE, 3), dtype=np.uint8)
        mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
        top, left = stream.integers(0, SIZE // 2, 2)
        mask[top : top + 6, left : left + 6] = 1
        image[mask == 1] += 100
        return image, mask

    def label(self, index: int) -> str:
        return f"square {index}"


def squares() -> SegmentationData:
    splits = [Squares(count, seed) for seed, count in enumerate((16, 8, 8))]
    return SegmentationData("squares", ("ground", "square"), None, *splits, (0.5,) * 3, (0.25,) * 3, "squares 1")


def tiny_lab(root: Path, **changes: Any) -> Experiment:
    """A U-Net of width 4 on squares, not rehearsed; `changes` replace attributes of its parts, by their names alone."""
    arguments = {"in_channels": 3, "classes": CLASSES, "width": 4, "depth": 2}
    adam = partial(torch.optim.Adam, lr=1e-2)
    experiment = Experiment(
        model=ModelPart(lambda: UNet(**arguments), Builder("pruning_lab.models.UNet", arguments)),
        data=DataPart(squares(), Augmentation([]), partial(Loaders, batch_size=8, workers=0, score_images=8)),
        training=TrainingPart(
            loss=CrossEntropy(),
            base=BaseTraining(adam, epochs=2),
            recovery=Recovery(adam, epochs=1, final_epochs=1),
            bases=root / "bases",
            base_recipe={"model": arguments},
        ),
        pruning=PruningPart(
            importance=WeightNorm(),
            selection=Selection(ShareOf("flops", 0.2)),
            floors=Floors(by_type={"Conv2d": 0.1, "ConvTranspose2d": 0.1}),
            stop=All(flops=0.5),
            validation=Validation(BestWithinBudget(flops=0.5), keep=3),
            check=False,
        ),
        output=OutputPart(folder=root / "run", root=root),
    )
    (root / "run").mkdir(parents=True, exist_ok=True)
    (root / "run" / "config.yaml").write_text("stop:\n  flops: 0.5\n")
    return changed(experiment, **changes)


def changed(experiment: Experiment, **changes: Any) -> Experiment:
    """An experiment with other attributes of its parts, each under a name that only one part has."""
    parts = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    for name, value in changes.items():
        (place,) = (place for place, part in parts.items() if name in {field.name for field in fields(part)})
        parts[place] = replace(parts[place], **{name: value})
    return Experiment(**parts)


class Recorder:
    """A tracker that keeps what it is told."""

    run_id = "recorded"
    lost = False
    address = ""

    def __init__(self) -> None:
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.summary: dict[str, float] = {}
        self.artifacts: list[str] = []
        self.tables: dict[str, Sequence[Any]] = {}
        self.datasets: list[str] = []
        self.status = ""

    def start(self, opening: Opening, run_id: str | None = None) -> None:
        self.parameters, self.tags, self.resumed = dict(opening.parameters), dict(opening.tags), run_id

    def tag(self, name: str, value: str) -> None:
        self.tags[name] = value

    def log_step(self, step: int, metrics: Any) -> None:
        self.steps.append((step, dict(metrics)))

    def log_summary(self, metrics: Any) -> None:
        self.summary.update(metrics)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        assert Path(path).is_file()
        self.artifacts.append(f"{folder or ''}/{Path(path).name}")

    def log_table(self, name: str, rows: Any) -> None:
        self.tables[name] = list(rows)

    def log_dataset(self, name: str, fingerprint: str, counts: Any) -> None:
        self.datasets.append(name)

    def log_model_folder(self, path: Path) -> None:
        self.artifacts.append("/model")

    def describe(self, text: str) -> None:
        self.described = text

    def finish(self, status: str, reason: str = "") -> None:
        self.status, self.reason = status, reason


def scoring(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the graph alone as an importance method."""
    return lambda model, graph, batches: function(graph)
