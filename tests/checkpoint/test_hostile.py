"""A stranger's folder touches nothing: no network, no file outside it, and no more memory than its weights need."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pruning_lab.checkpoint import Builder, load, save
from pruning_lab.checkpoint.architecture import ARCHITECTURE, sealed
from pruning_lab.checkpoint.weights import WEIGHTS
from pruning_lab.common.errors import LabError
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.models import UNet
from tests.checkpoint.folders import edit, peak_bytes
from tests.networks.two_paths import random_groups, traced

SECONDS = 1.0
MOST_BYTES = 128 * 2**20
"""Of memory that a refused folder may take on its way; libraries are imported before."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model, graph = traced(UNet(classes=3, width=4, depth=2))
    cut(model, graph, random_groups(graph, 0.4))
    return save(tmp_path / "model", model, graph)


reached: list[str] = []
"""What was reached for outside the folder while `watching` was set."""
watching: list[Path] = []


def _listen(event: str, args: Any) -> None:
    if not watching:
        return
    if event.startswith(("socket.", "subprocess.", "os.system", "os.posix_spawn", "os.fork")):
        reached.append(event)
    elif event == "open" and isinstance(args[0], str):
        path = os.path.abspath(args[0])
        if not path.startswith((str(watching[0]), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))):
            reached.append(f"open {path}")


sys.addaudithook(_listen)


@pytest.fixture
def outside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the test reaches for outside the folder."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        reached.append("connect")
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    pytest.importorskip("segmentation_models_pytorch")
    reached.clear()
    watching.append(folder)
    yield reached
    watching.clear()


SMP, TIMM, SEGMENTATION = "segmentation_models_pytorch", "timm.create_model", "torchvision.models.segmentation"

PLACES: list[tuple[str, dict[str, Any], str]] = [
    (TIMM, {"model_name": "hf-hub:timm/resnet18.a1_in1k"}, "address or a path"),
    (TIMM, {"model_name": "hf_hub:timm/resnet18.a1_in1k"}, "address or a path"),
    (TIMM, {"model_name": "HF-HUB:timm/resnet18"}, "address or a path"),
    (TIMM, {"model_name": "local-dir:/etc"}, "address or a path"),
    (TIMM, {"model_name": "local-dir:."}, "address or a path"),
    (TIMM, {"model_name": "timm/resnet18"}, "address or a path"),
    (TIMM, {"model_name": "resnet18", "pretrained_cfg": {"file": "/etc/passwd"}}, "pretrained_cfg|address or a path"),
    (TIMM, {"model_name": "resnet18", "pretrained_cfg": "a1_in1k"}, "pretrained_cfg"),
    (TIMM, {"model_name": "resnet18", "pretrained_cfg_overlay": {"url": "x"}}, "pretrained_cfg_overlay"),
    (TIMM, {"model_name": "resnet18", "checkpoint_path": "weights"}, "checkpoint_path"),
    (TIMM, {"model_name": "resnet18", "cache_dir": "here"}, "cache_dir"),
    (TIMM, {"model_name": "resnet18", "pretrained_model_args": {"a": 1}}, "pretrained_model_args"),
    (TIMM, {"model_name": "resnet18", "pretrained": True}, "weights"),
    (f"{SMP}.Unet", {"encoder_name": "tu-hf-hub:timm/resnet18"}, "address or a path"),
    (f"{SMP}.Unet", {"encoder_name": "tu-local-dir:/etc"}, "address or a path"),
    (f"{SMP}.Unet", {"encoder_name": "resnet18"}, "weights"),  # whose default fetches encoder weights
    (f"{SMP}.Unet", {"encoder_name": "resnet18", "encoder_weights": "imagenet"}, "weights"),
    (f"{SMP}.create_model", {"arch": "fpn", "encoder_name": "resnet18"}, "weights"),
    (f"{SMP}.encoders.TimmUniversalEncoder", {"name": "hf-hub:timm/resnet18"}, "address or a path"),
    (f"{SMP}.encoders.TimmUniversalEncoder", {"name": "resnet18"}, "weights"),  # pretrained by default
    (f"{SMP}.encoders.timm_vit.TimmViTEncoder", {"name": "vit_tiny_patch16_224"}, "weights"),
    (f"{SMP}.from_pretrained", {"pretrained_model_name_or_path": "x"}, "allow-listed"),
    (f"{SEGMENTATION}.fcn_resnet50", {}, "weights"),  # whose default fetches a backbone
    (f"{SEGMENTATION}.fcn_resnet50", {"weights": "DEFAULT", "weights_backbone": "DEFAULT"}, "weights"),
    ("torchvision.models.detection.ssdlite320_mobilenet_v3_large", {}, "weights"),
    ("torchvision.models.resnet18", {"weights": "IMAGENET1K_V1"}, "weights"),
    ("torchvision.models.get_model", {"name": "resnet18", "weights": "DEFAULT"}, "allow-listed"),
    ("pruning_lab.models.Timm", {"name": "hf-hub:timm/resnet18"}, "address or a path"),
    ("pruning_lab.models.Timm", {"name": "resnet18", "pretrained": True}, "weights"),
    ("pruning_lab.models.Timm", {"name": "resnet18", "options": {"checkpoint_path": "x"}}, "checkpoint_path"),
    (
        "pruning_lab.models.Timm",
        {"name": "resnet18", "options": {"cache_dir": "x"}},
        "cache_dir",
    ),
    ("pruning_lab.models.SMP", {"encoder": "tu-hf-hub:timm/resnet18"}, "address or a path"),
    ("pruning_lab.models.SMP", {"encoder": "resnet18", "pretrained": True}, "weights"),
    ("pruning_lab.models.Torchvision", {"name": "resnet18", "pretrained": True}, "weights"),
    ("pruning_lab.models.DeepLabV3", {"backbone": "resnet50", "pretrained": True}, "weights"),
]


@pytest.mark.parametrize(("target", "arguments", "named"), PLACES)
def test_no_argument_reaches_the_network_or_the_disk(
    target: str, arguments: dict[str, Any], named: str, folder: Path, outside: list[str]
) -> None:
    edit(folder, builder={"target": target, "arguments": arguments})
    with pytest.raises(LabError, match=named) as caught:
        load(folder)
    assert not outside
    assert "\n" not in str(caught.value)


SIZES: list[tuple[str, dict[str, Any], str]] = [
    ("pruning_lab.models.UNet", {"width": 10**12}, "builder.arguments.width=1000000000000"),
    ("pruning_lab.models.UNet", {"depth": 10**9}, "builder.arguments.depth=1000000000"),
    ("pruning_lab.models.UNet", {"depth": 10**6}, "UNet.*does not fit the weights: it computes for more than"),
    ("pruning_lab.models.UNet", {"depth": 40}, "UNet.*does not fit the weights"),
    ("pruning_lab.models.UNet", {"classes": 10**12}, "builder.arguments.classes"),
    ("pruning_lab.models.UNet", {"in_channels": 10**12}, "builder.arguments.in_channels"),
    ("pruning_lab.models.UNet", {"classes": 2**20, "width": 2**20}, "weights|shape"),
    ("pruning_lab.models.UNet", {"width": 1e300}, "builder.arguments.width"),
    ("torch.nn.Linear", {"in_features": 2**20, "out_features": 2**20}, "the original has not|has no|have no"),
    ("torch.nn.Conv2d", {"in_channels": 2**20, "out_channels": 2**19, "kernel_size": 1000}, "weights|Conv2d"),
    ("torch.nn.Transformer", {"num_encoder_layers": 2**20, "d_model": 8, "nhead": 2}, "does not fit the weights"),
    ("torch.nn.LSTM", {"input_size": 2**20, "hidden_size": 2**18, "num_layers": 2**10}, "LSTM"),
    ("torch.nn.ParameterList", {"values": [0.5] * 2**16}, "weights have"),
    ("torchvision.models.swin_transformer.ShiftedWindowAttention",
     {"dim": 8, "window_size": [500, 500], "shift_size": [0, 0], "num_heads": 2}, "ShiftedWindowAttention|weights"),
    ("torchvision.models.resnet18", {"num_classes": 2**20}, "weights"),
    ("timm.create_model", {"model_name": "resnet18", "num_classes": 2**20}, "weights"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "arguments", "named"), SIZES)
def test_no_argument_takes_time_or_memory_beyond_the_weights(
    target: str, arguments: dict[str, Any], named: str, folder: Path
) -> None:
    load(folder)
    edit(folder, builder={"target": target, "arguments": arguments})
    started = time.process_time()
    with peak_bytes() as grown, pytest.raises(LabError, match=named):
        load(folder)
    assert time.process_time() - started < SECONDS
    assert max(grown, default=0) < MOST_BYTES


@pytest.mark.parametrize("place", ["builder", "about", "layers", "attributes", "text"])
def test_brackets_in_brackets_are_refused(place: str, folder: Path) -> None:
    nest = "[" * 200_000 + "]" * 200_000
    content = json.loads((folder / ARCHITECTURE).read_text())
    text = nest if place == "text" else json.dumps({**content, place: "HERE"}).replace('"HERE"', nest)
    (folder / ARCHITECTURE).write_text(text)
    started = time.process_time()
    with pytest.raises(LabError, match=ARCHITECTURE) as caught:
        load(folder)
    assert time.process_time() - started < SECONDS
    assert "\n" not in str(caught.value)


def test_a_few_hundred_brackets_are_refused_where_json_takes_them(folder: Path) -> None:
    nest: Any = {}
    for _ in range(300):
        nest = [nest]
    for part in ({"about": {"x": nest}}, {"builder": {"target": "pruning_lab.models.UNet", "arguments": {"x": nest}}}):
        with pytest.raises(LabError, match="deep"):
            load(edit(folder, **{"about": {}, **part}))


COUNTS: list[tuple[dict[str, Any], str]] = [
    ({"groups": {"inc.conv1": 0}}, r"groups\.inc\.conv1"),
    ({"groups": {"inc.conv1": -1}}, r"groups\.inc\.conv1"),
    ({"groups": {"inc.conv1": 10**12}}, r"groups\.inc\.conv1"),
    ({"groups": {"inc.conv1": 7}}, r"groups\.inc\.conv1=7"),
    ({"groups": {"inc.norm1": 2}}, r"groups\.inc\.norm1"),
    ({"groups": {"nothing": 2}}, r"groups\.nothing"),
    ({"groups": None}, "groups"),
    ({"layers": None}, "layers"),
    ({"layers": {"inc.conv1": {"original": 4, "current": 10**12, "kept": [0]}}}, r"layers\.inc\.conv1\.current"),
    ({"layers": {"inc.conv1": {"original": 4, "current": 2, "kept": [0, 9]}}}, r"layers\.inc\.conv1\.kept"),
    ({"layers": {"inc.conv1": {"original": 4, "current": 2, "kept": [1, 0]}}}, r"layers\.inc\.conv1\.kept"),
    ({"layers": {"inc.conv1": {"original": 4, "current": 1, "kept": [0, 1]}}}, r"layers\.inc\.conv1\.kept"),
    ({"layers": {"inc.conv1": {}}}, r"layers\.inc\.conv1\.original"),
    ({"dropped": [0]}, "dropped"),
    ({"dropped": ["nothing"]}, "nothing"),
    ({"attributes": {"inc.norm1": {"num_features": 10**12}}}, r"attributes\.inc\.norm1\.num_features"),
    ({"attributes": {"inc.norm1": {"num_features": True}}}, r"attributes\.inc\.norm1\.num_features"),
    ({"attributes": {"inc.norm1": 3}}, r"attributes\.inc\.norm1"),
    ({"weights": {}}, "weights"),
    ({"builder": {"target": "pruning_lab.models.UNet"}}, r"builder\.arguments"),
]


@pytest.mark.parametrize(("entries", "named"), COUNTS)
def test_counts_that_do_not_fit_are_refused_by_name(entries: dict[str, Any], named: str, folder: Path) -> None:
    with pytest.raises(LabError, match=named) as caught:
        load(edit(folder, **entries))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [ARCHITECTURE, WEIGHTS])
def test_a_link_out_of_the_folder_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match=f"{name} is a link out of its folder"):
        load(folder)


@pytest.mark.parametrize("name", [ARCHITECTURE, WEIGHTS])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(LabError, match="is no file"):
        load(folder)


def test_a_link_inside_the_folder_and_a_link_to_the_folder_are_taken(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(folder / "w")
    (folder / WEIGHTS).symlink_to("w")
    (tmp_path / "other").symlink_to(folder)
    assert isinstance(load(tmp_path / "other"), nn.Module)


def test_what_was_edited_or_flipped_is_told(folder: Path) -> None:
    text = (folder / ARCHITECTURE).read_text()
    (folder / ARCHITECTURE).write_text(text.replace('"width": 4', '"width": 5'))
    with pytest.raises(LabError, match=f"{ARCHITECTURE} was changed since it was saved"):
        load(folder)
    (folder / ARCHITECTURE).write_text(text)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 4
    (folder / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(LabError, match=f"{WEIGHTS} is damaged or another model's"):
        load(folder)


def test_a_model_far_larger_than_its_rest_takes_the_memory_of_the_rest(tmp_path: Path) -> None:
    model, graph = traced(UNet(classes=3, width=8, depth=2))
    cut(model, graph, random_groups(graph, 0.5))
    folder = save(tmp_path, model, graph)
    arguments = {**json.loads((folder / ARCHITECTURE).read_text())["builder"]["arguments"], "width": 2048}
    edit(folder, builder={"target": "pruning_lab.models.UNet", "arguments": arguments})
    with peak_bytes() as grown:
        again = load(folder)
    image = torch.zeros(1, 3, 16, 16)
    assert torch.equal(again(image), model(image))
    assert max(grown, default=0) < MOST_BYTES  # the original's weights would take 1.2 GB


def test_sealing_is_no_lock_but_tells_accidents(folder: Path) -> None:
    content = json.loads((folder / ARCHITECTURE).read_text())
    assert sealed(content) == content
    assert sealed({**content, "about": {"x": 1}})["sha256"] != content["sha256"]


def test_a_builder_is_not_run_for_a_folder_whose_weights_are_not_those_saved(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")
    edit(folder, builder={"target": "tests.checkpoint.test_hostile.explode", "arguments": {}})
    with pytest.raises(LabError, match="damaged"):
        load(folder, trust=("tests",))


def explode() -> nn.Module:
    raise AssertionError("was run")


def test_what_the_library_builds_late_is_imported_inside_the_bounds(tmp_path: Path) -> None:
    model = Builder("pruning_lab.models.Timm", {"name": "test_resnet", "classes": 2}).build().eval()
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(save(tmp_path, model))(image), model(image))
