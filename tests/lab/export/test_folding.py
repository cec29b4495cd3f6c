"""Batch norms leave where a convolution can take them over, and stay where it can't."""

import pytest
import torch
from torch import Tensor, nn

from pruning_lab.lab.export.folding import folded
from pruning_lab.models import UNet
from tests.models.base import lively


class Read(nn.Module):
    """A convolution that something else reads as well, and one norm that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.second, self.shared = (nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.last, self.own = nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)

    def forward(self, image: Tensor) -> Tensor:
        features = self.conv(image)
        both = features + self.norm(features)
        return self.own(self.last(self.shared(self.first(both)) + self.shared(self.second(both))))


def test_every_norm_of_a_unet_goes_and_nothing_changes() -> None:
    model, image = lively(UNet(3, 2, width=4, depth=2)), torch.randn(1, 3, 20, 24)
    found, gone = folded(model, image)
    assert len(gone) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 10
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.modules())
    torch.testing.assert_close(found(image), model(image), atol=1e-5, rtol=1e-4)


def test_a_norm_stays_where_its_convolution_is_read_elsewhere_or_it_runs_twice() -> None:
    model, image = lively(Read()), torch.randn(1, 3, 8, 8)
    found, gone = folded(model, image)
    assert gone == ["own"]
    torch.testing.assert_close(found(image), model(image), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_of_every_kind_take_their_norm_over(dimensions: int, transposed: bool) -> None:
    layer = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dimensions}d")(3, 4, 3, bias=False)
    model = nn.Sequential(layer, getattr(nn, f"BatchNorm{dimensions}d")(4)).train()
    image = torch.randn(2, 3, *[6] * dimensions)
    model(image)
    found, gone = folded(model.eval(), image)
    assert gone == ["1"]
    torch.testing.assert_close(found(image), model(image), atol=1e-5, rtol=1e-4)


def test_a_weight_that_is_computed_keeps_its_norm() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    found, gone = folded(nn.Sequential(layer, nn.BatchNorm2d(4)), torch.randn(1, 3, 8, 8))
    assert gone == []
    assert isinstance(found[1], nn.BatchNorm2d)  # type: ignore[index]


def test_a_norm_with_an_activation_inside_leaves_the_activation() -> None:
    layers = pytest.importorskip("timm.layers")
    model = lively(nn.Sequential(nn.Conv2d(3, 4, 3), layers.BatchNormAct2d(4, act_layer=nn.SiLU)))
    image = torch.randn(1, 3, 8, 8)
    found, gone = folded(model, image)
    assert gone == ["1"]
    torch.testing.assert_close(found(image), model(image), atol=1e-5, rtol=1e-4)
