"""Real networks with random weights: half of what can be cut is cut at random, exactly, and training still runs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.modules import tensors_in
from pruning_lab.graph import ChannelGraph, verify
from pruning_lab.graph.cutting.cut import cut
from tests.graph.helpers import all_understood, cut_against_masked, draw

SIZES = {"alexnet": 96, "inception_v3": 96, "googlenet": 64, "PAN": 128}
"""Sides of the images, where 64 pixels are too few."""


def torchvision_model(name: str) -> nn.Module:
    models = pytest.importorskip("torchvision").models
    if hasattr(models.segmentation, name):
        return getattr(models.segmentation, name)(weights=None, weights_backbone=None, num_classes=4)
    options = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return getattr(models, name)(weights=None, **options)


def smp_model(name: str) -> nn.Module:
    library = pytest.importorskip("segmentation_models_pytorch")
    architecture, _, encoder = name.partition("/")
    return getattr(library, architecture)(encoder_name=encoder or "resnet18", encoder_weights=None, classes=3)


def timm_model(name: str) -> nn.Module:
    return pytest.importorskip("timm").create_model(name, pretrained=False)


LIBRARIES: dict[str, tuple[Callable[[str], nn.Module], list[str]]] = {
    "torchvision": (
        torchvision_model,
        [
            "alexnet",
            "vgg16_bn",
            "resnet18",
            "resnet50",
            "resnext50_32x4d",
            "densenet121",
            "googlenet",
            "inception_v3",
            "squeezenet1_1",
            "mobilenet_v2",
            "mobilenet_v3_small",
            "shufflenet_v2_x1_0",
            "mnasnet1_0",
            "efficientnet_b0",
            "regnet_y_400mf",
            "convnext_tiny",
            "fcn_resnet50",
            "deeplabv3_resnet50",
            "deeplabv3_mobilenet_v3_large",
            "lraspp_mobilenet_v3_large",
        ],
    ),
    "segmentation_models_pytorch": (
        smp_model,
        [
            "Unet",
            "UnetPlusPlus",
            "MAnet",
            "Linknet",
            "FPN",
            "PSPNet",
            "PAN",
            "DeepLabV3Plus",
            "UPerNet",
            "Segformer",
            "Unet/mobilenet_v2",
            "Unet/efficientnet-b0",
        ],
    ),
    "timm": (
        timm_model,
        ["resnest14d", "res2net50_26w_4s", "hrnet_w18_small", "cspresnet50", "ghostnet_100", "mixnet_s"],
    ),
}
QUICK = {"resnet18", "mobilenet_v3_small", "lraspp_mobilenet_v3_large", "squeezenet1_1"}

MODELS = [
    pytest.param(build, name, id=f"{library}/{name}", marks=[] if name in QUICK else [pytest.mark.slow])
    for library, (build, names) in LIBRARIES.items()
    for name in names
]

FROZEN_SHARE = {"shufflenet_v2_x1_0": 0.25, "MAnet": 0.25}
"""Largest share of the layers' filters, output layers aside, that may be frozen; 0.01 where nothing is written.

ShuffleNet halves what it has shuffled, again and again, which ties whole layers. MAnet's position attention reshapes
[pixels, channels] to [channels, pixels] without turning them, so that every channel is read by all.
"""


def shaken(model: nn.Module) -> nn.Module:
    """Running statistics and factors that matter: what is one or zero in a new network hides mistakes."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    return model.eval()


def frozen_share(graph: ChannelGraph) -> float:
    aside = ("feeds the model's output", "runs only in training")
    rows = [row for name, row in graph.layers.items() if graph.frozen.get(name) not in aside]
    ids = torch.cat(rows)
    return 1 - float(graph.prunable[ids[ids >= 0]].sum()) / len(ids)


@pytest.mark.parametrize(("build", "name"), MODELS)
def test_half_of_a_network_is_cut_exactly(build: Callable[[str], nn.Module], name: str) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say while they build their models
        model = shaken(build(name))
    side = SIZES.get(name.partition("/")[0], 64)
    image = torch.randn(1, 3, side, side)
    graph = ChannelGraph.trace(model, image)
    assert all_understood(graph)
    groups = draw(graph, 0)
    assert groups.any()
    assert frozen_share(graph) <= FROZEN_SHARE.get(name, 0.01)
    assert verify(model, graph, groups, image) < 1e-4
    if not graph.mixing.any():
        assert cut_against_masked(model, graph, groups, (image,)) < 1e-4
    shapes = output_shapes(model, image)
    cut(model, graph, groups)
    assert output_shapes(model, image) == shapes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_still_train_after_a_cut(name: str) -> None:
    torch.manual_seed(0)
    model = shaken(torchvision_model(name))
    graph = ChannelGraph.trace(model, torch.randn(1, 3, 96, 96))
    assert graph.unused == []
    assert "runs only in training" in graph.frozen.values()
    cut(model, graph, draw(graph, 0))
    outputs = list(tensors_in(model.train()(torch.randn(2, 3, 299, 299))))
    assert len(outputs) == (3 if name == "googlenet" else 2)
    torch.stack([output.square().mean() for output in outputs]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def output_shapes(model: nn.Module, image: Tensor) -> list[tuple[int, ...]]:
    return [tuple(output.shape) for output in tensors_in(copy.deepcopy(model)(image))]
