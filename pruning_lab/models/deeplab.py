"""DeepLabV3 (Chen et al. 2017): atrous convolutions at several rates, from torchvision's parts."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import ASPP

from pruning_lab.errors import LabError

# As in torchvision's DeepLab: the last two stages dilate where they would stride, so features are at 1/8.
_DILATED = [False, True, True]


def _resnet(build: Callable[..., ResNet], pretrained: bool) -> tuple[nn.Sequential, int]:
    weights = "IMAGENET1K_V1" if pretrained else None
    return _trunk(build(weights=weights, replace_stride_with_dilation=_DILATED)), 2048


def _resnet26_narrow(pretrained: bool) -> tuple[nn.Sequential, int]:
    if pretrained:
        raise LabError("model.pretrained=true: nobody published weights for resnet26_narrow, use resnet50")
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


class DeepLabV3(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W]; in training N must be above 1.

    torchvision's DeepLabV3 without its auxiliary head: `encoder` is its `backbone` and `head` its
    `classifier`, with the same modules under the same names, and the logits come alone instead of in a dict.

    Args:
        classes: channels of the logits.
        backbone: one of `BACKBONES`. `resnet26_narrow` is a small one for tests and machines without a GPU.
        in_channels: channels of the image.
        pretrained: start the backbone from ImageNet weights, which are downloaded once. With `in_channels`
            other than 3 the first filters are averaged over the colours and scaled to the same response to
            grey.
        atrous_rates: dilations of the parallel 3x3 convolutions.
        head_width: filters of each branch of the head.
    """

    def __init__(
        self,
        classes: int = 2,
        backbone: str = "resnet50",
        in_channels: int = 3,
        pretrained: bool = False,
        atrous_rates: Sequence[int] = (12, 24, 36),
        head_width: int = 256,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise LabError(f"model.backbone={backbone} is unknown: use one of {', '.join(BACKBONES)}")
        for key, value in {"classes": classes, "in_channels": in_channels, "head_width": head_width}.items():
            if value < 1:
                raise LabError(f"model.{key}={value} must be at least 1")
        self.classes = classes
        self.backbone = backbone
        self.in_channels = in_channels
        # Whoever builds this network again from its attributes has its weights already: no download.
        self.pretrained = False
        self.atrous_rates = list(atrous_rates)
        self.head_width = head_width
        self.encoder, features = BACKBONES[backbone](pretrained)
        if in_channels != 3:
            _replace_input(self.encoder, in_channels, keep_response=pretrained)
        self.head = _head(features, classes, self.atrous_rates, head_width)

    def forward(self, image: Tensor) -> Tensor:
        logits = self.head(self.encoder(image))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _trunk(network: ResNet) -> nn.Sequential:
    """A ResNet without its classifier, the names of its parts unchanged."""
    return nn.Sequential(
        OrderedDict((name, part) for name, part in network.named_children() if name not in ("avgpool", "fc"))
    )


def _head(in_channels: int, classes: int, atrous_rates: list[int], width: int) -> nn.Sequential:
    return nn.Sequential(
        ASPP(in_channels, atrous_rates, width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, classes, 1),
    )


def _replace_input(trunk: nn.Sequential, in_channels: int, *, keep_response: bool) -> None:
    """Puts a convolution that reads `in_channels` in place of the first one, which reads 3."""
    name, first = next((name, part) for name, part in trunk.named_modules() if isinstance(part, nn.Conv2d))
    side, stride, padding = first.kernel_size[0], first.stride[0], int(first.padding[0])
    new = nn.Conv2d(in_channels, first.out_channels, side, stride, padding, bias=False)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if keep_response:
        with torch.no_grad():
            new.weight.copy_(first.weight.mean(1, keepdim=True) * 3 / in_channels)
    trunk.set_submodule(name, new)
