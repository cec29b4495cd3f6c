"""A checkpoint gives the pruned model back from two files, and runs no code from the folder."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pruning_lab.checkpoint import Builder, load, read_architecture, restore_origin, save
from pruning_lab.checkpoint.architecture import ARCHITECTURE
from pruning_lab.checkpoint.folder import original
from pruning_lab.checkpoint.trust import resolve_builder
from pruning_lab.checkpoint.weights import WEIGHTS
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.models import UNet
from tests.checkpoint.folders import edit
from tests.networks.two_paths import random_groups, traced

IMAGE = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)


@pytest.fixture
def pruned() -> tuple[nn.Module, ChannelGraph]:
    model, graph = traced(UNet(classes=3, width=4, depth=2))
    cut(model, graph, random_groups(graph, 0.4))
    return model, graph


def test_the_pruned_model_comes_back_bit_for_bit(pruned, tmp_path: Path) -> None:
    model, graph = pruned
    again = load(save(tmp_path, model, graph))
    assert torch.equal(again(IMAGE), model(IMAGE))
    assert not again.training
    assert [m.in_channels for m in again.modules() if isinstance(m, nn.Conv2d)] == [
        m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)
    ]


def test_the_original_is_built_again_with_its_full_widths(pruned, tmp_path: Path) -> None:
    built = original(save(tmp_path, *pruned))
    whole = UNet(classes=3, width=4, depth=2)
    assert {name: value.shape for name, value in built.state_dict().items()} == {
        name: value.shape for name, value in whole.state_dict().items()
    }


@pytest.mark.slow
def test_a_fresh_process_needs_the_folder_alone(pruned, tmp_path: Path) -> None:
    model, graph = pruned
    folder = save(tmp_path / "model", model, graph)
    code = (
        "import sys, torch; from pruning_lab.checkpoint import load; "
        "image = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16); "
        "print(load(sys.argv[1])(image).double().sum().item())"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert float(answer.stdout) == pytest.approx(model(IMAGE).double().sum().item(), rel=1e-6)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnext50_32x4d", "densenet121"])
def test_library_models_with_grouped_convolutions_come_back(name: str, tmp_path: Path) -> None:
    import torchvision

    model = getattr(torchvision.models, name)(weights=None).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 32, 32))
    cut(model, graph, random_groups(graph, 0.5))
    again = load(save(tmp_path, model, graph, Builder(f"torchvision.models.{name}", {"weights": None})))
    image = torch.randn(1, 3, 32, 32)
    # The weights are the same bits; which kernel runs may depend on how they lie in memory.
    torch.testing.assert_close(again(image), model(image))
    for (one, tensor), (other, loaded) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert one == other
        assert torch.equal(tensor, loaded)


def test_a_grouped_convolution_that_is_left_with_one_group_comes_back(tmp_path: Path) -> None:
    model, graph = traced()
    rest = graph.prunable.clone()
    rest[graph.layers["depthwise"][0]] = False
    while emptied := graph.emptied(rest):
        rest[graph.layers[emptied[0]][0]] = False
    cut(model, graph, rest)
    assert model.depthwise.groups == 1
    again = load(save(tmp_path, model, graph), trust=("tests",))
    assert again.depthwise.groups == 1
    assert torch.equal(again(IMAGE), model(IMAGE))


class Halves(nn.Module):
    """Holds the width of its halves in an attribute, as Res2Net does."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.width = width
        self.half = width // 2
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.InstanceNorm2d(width)
        self.second = nn.Conv2d(self.half, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        one, other = self.norm(self.first(image)).split(self.half, dim=1)
        return self.second(one + other)


def test_widths_that_the_model_holds_in_attributes_come_back(tmp_path: Path) -> None:
    model, graph = traced(Halves())
    cut(model, graph, random_groups(graph, 0.5))
    assert model.half < 4
    again = load(save(tmp_path, model, graph), trust=("tests",))
    assert again.half == model.half
    assert again.norm.num_features == model.norm.num_features
    assert torch.equal(again(IMAGE), model(IMAGE))


@pytest.mark.parametrize(
    "entry", [{"": {"forward": 3}}, {"": {"half": "x"}}, {"first": {"nothing": 1}}, {"x": {"y": 1}}]
)
def test_attributes_of_a_strangers_folder_set_nothing_but_widths(entry: dict, tmp_path: Path) -> None:
    model, graph = traced(Halves())
    save(tmp_path, model, graph)
    edit(tmp_path, attributes=entry)
    with pytest.raises(LabError, match="is no width"):
        load(tmp_path, trust=("tests",))


def test_the_original_is_on_record(pruned, tmp_path: Path) -> None:
    model, graph = pruned
    save(tmp_path, model, graph, about={"classes": ["a", "b", "c"]})
    architecture = read_architecture(tmp_path)
    layer = architecture["layers"]["inc.conv1"]
    assert layer["original"] == 4
    assert layer["kept"] == graph.original["inc.conv1"].tolist()
    assert layer["current"] == len(layer["kept"]) == model.inc.conv1.out_channels
    assert architecture["builder"]["arguments"]["width"] == 4
    assert architecture["about"] == {"classes": ["a", "b", "c"]}


def test_pruning_goes_on_with_the_originals_indices(pruned, tmp_path: Path) -> None:
    model, graph = pruned
    again = load(save(tmp_path, model, graph))
    second = ChannelGraph.trace(again, IMAGE)
    restore_origin(second, tmp_path)
    assert {n: kept.tolist() for n, kept in second.original.items()} == {
        n: kept.tolist() for n, kept in graph.original.items()
    }
    assert second.original_widths == graph.original_widths


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.hub.load",
        "torch.load",
        "timm.models.load_checkpoint",
        "torchvision.models.get_model_weights",
        "pruning_lab.models.unet.Tensor",
        "pruning_lab.checkpoint.load",
        "tests.networks.two_paths.TwoPaths",
    ],
)
def test_a_folder_from_a_stranger_builds_no_other_thing(target: str, pruned, tmp_path: Path) -> None:
    save(tmp_path, *pruned)
    edit(tmp_path, builder={"target": target, "arguments": {}})
    with pytest.raises(LabError, match=r"trust=|can't be imported") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_trust_lets_a_users_own_class_be_built(tmp_path: Path) -> None:
    model, graph = traced()
    cut(model, graph, random_groups(graph, 0.4))
    save(tmp_path, model, graph)
    for trust in (("tests",), True):
        assert torch.equal(load(tmp_path, trust=trust)(IMAGE), model(IMAGE))


def test_arguments_that_would_fetch_or_read_files_are_taken_back_or_refused(pruned, tmp_path: Path) -> None:
    model, graph = pruned
    save(tmp_path, model, graph)
    edit(
        tmp_path, builder={"target": "timm.create_model", "arguments": {"model_name": "x", "checkpoint_path": "/evil"}}
    )
    with pytest.raises(LabError, match="checkpoint_path"):
        load(tmp_path)


def test_modules_of_allowed_libraries_are_builders() -> None:
    assert resolve_builder("torch.nn.Conv2d") is nn.Conv2d
    assert resolve_builder("pruning_lab.models.UNet") is UNet


def test_damage_is_told_in_one_line(pruned, tmp_path: Path) -> None:
    def broken(name: str, content: bytes | None) -> Path:
        folder = tmp_path / name
        save(folder, *pruned)
        for part in (ARCHITECTURE, WEIGHTS):
            if name.startswith(part):
                (folder / part).unlink() if content is None else (folder / part).write_bytes(content)
        return folder

    cases = [
        (broken(ARCHITECTURE + " gone", None), "does not exist"),
        (broken(ARCHITECTURE + " cut", b'{"format"'), "damaged"),
        (broken(ARCHITECTURE + " other", b'{"format": "x"}'), "format"),
        (broken(WEIGHTS + " gone", None), "does not exist"),
        (broken(WEIGHTS + " cut", b"\x00\x01"), "damaged"),
    ]
    for folder, told in cases:
        with pytest.raises(LabError, match=told) as caught:
            load(folder)
        assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(pruned, tmp_path: Path) -> None:
    save(tmp_path, *pruned)
    other = save(tmp_path / "other", UNet(classes=3, width=8, depth=2))
    (tmp_path / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    edit(tmp_path, weights=read_architecture(other)["weights"])
    with pytest.raises(LabError, match="shape"):
        load(tmp_path)


def test_a_model_that_does_not_keep_its_arguments_needs_a_builder(tmp_path: Path) -> None:
    class Forgetful(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, width, 1)

    with pytest.raises(LabError, match="width"):
        save(tmp_path, Forgetful(4))
