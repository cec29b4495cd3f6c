import pytest
import torch
from torch import nn
from torchvision.models import segmentation

from pruning_lab.common.errors import LabError
from pruning_lab.models import DeepLabV3
from pruning_lab.models.backbones import replace_input
from tests.models.base import SegmentationModelTests


class TestNarrowDeepLab(SegmentationModelTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return DeepLabV3(classes, "resnet26_narrow", in_channels, atrous_rates=(1, 2), head_width=8)


class TestMobileDeepLab(SegmentationModelTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return DeepLabV3(classes, "mobilenet_v3_large", in_channels, head_width=8)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "mobilenet_v3_large"])
def test_it_is_torchvisions_network_up_to_the_names_of_its_two_halves(backbone: str) -> None:
    with torch.device("meta"):
        ours = DeepLabV3(classes=21, backbone=backbone)
        theirs = getattr(segmentation, f"deeplabv3_{backbone}")(weights=None, weights_backbone=None, num_classes=21)
    renamed = {
        name.replace("backbone.", "encoder.", 1).replace("classifier.", "head.", 1): value.shape
        for name, value in theirs.state_dict().items()
    }
    assert {name: value.shape for name, value in ours.state_dict().items()} == renamed


def test_with_torchvisions_weights_it_gives_torchvisions_logits() -> None:
    ours = DeepLabV3(classes=3, backbone="mobilenet_v3_large").eval()
    theirs = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    theirs.backbone.load_state_dict(ours.encoder.state_dict())
    theirs.classifier.load_state_dict(ours.head.state_dict())
    image = torch.rand(1, 3, 40, 56)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs.eval()(image)["out"])


def test_features_are_at_an_eighth_of_the_resolution() -> None:
    model = DeepLabV3(backbone="resnet26_narrow", head_width=8).eval()
    with torch.inference_mode():
        assert model.encoder(torch.rand(1, 3, 64, 64)).shape == (1, 2048, 8, 8)


def test_pretrained_filters_answer_grey_images_of_one_channel_as_grey_images_of_three() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False))
    grey = torch.rand(1, 1, 8, 8)
    before = trunk(grey.expand(-1, 3, -1, -1))
    replace_input(trunk, 1, keep_response=True)
    torch.testing.assert_close(trunk(grey), before)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"backbone": "vgg"}, "model.backbone"),
        ({"classes": 0}, "model.classes"),
        ({"backbone": "resnet26_narrow", "pretrained": True}, "model.pretrained"),
    ],
)
def test_an_impossible_argument_is_named(arguments: dict, key: str) -> None:
    with pytest.raises(LabError, match=key):
        DeepLabV3(**arguments)
