"""Any architecture with any encoder of segmentation_models_pytorch, an optional dependency that is imported late."""

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.models.checking import at_least_one, one_of, own_options

RESERVED = ("encoder_name", "encoder_weights", "in_channels", "classes", "aux_params")


class SMP(nn.Module):
    """Image [N, in_channels, H, W] -> logits [N, classes, H, W]; in training N must be above 1.

    Where an architecture takes only sides that its encoder's stride divides, the image is filled up with zeros at
    its right and lower edge, and the logits are cut to the image's size again.

    Args:
        architecture: a class of the library: Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, PAN, DeepLabV3,
            DeepLabV3Plus, UPerNet, Segformer, DPT.
        encoder: one of the library's encoders, or `tu-` and the name of a network of timm.
        in_channels: channels of the image.
        classes: channels of the logits.
        pretrained: start the encoder from ImageNet weights, which are downloaded once.
        options: further arguments of the architecture, e.g. `{decoder_channels: [64, 32, 16, 8, 4]}`.

    Raises:
        LabError: the library is missing, it knows no such name, or it refuses the arguments.
    """

    def __init__(
        self,
        architecture: str = "Unet",
        encoder: str = "resnet34",
        in_channels: int = 3,
        classes: int = 2,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        at_least_one(in_channels=in_channels, classes=classes)
        library = _library()
        known = {kind.__name__: kind for kind in library.MODEL_ARCHITECTURES_MAPPING.values()}
        one_of("architecture", architecture, known)
        _check_encoder(library, encoder)
        self.architecture = architecture
        self.encoder = encoder
        self.in_channels = in_channels
        self.classes = classes
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        self.options = own_options(options, RESERVED)
        _check_options(known[architecture], encoder, self.options)
        weights = "imagenet" if pretrained else None
        try:
            self.network = known[architecture](
                encoder_name=encoder, encoder_weights=weights, in_channels=in_channels, classes=classes, **self.options
            )
        except (TypeError, ValueError, KeyError, NotImplementedError) as error:
            raise LabError(f"model=smp: {architecture} with {encoder} can't be built: {error}") from error

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        stride = self.network.encoder.output_stride if self.network.requires_divisible_input_shape else 1
        below, right = -height % stride, -width % stride
        if not below and not right:
            return self.network(image)
        return self.network(F.pad(image, (0, right, 0, below)))[..., :height, :width]


def _library() -> ModuleType:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise LabError(
            f"model=smp needs segmentation_models_pytorch ({error}); install it: pip install 'pruning_lab[models]'"
        ) from error
    return segmentation_models_pytorch


def _check_options(kind: type[nn.Module], encoder: str, options: Mapping[str, Any]) -> None:
    """The architectures swallow what they don't know, and hand it on to encoders of timm only."""
    if encoder.startswith("tu-"):
        return
    takes = [name for name in inspect.signature(kind.__init__).parameters if name not in (*RESERVED, "self", "kwargs")]
    for name in options:
        one_of(f"options.{name}", name, takes)


def _check_encoder(library: ModuleType, encoder: str) -> None:
    """Only names that the libraries list: others could make timm fetch something from an address."""
    if encoder.startswith("tu-"):
        import timm

        if not timm.is_model(encoder.removeprefix("tu-")):
            raise LabError(f"model.encoder={encoder}: timm has no such network; timm.list_models('*part*') finds one")
    else:
        one_of("encoder", encoder, library.encoders.get_encoder_names())
