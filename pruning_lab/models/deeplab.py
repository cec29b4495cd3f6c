"""DeepLabV3 (Chen et al. 2017): atrous convolutions at several rates, from torchvision's parts."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models.segmentation.deeplabv3 import ASPP

from pruning_lab.models.backbones import build_backbone
from pruning_lab.models.checking import at_least_one


class DeepLabV3(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W]; in training N must be above 1.

    torchvision's DeepLabV3 without its auxiliary head: `encoder` is its `backbone` and `head` its
    `classifier`, with the same modules under the same names, and the logits come alone instead of in a dict.

    Args:
        classes: channels of the logits.
        backbone: one of `backbones.BACKBONES`.
        in_channels: channels of the image.
        pretrained: start the backbone from ImageNet weights, which are downloaded once. With `in_channels`
            other than 3 the first filters are averaged over the colors and scaled to the same response to
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
        at_least_one(classes=classes, in_channels=in_channels, head_width=head_width)
        self.classes = classes
        self.backbone = backbone
        self.in_channels = in_channels
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        self.atrous_rates = list(atrous_rates)
        self.head_width = head_width
        self.encoder, features = build_backbone(backbone, in_channels, pretrained)
        self.head = _head(features, classes, self.atrous_rates, head_width)

    def forward(self, image: Tensor) -> Tensor:
        logits = self.head(self.encoder(image))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _head(in_channels: int, classes: int, atrous_rates: list[int], width: int) -> nn.Sequential:
    return nn.Sequential(
        ASPP(in_channels, atrous_rates, width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, classes, 1),
    )
