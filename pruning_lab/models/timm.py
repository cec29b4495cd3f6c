"""Any network of timm by its name, an optional dependency that is imported late. Logits of a classification."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.models.checking import FORBIDDEN, at_least_one, one_of, own_options

RESERVED = ("model_name", "pretrained", "num_classes", "in_chans", "cache_dir", "scriptable", "exportable", *FORBIDDEN)


class Timm(nn.Module):
    """Image [N, in_channels, H, W] -> logits of a classification [N, classes].

    Args:
        name: as `timm.list_models()` spells it, e.g. `mixnet_s`, or with the weights' tag, `resnet18.a1_in1k`.
        classes: channels of the logits.
        in_channels: channels of the image.
        pretrained: start from the library's weights, which are downloaded once; the last layer is drawn anew where
            the number of classes differs.
        options: further arguments of the network, e.g. `{drop_rate: 0.1}`.

    Raises:
        LabError: the library is missing, it knows no such name, or it refuses the arguments.
    """

    def __init__(
        self,
        name: str = "resnet18",
        classes: int = 2,
        in_channels: int = 3,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        at_least_one(classes=classes, in_channels=in_channels)
        library = _library()
        # Other names could make the library fetch a network from an address.
        if not library.is_model(name):
            one_of("name", name, library.list_models())
        self.name = name
        self.classes = classes
        self.in_channels = in_channels
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        self.options = own_options(options, RESERVED)
        try:
            self.network = library.create_model(
                name, pretrained=pretrained, num_classes=classes, in_chans=in_channels, **self.options
            )
        except (TypeError, ValueError, RuntimeError) as error:
            raise LabError(f"model=timm: {name} can't be built: {error}") from error

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def _library() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise LabError(f"model=timm needs timm ({error}); install it: pip install 'pruning_lab[models]'") from error
    return timm
