"""What int8 costs: a small U-Net, trained on nuclei, loses at most one point of IoU as onnxruntime's int8 file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning_lab.data import Augmentation, Folder, Loaders
from pruning_lab.graph import ChannelGraph
from pruning_lab.importance import WeightNorm
from pruning_lab.lab.export import Calibration, Exporter, ExportOptions
from pruning_lab.lab.export.checking import iou_of
from pruning_lab.lab.export.deployed import as_input
from pruning_lab.lab.export.opening import Opened
from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.models import UNet
from pruning_lab.surgery import cut
from pruning_lab.training.losses import cross_entropy_dice

pytest.importorskip("onnxruntime")
NUCLEI = os.environ.get("PRUNING_LAB_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NUCLEI is None, reason="PRUNING_LAB_DATA names no folder of nuclei images"),
]
MOST_POINTS = 0.01
EPOCHS, SIDE = 3, 96


def train(model: UNet, loaders: Loaders, epochs: range) -> None:
    loss = cross_entropy_dice()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for epoch in epochs:
        for image, mask in loaders.train_loader(epoch):
            optimizer.zero_grad()
            loss(model(image), mask).backward()
            optimizer.step()
    model.eval()


def pruned_unet(loaders: Loaders) -> UNet:
    """Trained, a quarter of each layer cut by its weights, trained again."""
    torch.manual_seed(0)
    model = UNet(3, 2, width=8, depth=3)
    train(model, loaders, range(EPOCHS))
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, SIDE, SIDE))
    scores = WeightNorm()(model, graph, [])
    worst = torch.cat([groups[scores[groups].argsort()[: len(groups) // 4]] for groups in graph.layers.values()])
    cut(model, graph, worst[graph.prunable[worst]])
    train(model, loaders, range(EPOCHS, EPOCHS + 2))
    return model


def test_int8_loses_at_most_one_point_of_iou_on_nuclei(tmp_path: Path) -> None:
    data = Folder(str(NUCLEI), (SIDE, SIDE))
    model = pruned_unet(Loaders(data, Augmentation([]), batch_size=8))
    facts, options = InputFacts(data.mean, data.std), ExportOptions(precisions=("int8",), pixels="stored", head="mask")

    def given(place: int) -> torch.Tensor:
        return as_input(torch.from_numpy(np.array(data.train[place][0]))[None], facts, options)

    calibration = Calibration([given(place) for place in range(0, len(data.train), 4)])
    exporter = Exporter(model, facts, options, (SIDE, SIDE), [data.val[place][0] for place in range(8)], calibration)
    made = exporter.write(tmp_path, "onnx", "int8")

    def iou(run: Opened) -> float:
        pairs = ((torch.from_numpy(np.array(part))[None] for part in data.val[place]) for place in range(len(data.val)))
        batches = ((as_input(image, facts, options), mask.long()) for image, mask in pairs)
        return iou_of(run, batches, data.class_names, data.ignore_index)

    network, int8 = iou(Opened(exporter.expected)), iou(made.open())
    print(f"\nnetwork {100 * network:.2f} %, int8 {100 * int8:.2f} %, {made.path.stat().st_size / 1e3:.0f} kB")
    assert network > 0.7
    assert int8 > network - MOST_POINTS
