import pytest
import torch
from torch import nn
from torchvision.models import segmentation

from pruning_lab.common.errors import LabError
from pruning_lab.models import FCN
from tests.models.base import SegmentationModelTests


class TestMobileFCN(SegmentationModelTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return FCN(classes, "mobilenet_v3_large", in_channels, head_width=8)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_it_is_torchvisions_network_up_to_the_names_of_its_two_halves(backbone: str) -> None:
    with torch.device("meta"):
        ours = FCN(classes=21, backbone=backbone)
        theirs = getattr(segmentation, f"fcn_{backbone}")(weights=None, weights_backbone=None, num_classes=21)
    renamed = {
        name.replace("backbone.", "encoder.", 1).replace("classifier.", "head.", 1): value.shape
        for name, value in theirs.state_dict().items()
    }
    assert {name: value.shape for name, value in ours.state_dict().items()} == renamed


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(LabError, match=r"model\.backbone=vgg is unknown: use one of resnet50"):
        FCN(backbone="vgg")
