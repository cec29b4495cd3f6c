"""One cut, no training: what each compensation leaves of a base, for several methods and budgets, as a table.

    python -m tests.benchmarks.one_shot --data eyes --into docs/importance.md
    python -m tests.benchmarks.one_shot --data nuclei --root PATH --into docs/importance.md

The base is a U-Net of depth 4, trained once and kept in the cache; or that of a run, by `--weights FILE`, as
outputs/bases/HASH/weights.safetensors. IoU on the validation images, in percent.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning_lab.compensation import Before, Compensation, LeastSquares, Mean, NoCompensation, Norms
from pruning_lab.data import Augmentation, Eyes, Fields, Folder, Loaders, SegmentationData
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import (
    Downstream,
    Importance,
    Ipad,
    Jacobian,
    Normalized,
    Random,
    Reconstruction,
    Taylor,
    TorchPruning,
    Uniform,
    WeightNorm,
)
from pruning_lab.importance.objective import Loss
from pruning_lab.lab.validation import Validator
from pruning_lab.models import UNet
from pruning_lab.resources import measure
from pruning_lab.selection.amounts import ShareOf
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import All
from pruning_lab.surgery import cut
from pruning_lab.tasks.report.pages import deliver, markdown_table
from pruning_lab.training.bases import base_hash, code_version, load_or_train
from pruning_lab.training.compute import seed_everything
from pruning_lab.training.losses import cross_entropy_dice
from pruning_lab.training.recovery import BaseTraining
from pruning_lab.training.schedules import cosine


def methods(loss: Loss) -> dict[str, Importance]:
    """Whose choices are compared; those that look at a loss look at the run's."""
    by_gradient = Reconstruction("none", weigh="gradient", loss=loss)
    return {
        "reconstruction": Normalized(Reconstruction()),
        "reconstruction, by gradient": by_gradient,
        "Taylor by layer": Normalized(Taylor(loss)),
        "Jacobian": Jacobian(loss),
        "IPAD": Ipad(normalize="layer_mean", of="reads", around="own", weights="readers", ranked=True),
        "downstream": Downstream(mix=0.0, last_layers="ones", active=True, ranked=True),
        "uniform": Uniform(Random()),
        "random": Random(),
        "L1": WeightNorm(),
        "Torch-Pruning, Taylor": TorchPruning("taylor", loss=loss),
        "Torch-Pruning, magnitude": TorchPruning(),
    }


NAMES = tuple(methods(cross_entropy_dice()))
COMPENSATIONS: dict[str, Compensation] = {
    "after the cut": NoCompensation(),
    "norms anew": Norms(),
    "mean": Mean(),
    "least squares": LeastSquares(),
}
BUDGETS = (0.5, 0.25)
SIZES = {"eyes": (96, 128), "fields": (96, 96), "nuclei": (96, 96)}


@dataclass(frozen=True)
class Bench:
    """A trained base, its graph, and the images that it is looked at with."""

    base: nn.Module
    graph: ChannelGraph
    loaders: Loaders
    validator: Validator
    loss: Loss

    def iou(self, model: nn.Module) -> float:
        """Percent, on the validation images."""
        return 100 * self.validator.evaluate(model, self.loaders.eval_loader("val"))["iou"]

    def chosen(self, scores: Tensor, budget: float) -> Tensor:
        """The groups that leave in one cut down to a share of the FLOPs, bool [n_groups]."""
        original = measure(self.graph)
        floors = Floors(by_type={"Conv2d": 0.05, "ConvTranspose2d": 0.05}).resolve(self.base, self.graph, original)
        return Selection(ShareOf("flops", 1.0))(scores, self.graph, floors, All(flops=budget), original).groups

    def after(self, groups: Tensor, compensation: Compensation) -> tuple[float, float]:
        """IoU after the cut and a compensation, and the processor's seconds that the compensation took."""
        model, graph = copy.deepcopy(self.base), copy.copy(self.graph)
        before = Before.of(model, graph)
        cut(model, graph, groups)
        started = time.process_time()
        compensation(before, model, graph, self.loaders.score_batches())
        return self.iou(model), time.process_time() - started


def data_of(name: str, root: str, train: int, val: int) -> SegmentationData:
    """A data set at the size of the table."""
    if name == "nuclei":
        return Folder(root=root, size=SIZES[name])
    return {"eyes": Eyes, "fields": Fields}[name](size=SIZES[name], train=train, val=val, test=8)


def bench(data: SegmentationData, size: tuple[int, int], given: argparse.Namespace) -> Bench:
    """Train the base, take it from the cache, or read the weights that were given."""
    loaders = Loaders(data, Augmentation(), batch_size=16)
    loss = cross_entropy_dice(ignore_index=data.ignore_index)
    training = BaseTraining(partial(torch.optim.AdamW, lr=3e-3), cosine, epochs=given.epochs)

    def build() -> nn.Module:
        seed_everything(0)
        return UNet(in_channels=data.channels, classes=len(data.class_names), width=given.width, depth=4)

    def trained(model: nn.Module) -> dict[str, float]:
        return {"seconds": training.train(model, loaders.train_loader, loss=loss).seconds}

    if given.weights is None:
        facts = {"width": given.width, "epochs": given.epochs, "data": data.fingerprint(), "code": code_version(loss)}
        base, _, _ = load_or_train(given.cache, base_hash(facts), build, trained)
    else:
        base = build()
        base.load_state_dict(load_file(given.weights))
    graph = ChannelGraph.trace(base.eval(), torch.zeros(1, data.channels, *size))
    validator = Validator(len(data.class_names), data.class_names, loss=loss, ignore_index=data.ignore_index)
    return Bench(base, graph, loaders, validator, loss)


def rows(subject: Bench, names: Iterable[str], budgets: Iterable[float]) -> Iterator[dict[str, str]]:
    """The table, row by row, as it is measured."""
    known = methods(subject.loss)
    for name in names:
        scores = known[name](subject.base, subject.graph, subject.loaders.score_batches())
        for budget in budgets:
            groups = subject.chosen(scores, budget)
            cells = {key: subject.after(groups, compensation) for key, compensation in COMPENSATIONS.items()}
            found = {key: f"{iou:.1f}" for key, (iou, _) in cells.items()}
            seconds = {"s of least squares": f"{cells['least squares'][1]:.1f}"}
            yield {"chosen by": name, "FLOPs left": f"{100 * budget:.0f} %", **found, **seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SIZES, default="eyes")
    parser.add_argument("--root", default=os.environ.get("PRUNING_LAB_DATA", ""), help="folder of the nuclei")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--train", type=int, default=240, help="drawn images")
    parser.add_argument("--val", type=int, default=60, help="drawn images")
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS)
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--weights", type=Path, help="weights of a base that was trained before")
    parser.add_argument("--cache", type=Path, help="folder of trained bases; without it the base is trained anew")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--into", type=Path, help="page with the markers one_shot_DATA; else the table is printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    subject = bench(data_of(given.data, given.root, given.train, given.val), SIZES[given.data], given)

    def make() -> str:
        found = []
        for row in rows(subject, given.methods, given.budgets):
            print(" | ".join(row.values()), file=sys.stderr, flush=True)
            found.append(row)
        return f"{given.data}, base {subject.iou(subject.base):.1f}:\n\n{markdown_table(found)}"

    return deliver(make, given.into, f"one_shot_{given.data}")


if __name__ == "__main__":
    sys.exit(main())
