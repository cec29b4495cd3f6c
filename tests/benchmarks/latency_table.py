"""How well latency is predicted: random prunings of five networks, predicted and measured, on every runtime there is.

    python -m tests.benchmarks.latency_table --networks unet mobilenet_v2 --runtimes eager onnxruntime --prunings 50

One thread; image of 128 x 128. `--cache` keeps the times, so that a second call measures only the prunings.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from pruning_lab.common.copies import copy_of
from pruning_lab.graph import ChannelGraph
from pruning_lab.models import SMP, DeepLabV3, RITnet, Torchvision, UNet
from pruning_lab.resources.latency.clock import Clock
from pruning_lab.resources.latency.measuring import latency_model
from pruning_lab.resources.latency.runtimes import prepare
from pruning_lab.resources.latency.target import Target
from pruning_lab.surgery import cut

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: UNet(3, 2),
    "ritnet": lambda: RITnet(3, 4),
    "deeplabv3": lambda: DeepLabV3(classes=2),
    "smp_unet_resnet18": lambda: SMP("Unet", "resnet18", classes=2),
    "mobilenet_v2": lambda: Torchvision("mobilenet_v2", classes=10),
}


def compare(name: str, target: Target, prunings: int, size: int) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    model = NETWORKS[name]().eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, size, size))
    started = time.perf_counter()
    predictor = latency_model(model, graph, target, 3, tell=lambda text: print(f"  {text}", flush=True))
    took = time.perf_counter() - started
    clock = Clock(target)
    errors, signed = [], []
    for seed in range(prunings):
        network = copy.copy(graph)
        small = copy_of(model)
        cut(small, network, draw(graph, seed))
        work = prepare(small, target.example(3), target)
        reading = clock.in_turns([work.run], rounds=2)[0]
        predicted, measured = predictor.seconds(network), reading.time * predictor.unit
        signed.append(predicted / measured - 1)
        errors.append(abs(signed[-1]))
    ordered = sorted(errors)
    base = 1000 * predictor.whole
    return (
        f"| {name} | {target.runtime} | {base:.1f} | {100 * statistics.median(errors):.1f} % "
        f"| {100 * ordered[int(0.9 * len(ordered))]:.1f} % | {100 * statistics.median(signed):+.1f} % | {took:.0f} s |"
    )


def draw(graph: ChannelGraph, seed: int) -> torch.Tensor:
    """Random groups: layers that are tied keep one fraction, drawn between a tenth and all; the others theirs."""
    generator = random.Random(1000 + seed)
    common = generator.uniform(0.1, 1) if seed % 2 else None
    removed = torch.zeros(len(graph), dtype=torch.bool)
    done: set[int] = set()
    for row in graph.layers.values():
        groups = [one for one in row.unique().tolist() if one >= 0 and one not in done and bool(graph.prunable[one])]
        done.update(groups)
        keep = max(1, round((common or generator.uniform(0.1, 1)) * len(groups)))
        if len(groups) > keep:
            removed[generator.sample(groups, len(groups) - keep)] = True
    return removed


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    runtimes = ["eager", "onnxruntime"]
    parser.add_argument("--runtimes", nargs="+", default=runtimes)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--prunings", type=int, default=50)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(
        "| network | runtime | base, ms | median error | 90 % | bias | table |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for runtime in given.runtimes:
        for name in given.networks:
            device = "cpu" if runtime == "onnxruntime" else given.device
            target = Target(runtime, cache=given.cache)
            target = target.filled(device, given.precision, False, (given.size, given.size), 1)
            print(compare(name, target, given.prunings, given.size), flush=True)


if __name__ == "__main__":
    main()
