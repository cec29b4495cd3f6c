"""torchvision's classifiers up to their features, for networks that put a head on them. Knows torchvision."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from pruning_lab.common.errors import LabError
from pruning_lab.models.checking import one_of

# As in torchvision's DeepLab and FCN: the last two stages dilate where they would stride, so features are at 1/8.
_DILATED = [False, True, True]


def _resnet(build: Callable[..., ResNet], pretrained: bool) -> tuple[nn.Sequential, int]:
    weights = "IMAGENET1K_V1" if pretrained else None
    return _trunk(build(weights=weights, replace_stride_with_dilation=_DILATED)), 2048


def _resnet26_narrow(pretrained: bool) -> tuple[nn.Sequential, int]:
    if pretrained:
        raise LabError("model.pretrained=true: there are no published weights for resnet26_narrow, use resnet50")
    network = ResNet(Bottleneck, [2, 2, 2, 2], width_per_group=8, replace_stride_with_dilation=_DILATED)
    return _trunk(network), 2048


def _mobilenet_v3_large(pretrained: bool) -> tuple[nn.Sequential, int]:
    weights = "IMAGENET1K_V1" if pretrained else None
    return torchvision.models.mobilenet_v3_large(weights=weights, dilated=True).features, 960


# Name -> (pretrained -> the network up to its features, and their number of channels).
BACKBONES: dict[str, Callable[[bool], tuple[nn.Sequential, int]]] = {
    "resnet50": partial(_resnet, torchvision.models.resnet50),
    "resnet101": partial(_resnet, torchvision.models.resnet101),
    "mobilenet_v3_large": _mobilenet_v3_large,
    "resnet26_narrow": _resnet26_narrow,
}


def build_backbone(name: str, in_channels: int, pretrained: bool) -> tuple[nn.Sequential, int]:
    """A backbone for images of `in_channels`, and the number of channels of its features.

    Args:
        name: one of `BACKBONES`. `resnet26_narrow` is a small one for tests and machines without a GPU.
        pretrained: start from ImageNet weights, which are downloaded once.

    Raises:
        LabError: the name is unknown, or there are no weights for it.
    """
    one_of("backbone", name, BACKBONES)
    encoder, features = BACKBONES[name](pretrained)
    if in_channels != 3:
        replace_input(encoder, in_channels, keep_response=pretrained)
    return encoder, features


def replace_input(model: nn.Module, in_channels: int, *, keep_response: bool) -> None:
    """Put a convolution that reads `in_channels` in place of the first one, which reads the three colors.

    Args:
        keep_response: average the old filters over the colors, scaled to the same response to grey; else the new
            ones are drawn.
    """
    name, first = next((name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d))
    side, stride, padding = first.kernel_size[0], first.stride[0], int(first.padding[0])
    new = nn.Conv2d(in_channels, first.out_channels, side, stride, padding, bias=first.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    with torch.no_grad():
        if keep_response:
            new.weight.copy_(first.weight.mean(1, keepdim=True) * 3 / in_channels)
        if new.bias is not None and first.bias is not None:
            new.bias.copy_(first.bias)
    model.set_submodule(name, new)


def _trunk(network: ResNet) -> nn.Sequential:
    """A ResNet without its classifier, the names of its parts unchanged."""
    return nn.Sequential(
        OrderedDict((name, part) for name, part in network.named_children() if name not in ("avgpool", "fc"))
    )
