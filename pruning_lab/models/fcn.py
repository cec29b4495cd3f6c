"""FCN (Long, Shelhamer, Darrell 2015) on a dilated classifier, as torchvision builds it."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.models.backbones import build_backbone
from pruning_lab.models.checking import at_least_one


class FCN(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W].

    torchvision's FCN without its auxiliary head: `encoder` is its `backbone` and `head` its `classifier`, with the
    same modules under the same names, and the logits come alone instead of in a dict.

    Args:
        classes: channels of the logits.
        backbone: one of `backbones.BACKBONES`.
        in_channels: channels of the image.
        pretrained: start the backbone from ImageNet weights, which are downloaded once.
        head_width: filters between features and logits; torchvision has a quarter of the features, 512.
    """

    def __init__(
        self,
        classes: int = 2,
        backbone: str = "resnet50",
        in_channels: int = 3,
        pretrained: bool = False,
        head_width: int = 512,
    ) -> None:
        super().__init__()
        at_least_one(classes=classes, in_channels=in_channels, head_width=head_width)
        self.classes = classes
        self.backbone = backbone
        self.in_channels = in_channels
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        self.head_width = head_width
        self.encoder, features = build_backbone(backbone, in_channels, pretrained)
        self.head = nn.Sequential(
            nn.Conv2d(features, head_width, 3, padding=1, bias=False),
            nn.BatchNorm2d(head_width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(head_width, classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits = self.head(self.encoder(image))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)
