"""Every group of models, pruned by half, gives the same from a file of each format."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pruning_lab import models
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.lab.export import Exporter, ExportOptions
from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.tasks.config import conf_folder
from tests.models.base import lively
from tests.networks.two_paths import random_groups

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

NARROW = {"decoder_channels": [8, 8, 8, 8, 8]}
GROUPS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: models.UNet(3, 3, width=4, depth=2),
    "ritnet": lambda: models.RITnet(3, 3, width=4, depth=2),
    "deeplabv3": lambda: models.DeepLabV3(3, "resnet26_narrow", 3, head_width=8, atrous_rates=[2, 4]),
    "fcn": lambda: models.FCN(3, "resnet26_narrow", 3, head_width=8),
    "lraspp": lambda: models.LRASPP(3, 3, head_width=8),
    "segnet": lambda: models.SegNet(3, 3, width=4),
    "smp": lambda: models.SMP("Unet", "resnet18", 3, 3, options=NARROW),
    "timm": lambda: models.Timm("resnet10t", 3, 3),
    "torchvision": lambda: models.Torchvision("resnet18", 3, 3),
}
NEEDS = {"smp": "segmentation_models_pytorch", "timm": "timm"}
SIZE = (48, 32)


def test_there_is_a_row_for_every_group() -> None:
    assert set(GROUPS) == {path.stem for path in (conf_folder() / "model").glob("*.yaml")} - {"custom"}


@pytest.mark.parametrize("group", GROUPS)
def test_a_pruned_network_is_the_same_in_every_format(group: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(group, "torch"))
    torch.manual_seed(0)
    model = lively(GROUPS[group]())
    graph = ChannelGraph.trace(model, torch.rand(1, 3, *SIZE))
    cut(model, graph, random_groups(graph, 0.5))
    options = ExportOptions(formats=("onnx", "pt2", "torchscript"))
    exporter = Exporter(model, InputFacts((0.5,) * 3, (0.25,) * 3), options, SIZE)
    for form, precision in options.files():
        made = exporter.write(tmp_path, form, precision)
        found = made.agreement
        assert found.max_error is not None
        assert found.largest is not None
        assert found.max_error < 1e-4 * max(1.0, found.largest), form
        # Each network of the project takes any size, and so does what is made of it; a pt2 file may ask for sides of a
        # few pixels.
        assert made.sizes.fixed is None, form
        assert made.sizes.multiple == 1, form
        assert made.sizes.least <= (32 if form == "pt2" else 1), form
        assert made.sizes.any_batch, form
