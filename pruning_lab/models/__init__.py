"""The networks that come with the lab. Each is an ordinary `nn.Module`: none knows that it will be pruned."""

from pruning_lab.models.deeplab import DeepLabV3
from pruning_lab.models.unet import UNet

__all__ = ["DeepLabV3", "UNet"]
