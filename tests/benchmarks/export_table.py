"""Latency and size of exported files, pruned beside full, as a table: the networks are drawn, nothing is trained.

    python -m tests.benchmarks.export_table

Every layer of the pruned network has half of its filters. One image on one thread, medians, in turns; int8 is
calibrated on noise, which is as fast as any calibration.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from pruning_lab.graph import ChannelGraph
from pruning_lab.lab.export import Calibration, Exporter, ExportOptions
from pruning_lab.lab.export.options import Format, Precision
from pruning_lab.lab.export.sizes import example_images
from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.lab.output.console import QuietReporter
from pruning_lab.models import SMP, DeepLabV3, UNet
from pruning_lab.resources import measure
from pruning_lab.resources.latency import LatencyPlan
from pruning_lab.surgery import cut
from pruning_lab.tasks.export.measuring import Files, measured
from pruning_lab.tasks.report.pages import deliver, markdown_table

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "U-Net, 16 filters": lambda: UNet(3, 2, width=16, depth=4),
    "U-Net on ResNet-18": lambda: SMP("Unet", "resnet18", 3, 2),
    "DeepLabV3, narrow": lambda: DeepLabV3(2, "resnet26_narrow", 3, head_width=64),
}
FILES: tuple[tuple[Format, Precision], ...] = (
    ("onnx", "float32"),
    ("onnx", "int8"),
    ("pt2", "float32"),
    ("torchscript", "float32"),
)


def halved(model: nn.Module, size: int) -> tuple[nn.Module, float]:
    """A copy without half of each layer's filters, and the fraction of FLOPs that is left."""
    model = copy.deepcopy(model).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, size, size))
    full = measure(graph).flops
    gone = torch.zeros(len(graph), dtype=torch.bool)
    for groups in graph.layers.values():
        gone[groups[: len(groups) // 2]] = True
    cut(model, graph, gone & graph.prunable)
    return model, measure(graph).flops / full


def exported(model: nn.Module, size: int, folder: Path) -> Files:
    """A network, and its file of each format."""
    options = ExportOptions(formats=("onnx", "pt2", "torchscript"), precisions=("float32", "int8"))
    calibration = Calibration([example_images((1, 3, size, size), torch.float32)] * 4)
    exporter = Exporter(model, InputFacts((0.5,) * 3, (0.25,) * 3), options, (size, size), (), calibration)
    return exporter, [exporter.write(folder, *kind) for kind in FILES]


def rows(names: Sequence[str], size: int, repeats: int) -> list[dict[str, str]]:
    """A row for each network and file, and for the network itself."""
    found = []
    for name in names:
        torch.manual_seed(0)
        model = NETWORKS[name]().eval()
        pruned, left = halved(model, size)
        with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as base:
            files = exported(pruned, size, Path(own)), exported(model, size, Path(base))
            for row in measured(*files, None, 0, LatencyPlan(repeats=repeats), QuietReporter()):
                assert row.base_latency_ms is not None
                found.append(
                    {
                        "network": f"{name}, {100 * left:.0f} % of FLOPs",
                        "file": f"{row.format} {row.precision}",
                        "full, ms": f"{row.base_latency_ms:.1f}",
                        "pruned, ms": f"{row.latency_ms:.1f}",
                        "times as fast": f"{row.base_latency_ms / row.latency_ms:.2f}",
                        "full, MB": f"{row.base_megabytes:.2f}",
                        "pruned, MB": f"{row.megabytes:.2f}",
                    }
                )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--size", type=int, default=256, help="height and width of the image")
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--into", type=Path, help="a page whose table is replaced; else the table is printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    return deliver(lambda: markdown_table(rows(given.networks, given.size, given.repeats)), given.into, "export")


if __name__ == "__main__":
    sys.exit(main())
