"""One cut, no training: what each compensation leaves of a base, for several methods and budgets, as a table.

    python -m tests.benchmarks.one_shot --width 16 --epochs 40 --cache FOLDER

The base is a U-Net on drawn eyes, trained once and kept in the cache. IoU on the validation images, in percent.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_lab.compensation import Before, Compensation, LeastSquares, Mean, NoCompensation, Norms
from pruning_lab.data import Augmentation, Eyes, Loaders
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Importance, Normalized, Random, Reconstruction, Taylor, WeightNorm
from pruning_lab.lab.validation import Validator
from pruning_lab.models import UNet
from pruning_lab.resources import measure
from pruning_lab.selection.amounts import ShareOf
from pruning_lab.selection.floors import Floors
from pruning_lab.selection.selection import Selection
from pruning_lab.selection.stopping import All
from pruning_lab.surgery import cut
from pruning_lab.training.bases import base_hash, code_version, load_or_train
from pruning_lab.training.compute import seed_everything
from pruning_lab.training.losses import cross_entropy_dice
from pruning_lab.training.recovery import BaseTraining
from pruning_lab.training.schedules import cosine

METHODS: dict[str, Importance] = {
    "reconstruction": Normalized(Reconstruction()),
    "Taylor by layer": Normalized(Taylor()),
    "L1": WeightNorm(),
    "random": Random(),
}
COMPENSATIONS: dict[str, Compensation] = {
    "after the cut": NoCompensation(),
    "norms anew": Norms(),
    "mean": Mean(),
    "least squares": LeastSquares(),
}
BUDGETS = (0.75, 0.5, 0.25)


@dataclass(frozen=True)
class Bench:
    """A trained base, its graph, and the images that it is looked at with."""

    base: nn.Module
    graph: ChannelGraph
    loaders: Loaders
    validator: Validator

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


def bench(width: int, epochs: float, train: int, val: int, size: Sequence[int], cache: Path | None) -> Bench:
    """Train the base, or take it from the cache."""
    data = Eyes(size=(size[0], size[1]), train=train, val=val, test=8)
    loaders = Loaders(data, Augmentation(), batch_size=16)
    loss = cross_entropy_dice()
    training = BaseTraining(partial(torch.optim.AdamW, lr=3e-3), cosine, epochs=epochs)

    def build() -> nn.Module:
        seed_everything(0)
        return UNet(in_channels=data.channels, classes=len(data.class_names), width=width, depth=4)

    def trained(model: nn.Module) -> dict[str, float]:
        return {"seconds": training.train(model, loaders.train_loader, loss=loss).seconds}

    facts = {"width": width, "epochs": epochs, "data": data.fingerprint(), "code": code_version(loss)}
    base, _, _ = load_or_train(cache, base_hash(facts), build, trained)
    graph = ChannelGraph.trace(base.eval(), torch.zeros(1, data.channels, *size))
    return Bench(base, graph, loaders, Validator(len(data.class_names), data.class_names, loss=loss))


def rows(subject: Bench, methods: Iterable[str], budgets: Iterable[float]) -> Iterable[str]:
    """The table, line by line, as they are measured."""
    yield f"| chosen by | FLOPs left | {' | '.join(COMPENSATIONS)} | seconds of least squares |"
    yield "|---" * (len(COMPENSATIONS) + 3) + "|"
    for name in methods:
        scores = METHODS[name](subject.base, subject.graph, subject.loaders.score_batches())
        for budget in budgets:
            groups = subject.chosen(scores, budget)
            cells = {key: subject.after(groups, compensation) for key, compensation in COMPENSATIONS.items()}
            found = " | ".join(f"{iou:.1f}" for iou, _ in cells.values())
            yield f"| {name} | {100 * budget:.0f} % | {found} | {cells['least squares'][1]:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--train", type=int, default=240, help="images")
    parser.add_argument("--val", type=int, default=60, help="images")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 128))
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cache", type=Path, help="folder of trained bases; without it the base is trained anew")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    subject = bench(given.width, given.epochs, given.train, given.val, given.size, given.cache)
    print(f"base: {subject.iou(subject.base):.1f}", flush=True)
    for line in rows(subject, given.methods, given.budgets):
        print(line, flush=True)


if __name__ == "__main__":
    main()
