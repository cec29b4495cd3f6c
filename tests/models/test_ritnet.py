import pytest
import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.models import RITnet
from tests.models.base import SegmentationModelTests


class TestRITnet(SegmentationModelTests):
    sizes = (*SegmentationModelTests.sizes, (1, 1))

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return RITnet(in_channels, classes, width=4, depth=3)


def test_it_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        model = RITnet(in_channels=1, classes=4)
    assert sum(weight.numel() for weight in model.parameters()) == 248_900


def test_every_layer_between_image_and_logits_has_the_same_width() -> None:
    model = RITnet(width=6, depth=2)
    widths = {m.out_channels for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and name != "outc"}
    assert widths == {6}


@pytest.mark.parametrize(("arguments", "key"), [({"depth": 0}, "model.depth"), ({"dropout": 1.0}, "model.dropout")])
def test_an_impossible_argument_is_named(arguments: dict, key: str) -> None:
    with pytest.raises(LabError, match=key):
        RITnet(**arguments)
