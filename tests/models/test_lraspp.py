import torch
from torch import nn
from torchvision.models import segmentation

from pruning_lab.models import LRASPP
from tests.models.base import SegmentationModelTests


class TestLRASPP(SegmentationModelTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return LRASPP(classes, in_channels, head_width=16)


def test_with_torchvisions_weights_it_gives_torchvisions_logits() -> None:
    ours = LRASPP(classes=3).eval()
    theirs = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3).eval()
    ours.encoder.load_state_dict(theirs.backbone.state_dict())
    ours.head.load_state_dict(theirs.classifier.state_dict())
    image = torch.rand(1, 3, 40, 56)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image)["out"])
