import pytest
import torch
from torch import nn
from torchvision.models import vgg16_bn

from pruning_lab.common.errors import LabError
from pruning_lab.graph import ChannelGraph
from pruning_lab.models import SegNet
from pruning_lab.models.segnet import copy_convolutions
from tests.models.base import SegmentationModelTests


class TestSegNet(SegmentationModelTests):
    # In training the deepest features need more than one value per channel.
    sizes = (*SegmentationModelTests.sizes, (1, 1))

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return SegNet(in_channels, classes, width=4)


def test_its_encoder_has_the_shapes_of_vgg16() -> None:
    with torch.device("meta"):
        ours, theirs = SegNet(), vgg16_bn(weights=None).features
    shapes = [weight.shape for name, weight in ours.named_parameters() if name.startswith("down")]
    assert shapes == [weight.shape for weight in theirs.parameters()]


def test_the_encoder_takes_the_weights_of_vgg16_in_their_order() -> None:
    vgg = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    model = SegNet(width=4)
    copy_convolutions(vgg, model)
    assert torch.equal(model.down1.conv1.weight, vgg[0].weight)
    assert torch.equal(model.down1.conv2.bias, vgg[3].bias)


def test_what_is_pooled_and_what_is_put_back_leave_together() -> None:
    model = SegNet(width=4).eval()
    graph = ChannelGraph.trace(model, torch.zeros(1, 3, 32, 32))
    for encoder, decoder in (
        ("down1.conv2", "up4.conv2"),
        ("down4.conv3", "up1.conv3"),
        ("down5.conv3", "down5.conv3"),
    ):
        assert torch.equal(graph.layers[encoder], graph.layers[decoder])
    assert bool(graph.prunable[graph.layers["down1.conv2"]].all())


def test_maxima_go_back_to_where_they_were() -> None:
    image = torch.rand(1, 1, 5, 4)
    pooled, places = nn.functional.max_pool2d(image, 2, ceil_mode=True, return_indices=True)
    raised = nn.functional.max_unpool2d(pooled, places, 2, output_size=(5, 4))
    assert bool(((raised == image) | (raised == 0)).all())
    assert int((raised > 0).sum()) == 6


def test_pretrained_weights_are_for_the_published_width() -> None:
    with pytest.raises(LabError, match=r"model\.width=64"):
        SegNet(width=32, pretrained=True)
