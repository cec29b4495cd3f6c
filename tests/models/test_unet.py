import pytest
import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.models import UNet
from tests.models.base import SegmentationModelTests


class TestBilinearUNet(SegmentationModelTests):
    sizes = (*SegmentationModelTests.sizes, (1, 1))

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return UNet(in_channels, classes, width=4, depth=3)


class TestTransposedUNet(SegmentationModelTests):
    sizes = (*SegmentationModelTests.sizes, (1, 1))

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return UNet(in_channels, classes, width=3, depth=3, upsampling="transposed")


@pytest.mark.parametrize(("upsampling", "weights"), [("bilinear", 17_262_977), ("transposed", 31_037_633)])
def test_at_width_64_it_has_the_well_known_number_of_weights(upsampling: str, weights: int) -> None:
    with torch.device("meta"):
        model = UNet(in_channels=3, classes=1, width=64, depth=4, upsampling=upsampling)
    assert sum(weight.numel() for weight in model.parameters()) == weights


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("upsampling", ["bilinear", "transposed"])
def test_any_depth_works(depth: int, upsampling: str) -> None:
    model = UNet(width=2, depth=depth, upsampling=upsampling).eval()
    assert f"up{depth}.conv2" in dict(model.named_modules())
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 9, 20)).shape == (1, 2, 9, 20)


@pytest.mark.parametrize("upsampling", ["bilinear", "transposed"])
def test_without_growth_every_level_is_as_wide_as_the_first(upsampling: str) -> None:
    model = UNet(width=5, depth=3, upsampling=upsampling, growth=1).eval()
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]
    assert {part.out_channels for part in convolutions if part is not model.outc} == {5}
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 9, 20)).shape == (1, 2, 9, 20)


def test_a_pixel_far_away_reaches_the_output_through_the_deepest_level() -> None:
    torch.manual_seed(0)
    model = UNet(width=4, depth=3).eval()
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    model(image)[0, 0, 0, 0].backward()
    assert image.grad is not None
    assert image.grad[0, :, 24:, 24:].abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"width": 0}, "model.width"),
        ({"depth": 0}, "model.depth"),
        ({"classes": 0}, "model.classes"),
        ({"in_channels": 0}, "model.in_channels"),
        ({"upsampling": "nearest"}, "model.upsampling"),
        ({"growth": 0}, "model.growth"),
    ],
)
def test_an_impossible_argument_is_named(arguments: dict, key: str) -> None:
    with pytest.raises(LabError, match=key):
        UNet(**arguments)
