"""What the main job's network takes at a quarter of its FLOPs, by how its groups are chosen. Nothing is trained.

    python -m tests.benchmarks.main_job_latency --runtime eager --cache outputs/latency

The U-Net of `+experiment=unet_ipad` (width 16, depth 4, channels-last) on drawn eyes, with the preset's scores of
random weights: by score alone, with widths of multiples of 8, per saving of FLOPs, and by milliseconds. One thread of
the CPU; all are timed in turns with the base.

The last row is a bound: of all networks of that share of FLOPs, or down to a hundredth less, and with the preset's
floors, the one that the model of latency takes for the fastest. It is found by annealing, and looks at no score.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
from functools import partial
from pathlib import Path

import torch

from pruning_lab.common.copies import copy_of
from pruning_lab.data import Augmentation, Eyes, Loaders
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import Ipad, score
from pruning_lab.models import UNet
from pruning_lab.resources.counting import measure
from pruning_lab.resources.fractions import Fractions
from pruning_lab.resources.latency.clock import Clock
from pruning_lab.resources.latency.measuring import latency_model
from pruning_lab.resources.latency.model import LatencyModel
from pruning_lab.resources.latency.runtimes import prepare
from pruning_lab.resources.latency.target import Target
from pruning_lab.selection import All, Floors, Selection, ShareOf
from pruning_lab.surgery import cut

SIZE = (96, 128)
AMOUNT = ShareOf("flops", 0.05)
SELECTIONS = {
    "score alone": Selection(AMOUNT),
    "multiples of 8": Selection(AMOUNT, round_to=8),
    "per saving of FLOPs": Selection(AMOUNT, per_saving=True),
    "by milliseconds": Selection(AMOUNT, {"flops": 0.0, "latency": 1.0}),
    "by milliseconds, multiples of 8": Selection(AMOUNT, {"flops": 0.0, "latency": 1.0}, round_to=8),
}
FLOOR = 0.2
TRIES, WARMTH, COOLING = 8000, 0.02, 0.9993


def pruned(model: torch.nn.Module, graph: ChannelGraph, selection: Selection, latency: LatencyModel, budget: float):
    """The network at a fraction of its FLOPs, and its graph."""
    model, graph = copy_of(model), copy.copy(graph)
    original = measure(graph)
    floors = Floors(by_type={"Conv2d": FLOOR, "ConvTranspose2d": FLOOR}).resolve(model, graph, original)
    loaders = Loaders(data=Eyes(list(SIZE), 16, 4, 4), augmentation=Augmentation([]), batch_size=8, score_images=8)
    stop = All(flops=budget)
    importance = Ipad(normalize="layer_mean", of="reads", around="own", weights="readers", ranked=True)
    while stop(Fractions(measure(graph), original)):
        scores = score(importance, model, graph, loaders.score_batches())
        now = {"latency": latency.seconds(graph) / latency.whole}
        choice = selection(scores, graph, floors, stop, original, now, latency)
        if not bool(choice.groups.any()):
            break
        cut(model, graph, choice.groups)
    return model, graph


def fastest(
    model: torch.nn.Module, graph: ChannelGraph, latency: LatencyModel, budget: float
) -> tuple[torch.nn.Module, ChannelGraph]:
    """The network of about that share of FLOPs that the model of latency takes for the fastest."""
    whole, draw = measure(graph).macs, random.Random(0)
    layers = {name: row for name, row in graph.layers.items() if bool(graph.prunable[row].all())}
    choices = {name: range(8, len(row) + 1, 8) for name, row in layers.items()}
    choices = {name: [width for width in widths if width >= FLOOR * widths[-1]] for name, widths in choices.items()}

    def leaving(widths: dict[str, int]) -> torch.Tensor:
        return graph.as_mask(torch.cat([layers[name][width:] for name, width in widths.items()]))

    def cost(widths: dict[str, int]) -> float:
        groups = leaving(widths)
        flops = measure(graph, groups).macs / whole
        outside = max(0.0, flops - budget, budget - 0.01 - flops)
        return latency.seconds(graph, groups) / latency.whole + 20 * outside

    now = {name: widths[len(widths) // 2] for name, widths in choices.items()}
    cost_now, warmth = cost(now), WARMTH
    best, least = now, cost_now
    for _ in range(TRIES):
        other = now | {name: draw.choice(choices[name]) for name in draw.sample(list(choices), draw.choice((1, 2, 3)))}
        cost_then = cost(other)
        if cost_then < cost_now or draw.random() < math.exp((cost_now - cost_then) / warmth):
            now, cost_now = other, cost_then
        if cost_now < least:
            best, least = now, cost_now
        warmth *= COOLING
    model, graph = copy_of(model), copy.copy(graph)
    cut(model, graph, leaving(best))
    return model, graph


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--flops", type=float, default=0.25)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    target = Target(given.runtime, cache=given.cache).filled("cpu", "float32", given.runtime == "eager", SIZE, 1)
    model = UNet(3, 4, width=given.width, depth=4).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, *SIZE))
    latency = latency_model(model, graph, target, 3, tell=partial(print, flush=True))
    networks = {name: pruned(model, graph, each, latency, given.flops) for name, each in SELECTIONS.items()}
    networks["the fastest there is, multiples of 8"] = fastest(model, graph, latency, given.flops)
    works = [prepare(one, target.example(3), target) for one in (model, *(network for network, _ in networks.values()))]
    base, *others = Clock(target).in_turns([work.run for work in works], rounds=5)
    whole = measure(graph).macs
    print(f"base: {1000 * base.time * latency.unit:.1f} ms on {target.told}; steps of {latency.step} channels\n")
    print("| groups leave | FLOPs left | time left | predicted |", "|---|---|---|---|", sep="\n")
    for (name, (_, left)), reading in zip(networks.items(), others, strict=True):
        flops, predicted = measure(left).macs / whole, latency.seconds(left) / latency.whole
        print(f"| {name} | {100 * flops:.1f} % | {100 * reading.time / base.time:.1f} % | {100 * predicted:.1f} % |")


if __name__ == "__main__":
    main()
