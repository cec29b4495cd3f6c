"""The networks that come with the lab. Each is an ordinary `nn.Module`: none knows that it will be pruned."""

from pruning_lab.models.deeplab import DeepLabV3
from pruning_lab.models.fcn import FCN
from pruning_lab.models.lraspp import LRASPP
from pruning_lab.models.ritnet import RITnet
from pruning_lab.models.segnet import SegNet
from pruning_lab.models.smp import SMP
from pruning_lab.models.timm import Timm
from pruning_lab.models.torchvision import Torchvision
from pruning_lab.models.unet import UNet

__all__ = ["FCN", "LRASPP", "SMP", "DeepLabV3", "RITnet", "SegNet", "Timm", "Torchvision", "UNet"]
