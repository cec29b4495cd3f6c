"""A saved model comes back as the same network, or `save` says what would differ and how to pass a builder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_lab.checkpoint import Builder, load, save
from pruning_lab.checkpoint.trust import resolve_builder, safe_arguments
from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.graph.cutting.module_sizes import held_value
from tests.graph.helpers import difference, draw
from tests.graph.proof.test_sizes_set_along import NETWORKS
from tests.networks.constructs import make

IMAGE = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)


class Forgetful(nn.Module):
    """Keeps none of its arguments."""

    def __init__(self, width: int = 8, dilation: int = 1, slope: float = 0.01, act: Callable[..., Any] = torch.relu):
        super().__init__()
        self.a = nn.Conv2d(3, width, 3, padding=1, dilation=dilation)
        self.norm = nn.GroupNorm(4, width, eps=slope)
        self.act, self.last = nn.LeakyReLU(slope), act
        self.b = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.b(self.act(self.norm(self.a(image)))))


PATH = f"{__name__}.Forgetful"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"width": 16}, r"a\.weight"),
        ({"dilation": 2}, r"a\.dilation is 2 in the model, 1 in the rebuilt one"),
        ({"slope": 0.3}, r"norm\.eps is 0\.3 in the model, 0\.01"),
        ({"act": torch.sigmoid}, "last is sigmoid in the model, relu"),
    ],
)
def test_an_argument_that_the_model_does_not_keep_is_not_dropped(
    arguments: dict[str, Any], named: str, tmp_path: Path
) -> None:
    model = Forgetful(**arguments)
    with pytest.raises(LabError, match=named) as caught:
        save(tmp_path / "model", model)
    assert "builder=Builder(target, arguments)" in str(caught.value)
    assert "width, dilation, slope, act" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_defaults_need_no_builder(tmp_path: Path) -> None:
    model = Forgetful().eval()
    assert torch.equal(load(save(tmp_path, model), trust=("tests",))(IMAGE), model(IMAGE))


def test_a_builder_keeps_all_arguments(tmp_path: Path) -> None:
    arguments = {"width": 16, "dilation": 2, "slope": 0.3}
    model = Forgetful(**arguments).eval()
    graph = ChannelGraph.trace(model, IMAGE)
    cut(model, graph, [int(graph.prunable.nonzero()[0])])
    again = load(save(tmp_path, model, graph, Builder(PATH, arguments)), trust=("tests",))
    assert torch.equal(again(IMAGE), model(IMAGE))
    assert again.norm.num_channels == model.norm.num_channels == len(model.norm.weight)


def test_a_network_that_a_builder_made_remembers_it(tmp_path: Path) -> None:
    model = Builder(PATH, {"slope": 0.3}).build().eval()
    assert torch.equal(load(save(tmp_path, model), trust=("tests",))(IMAGE), model(IMAGE))


def test_a_wrong_builder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"act\.negative_slope|norm\.eps"):
        save(tmp_path, Forgetful(slope=0.3), builder=Builder(PATH, {"slope": 0.2}))
    with pytest.raises(LabError, match="weights have no weight, which the original has"):
        save(tmp_path, Forgetful(), builder=Builder("torch.nn.Conv2d", {
            "in_channels": 3, "out_channels": 2, "kernel_size": 1}))  # fmt: skip
    with pytest.raises(LabError, match="can't be imported"):
        save(tmp_path, Forgetful(), builder=Builder("nowhere.Forgetful"))


def changed(change: Callable[[nn.Module], Any]) -> nn.Module:
    model = Forgetful()
    change(model)
    return model


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda model: setattr(model.a, "padding_mode", "reflect"), r"a\.padding_mode is reflect in the model, zeros"),
        (lambda model: setattr(model, "act", nn.ReLU()), "act is ReLU in the model, LeakyReLU"),
        (lambda model: model.add_module("more", nn.ReLU()), "more is in the model alone"),
        (lambda model: nn.utils.parametrizations.weight_norm(model.a), "weights have no a.weight"),
        (lambda model: prune.random_unstructured(model.a, "weight", 0.5), "weights have no a.weight"),
        (lambda model: setattr(model, "loose", [nn.Conv2d(1, 1, 1)]), "loose .*not registered"),
        (lambda model: setattr(model, "grid", torch.arange(3)), "grid"),
    ],
)
def test_what_was_changed_after_building_is_told(
    change: Callable[[nn.Module], Any], named: str, tmp_path: Path
) -> None:
    with pytest.raises(LabError, match=named):
        save(tmp_path, changed(change))


class WithMemory(nn.Module):
    """Counts its passes, keeps an activation, and logs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 2, 1)
        self.passes, self.seen, self.log, self.kept = 0, None, [], {}

    def forward(self, image: Tensor) -> Tensor:
        self.passes += 1
        self.seen = self.a(image)
        self.log.append(self.passes)
        self.kept["last"] = self.seen
        return self.seen


def test_what_a_forward_pass_leaves_behind_is_no_other_network(tmp_path: Path) -> None:
    model = WithMemory().eval()
    model(IMAGE)
    assert torch.equal(load(save(tmp_path, model), trust=("tests",))(IMAGE), model(IMAGE))


class WithItems(nn.Module):
    """Leaves its features in a list of random placeholders that it was built with, as MONAI's DynUNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        self.place, self.kept = 1, [torch.rand(1), torch.rand(1)]

    def forward(self, image: Tensor) -> Tensor:
        self.kept[self.place - 1] = self.first(image)
        return self.last(self.kept[0])


def test_items_that_a_forward_pass_assigns_are_no_other_network(tmp_path: Path) -> None:
    model = WithItems().eval()
    assert torch.equal(load(save(tmp_path, model), trust=True)(IMAGE), model(IMAGE))
    model.place = 2
    with pytest.raises(LabError, match="place is 2 in the model, 1 in the rebuilt one"):
        save(tmp_path, model)


@pytest.mark.parametrize("name", ["weight norm, old style", "spectral norm, old style"])
def test_a_weight_that_is_computed_before_each_pass_is_no_other_network(name: str, tmp_path: Path) -> None:
    model, inputs = make(name)
    graph = ChannelGraph.trace(model, inputs)
    cut(model, graph, draw(graph, 0))
    loaded = load(
        save(tmp_path, model, graph, Builder("tests.benchmarks.cases.original", {"name": f"small nets/{name}"})), True
    )
    assert difference(loaded(*inputs), model(*inputs)) < 1e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_sizes_that_followed_a_cut_come_back(network: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    image, _, attribute = NETWORKS[network]
    model = network().eval()
    graph = ChannelGraph.trace(model, image)
    cut(model, graph, draw(graph, 0))
    loaded = load(save(tmp_path, model, graph), trust=True)
    assert torch.allclose(loaded(image), model(image), atol=1e-6)
    holder = next(held.module for held in graph.held if held.attribute == attribute)
    before, after = (held_value(one.get_submodule(holder), attribute) for one in (model, loaded))
    assert type(after) is type(before)
    assert after == before


class Outer:
    class Inner(nn.Module):
        """A class inside another."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 2, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.a(image)


def test_a_class_inside_a_class_comes_back(tmp_path: Path) -> None:
    model = Outer.Inner().eval()
    assert torch.equal(load(save(tmp_path, model), trust=("tests",))(IMAGE), model(IMAGE))
    with pytest.raises(LabError, match="trust="):
        resolve_builder("torch.nn.Conv2d.forward")


def test_a_class_inside_a_function_is_told_where_to_go(tmp_path: Path) -> None:
    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 2, 1)

    with pytest.raises(LabError, match="define it in a module of its own"):
        save(tmp_path, Local())


def test_a_model_of_ones_own_is_told_how_to_be_trusted(tmp_path: Path) -> None:
    save(tmp_path, Forgetful())
    with pytest.raises(LabError, match=r"trust tests's code, call load\(folder, trust=\('tests',\)\)"):
        load(tmp_path)


class Shared(nn.Module):
    """Holds a block under two names, a weight under two, and a normalization without tensors."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.InstanceNorm2d(8, affine=True)
        self.block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm, nn.BatchNorm2d(8, affine=False), nn.ReLU())
        self.plain = nn.GroupNorm(2, 8, affine=False)
        self.twice, self.again = nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False)
        self.again.weight = self.twice.weight
        self.chain = nn.ModuleList([self.block, self.plain, self.twice, self.again, nn.Conv2d(8, 2, 1)])

    def forward(self, image: Tensor) -> Tensor:
        for step in self.chain:
            image = step(image)
        return image


def test_what_has_two_names_comes_back(tmp_path: Path) -> None:
    model = Shared().eval()
    graph = ChannelGraph.trace(model, IMAGE)
    removed = graph.prunable.nonzero().flatten()[:1].tolist()
    cut(model, graph, removed)
    again = load(save(tmp_path, model, graph), trust=("tests",))
    torch.testing.assert_close(again(IMAGE), model(IMAGE))
    assert again.again.weight is again.twice.weight
    assert again.chain[0] is again.block
    assert again.plain.num_channels == model.plain.num_channels == model.twice.in_channels


class Functional(nn.Module):
    """Normalizes by a function, so that the module that calls it has no number of features."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        inner = nn.functional.instance_norm(self.a(image))
        return self.b(nn.functional.group_norm(inner, 2))


def test_a_normalization_that_is_no_module_comes_back(tmp_path: Path) -> None:
    model = Functional().eval()
    graph = ChannelGraph.trace(model, IMAGE)
    cut(model, graph, [int(graph.prunable.nonzero()[0])])
    assert torch.equal(load(save(tmp_path, model, graph), trust=("tests",))(IMAGE), model(IMAGE))


class Recurrent(nn.Module):
    """A recurrent layer keeps its parameters in a list as well."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.rnn = nn.Conv2d(3, 4, 1), nn.LSTM(4, 40, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.rnn(self.a(image).flatten(2).permute(2, 0, 1))[0]


def test_a_recurrent_layer_runs_with_the_weights_that_were_saved(tmp_path: Path) -> None:
    model = Recurrent().eval()
    assert torch.equal(load(save(tmp_path, model), trust=("tests",))(IMAGE), model(IMAGE))


class Views(nn.Module):
    """A buffer that is a view of a parameter, and a large table computed from another."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 2, 1)
        self.register_buffer("view", self.a.weight.detach()[:1])
        grid = torch.arange(100.0)
        self.register_buffer("table", grid[:, None] * grid[None], persistent=False)
        self.top = float((grid[:, None] * grid[None]).max())

    def forward(self, image: Tensor) -> Tensor:
        return self.a(image) + self.table.sum() / self.top


def test_views_and_tables_come_back(tmp_path: Path) -> None:
    model = Views().eval()
    again = load(save(tmp_path, model), trust=("tests",))
    assert torch.equal(again(IMAGE), model(IMAGE))
    assert torch.equal(again.view, model.view)


def test_a_model_on_the_meta_device_is_told() -> None:
    with torch.device("meta"):
        model = Forgetful()
    for act in (lambda: save("nowhere", model), lambda: ChannelGraph.trace(model, IMAGE)):
        with pytest.raises(LabError, match=r"a\.weight of Forgetful lies on the meta device"):
            act()
    with pytest.raises(LabError, match=r"0\.weight of Sequential has no size yet"):
        ChannelGraph.trace(nn.Sequential(nn.LazyConv2d(3, 1)), IMAGE)


def test_the_random_state_is_left_alone(tmp_path: Path) -> None:
    model = Forgetful()
    before = torch.get_rng_state()
    load(save(tmp_path, model), trust=("tests",))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_full_disk_leaves_the_model_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Forgetful().eval()
    save(tmp_path, model)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LabError, match=r"can't be saved in .*No space left on device"):
        save(tmp_path, Forgetful())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


LIBRARIES: list[tuple[str, dict[str, Any]]] = [
    ("torchvision.models.googlenet", {"init_weights": False, "aux_logits": False}),
    ("torchvision.models.swin_t", {}),
    ("torchvision.models.shufflenet_v2_x0_5", {}),
    ("torchvision.models.segmentation.lraspp_mobilenet_v3_large", {"num_classes": 3}),
    ("torchvision.models.detection.ssdlite320_mobilenet_v3_large", {}),
    ("timm.create_model", {"model_name": "mixnet_s", "num_classes": 3}),
    ("timm.create_model", {"model_name": "nfnet_l0"}),
    ("timm.create_model", {"model_name": "levit_128s"}),
    ("timm.create_model", {"model_name": "fastvit_t8"}),
    ("segmentation_models_pytorch.FPN", {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}),
    ("segmentation_models_pytorch.MAnet", {"encoder_name": "mobileone_s0", "encoder_weights": None}),
    ("segmentation_models_pytorch.Unet", {"encoder_name": "tu-mobilenetv3_small_100", "encoder_weights": None}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "arguments"), LIBRARIES)
def test_networks_of_the_libraries_come_back(target: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("segmentation_models_pytorch")
    builder = Builder(target, safe_arguments(target, resolve_builder(target), arguments))
    model = builder.build().eval()
    again = load(save(tmp_path, model))
    for (one, tensor), (other, loaded) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert one == other
        assert torch.equal(tensor, loaded)
        assert not loaded.is_meta


def test_a_network_of_segmentation_models_pytorch_needs_no_builder(tmp_path: Path) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    channels = (64, 32, 16, 8, 8)
    model = smp.Unet("resnet18", encoder_weights=None, decoder_channels=channels, classes=3).eval()
    image = torch.zeros(1, 3, 32, 32)
    assert torch.equal(load(save(tmp_path, model))(image), model(image))
