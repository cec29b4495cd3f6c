"""LR-ASPP (Howard et al. 2019, "Searching for MobileNetV3"): features of two resolutions, from torchvision's parts."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models.segmentation.lraspp import LRASPPHead

from pruning_lab.models.backbones import build_backbone
from pruning_lab.models.checking import at_least_one


class LRASPP(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W]; in training N must be above 1.

    torchvision's LR-ASPP: `encoder` is its `backbone` and `head` its `classifier`, with the same modules under the
    same names, and the logits come alone instead of in a dict.

    Args:
        classes: channels of the logits.
        in_channels: channels of the image.
        pretrained: start MobileNetV3 from ImageNet weights, which are downloaded once.
        head_width: filters of the head.
    """

    def __init__(self, classes: int = 2, in_channels: int = 3, pretrained: bool = False, head_width: int = 128) -> None:
        super().__init__()
        at_least_one(classes=classes, in_channels=in_channels, head_width=head_width)
        self.classes = classes
        self.in_channels = in_channels
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        self.head_width = head_width
        self.encoder, features = build_backbone("mobilenet_v3_large", in_channels, pretrained)
        self._low = _last_at_an_eighth(self.encoder)
        low_channels = self.encoder[self._low].out_channels
        self.head = LRASPPHead(low_channels, features, classes, head_width)

    def forward(self, image: Tensor) -> Tensor:
        low = self.encoder[: self._low + 1](image)
        high = self.encoder[self._low + 1 :](low)
        logits = self.head({"low": low, "high": high})
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _last_at_an_eighth(encoder: nn.Sequential) -> int:
    """The block whose output is the low level: the third before the last of those that change the resolution.

    torchvision marks as `_is_cn` the blocks that stride, or would stride and dilate instead.
    """
    striding = [index for index, block in enumerate(encoder) if getattr(block, "_is_cn", False)]
    return [0, *striding, len(encoder) - 1][-4]
