"""What the lab costs on a GPU, each figure a ratio measured in one run: `python -m tests.gpu.benchmark --json FILE`.

The bare side is what anybody would write by hand: batches that lie on the device, no check, no augmentation. On a CPU
`--tiny` tries the program itself; its figures mean nothing there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor, nn
from torch.optim import AdamW

from pruning_lab.data import Augmentation, Eyes, Loaders
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Ablation, Apoz, Downstream, Importance, Ipad, MeanActivation, Taylor, cross_entropy
from pruning_lab.lab.step import Counted
from pruning_lab.lab.validation import Validator
from pruning_lab.models import UNet
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.loop import TaskLoss, train
from pruning_lab.training.losses import cross_entropy_dice

LIGHT = Path(__file__).parents[2] / "conf" / "augmentation" / "light.yaml"
CLASSES = 4
LOSS = cross_entropy_dice()

Run = Callable[[], Any]
Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Sizes:
    """How large everything is; `sampled` are the masked runs from which the time of brute force is reckoned."""

    width: int = 64
    depth: int = 4
    side: int = 256
    batch: int = 16
    train: int = 320
    val: int = 128
    steps: int = 40
    rounds: int = 2
    ablation_width: int = 16
    ablation_images: int = 4
    sampled: int = 64


TINY = Sizes(4, 2, 32, 4, 12, 8, 4, 2, 4, 2, 4)


@dataclass(frozen=True)
class Figure:
    """A line of the table: seconds of the lab's side and of the bare one, and what their ratio is to be."""

    what: str
    seconds: float
    bare_seconds: float
    ratio: float
    aim: str


class Bench:
    """The data and the model that all figures share."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.sizes, self.device = sizes, device
        self.data = Eyes((sizes.side, sizes.side), train=sizes.train, val=sizes.val, test=1)
        self.augmentation = Augmentation(yaml.safe_load(LIGHT.read_text())["steps"])

    def loaders(self, workers: int | Literal["auto"] = 0) -> Loaders:
        return Loaders(self.data, self.augmentation, self.sizes.batch, workers, score_images=4 * self.sizes.batch)

    def settings(self, precision: str = "float32") -> ComputeSettings:
        return ComputeSettings(self.device, precision)

    def model(self, width: int | None = None) -> nn.Module:
        torch.manual_seed(0)
        return UNet(classes=CLASSES, width=width or self.sizes.width, depth=self.sizes.depth).to(self.device)

    def seconds(self, run: Run) -> float:
        self._wait()
        started = time.perf_counter()
        run()
        self._wait()
        return time.perf_counter() - started

    def in_turns(self, runs: Sequence[Run], rounds: int | None = None) -> list[float]:
        """Median seconds of each; all take turns, after a round that does not count."""
        for run in runs:
            run()
        found = [[self.seconds(run) for run in runs] for _ in range(rounds or self.sizes.rounds)]
        return [statistics.median(times) for times in zip(*found, strict=True)]

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def training(bench: Bench) -> Iterator[Figure]:
    """The lab's loop, fed in three ways, against a bare loop on one batch that lies on the device."""
    for precision in ("float32", "bfloat16"):
        settings = bench.settings(precision)
        image, mask = next(bench.loaders().train_loader(0).onward(1, bench.device))
        resident = [(image, mask)] * bench.sizes.steps
        ways = {
            "resident": lambda epoch: resident,  # noqa: B023 - used up within this turn
            "loader.workers=0": bench.loaders(0).train_loader,
            "loader.workers=auto": bench.loaders("auto").train_loader,
        }
        runs = [partial(_bare_training, bench.model(), image, mask, bench.sizes.steps, precision, bench.device)]
        for loader in ways.values():
            runs.append(partial(_lab_training, bench.model(), loader, bench.sizes.steps, settings))
        bare, *times = bench.in_turns(runs)
        for name, seconds in zip(ways, times, strict=True):
            yield Figure(f"training, {precision}, {name}: speed of bare", seconds, bare, bare / seconds, ">= 0.9")


def _bare_training(
    model: nn.Module, image: Tensor, mask: Tensor, steps: int, precision: str, device: torch.device
) -> None:
    optimizer = AdamW(model.parameters(), lr=1e-4)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        with _autocast(precision, device):
            logits = model(image)
        LOSS(logits.float(), mask).backward()
        optimizer.step()


def _autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def _lab_training(model: nn.Module, loader: Any, steps: int, settings: ComputeSettings) -> None:
    optimizer = AdamW(model.parameters(), lr=1e-4)
    train(model, loader, objective=TaskLoss(LOSS, settings), optimizer=optimizer, steps=steps, settings=settings)


def validation(bench: Bench) -> Iterator[Figure]:
    """All of validation against its forward passes, on images that lie on the device."""
    model = bench.model().eval()
    for precision in ("float32", "bfloat16"):
        settings, loaders = bench.settings(precision), bench.loaders("auto")
        validator = Validator(CLASSES, bench.data.class_names, loss=LOSS, settings=settings)
        resident = list(settings.bring(loaders.eval_loader("val")))

        @torch.inference_mode()
        def forward(settings: ComputeSettings = settings, batches: Batches = resident) -> None:
            for image, _ in batches:
                settings.logits(model, image)

        lab = partial(validator.evaluate, model, loaders.eval_loader("val"))
        seconds, bare = bench.in_turns([lab, forward], 3 * bench.sizes.rounds)
        yield Figure(f"validation, {precision}: times forward", seconds, bare, seconds / bare, "<= 1.3")


def scores(bench: Bench) -> Iterator[Figure]:
    """Importance methods, on images as a run hands them over, against passes on images that lie on the device."""
    model = bench.model().eval()
    graph = _graph(bench, model)
    stack = bench.loaders().score_batches()
    resident = list(stack.on(bench.device))

    @torch.no_grad()
    def forward() -> None:
        for image, _ in resident:
            model(image)

    def forward_and_backward() -> None:
        for image, mask in resident:
            cross_entropy(model(image), mask).backward()
        model.zero_grad()

    methods: dict[str, Importance] = {
        "ipad": Ipad(),
        "mean_activation": MeanActivation(),
        "apoz": Apoz(),
        "downstream": Downstream(),
    }
    for name, passes, chosen in (
        ("forward", forward, methods),
        ("forward and backward", forward_and_backward, {"taylor": Taylor()}),
    ):
        runs = [partial(_score, method, model, graph, stack, bench.device) for method in chosen.values()]
        bare, *times = bench.in_turns([passes, *runs], 3 * bench.sizes.rounds)
        for method, seconds in zip(chosen, times, strict=True):
            yield Figure(f"{method}: times {name}", seconds, bare, seconds / bare, "<= 1.1")


def _score(method: Importance, model: nn.Module, graph: ChannelGraph, stack: Any, device: torch.device) -> Tensor:
    return method(model, graph, Counted(stack, device))


def reading(bench: Bench) -> Iterator[Figure]:
    """Reading the channel graph, its proof by trial cuts included, against one forward pass of one image."""
    model = bench.model().eval()
    image = torch.zeros(1, 3, bench.sizes.side, bench.sizes.side, device=bench.device)

    @torch.no_grad()
    def forward() -> None:
        model(image)

    seconds, bare = bench.in_turns([lambda: _graph(bench, model), forward], 3)
    yield Figure("reading the graph: times forward", seconds, bare, seconds / bare, "<= 6, or 0.3 s")


def ablation(bench: Bench) -> Iterator[Figure]:
    """Every group's true effect, against the whole network run for every group (reckoned from some of these runs)."""
    sizes = bench.sizes
    model = bench.model(sizes.ablation_width).eval()
    graph = _graph(bench, model)
    image, mask = next(iter(bench.loaders().score_batches(sizes.ablation_images).on(bench.device)))
    method = Ablation()

    @torch.no_grad()
    def sample() -> None:
        for _ in range(sizes.sampled):
            cross_entropy(model(image), mask)

    sample()
    bare = bench.seconds(sample) / sizes.sampled * int(graph.prunable.sum())
    seconds = bench.seconds(lambda: method(model, graph, [(image, mask)]))
    report = method.last_report
    way = "replayed" if report.brute_force is None else f"brute force: {report.brute_force}"
    yield Figure(
        f"ablation of {int(graph.prunable.sum())} groups ({way}), time", seconds, bare, seconds / bare, "<= 0.5"
    )
    yield Figure("ablation, FLOPs", float(report.flops), float(report.brute_force_flops), 1 / report.saving, "<= 0.5")


def _graph(bench: Bench, model: nn.Module) -> ChannelGraph:
    return ChannelGraph.trace(model, torch.zeros(1, 3, bench.sizes.side, bench.sizes.side, device=bench.device))


PARTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "training": training,
    "validation": validation,
    "scores": scores,
    "reading": reading,
    "ablation": ablation,
}


def line(figure: Figure) -> str:
    """One row of the table."""
    return f"{figure.what:66} {figure.seconds:12.4g} {figure.bare_seconds:12.4g} {figure.ratio:8.3f}  {figure.aim}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as it grows; write it as JSON after each part, so that nothing measured is lost."""
    parser = argparse.ArgumentParser(description="Figures of the lab on a GPU, each a ratio measured in one run.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--tiny", action="store_true", help="next to nothing, to try the program")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))} is not among {', '.join(PARTS)}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    sizes = TINY if options.tiny else Sizes()
    bench = Bench(sizes, device)
    print(f"{name}, torch {torch.__version__}; U-Net of width {sizes.width}, {sizes.side} x {sizes.side}, ", end="")
    print(f"batches of {sizes.batch}\n{'':66} {'lab [s]':>12} {'bare [s]':>12} {'ratio':>8}  aim")
    figures: list[Figure] = []
    for part in options.parts or PARTS:
        for figure in PARTS[part](bench):
            figures.append(figure)
            print(line(figure), flush=True)
        if options.json is not None:
            facts = {"device": name, "torch": torch.__version__, "sizes": asdict(sizes)}
            options.json.write_text(json.dumps(facts | {"figures": [asdict(each) for each in figures]}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
