"""Any classifier of torchvision by its name. Logits of a classification."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torchvision import models

from pruning_lab.common.errors import LabError
from pruning_lab.models.backbones import replace_input
from pruning_lab.models.checking import at_least_one, one_of, own_options

RESERVED = ("weights", "progress", "num_classes", "aux_logits", "init_weights", "transform_input")

WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


class Torchvision(nn.Module):
    """Image [N, in_channels, H, W] -> logits of a classification [N, classes]. There are no auxiliary heads.

    Args:
        name: as `torchvision.models.list_models(module=torchvision.models)` spells it, e.g. `densenet121`.
        classes: channels of the logits.
        in_channels: channels of the image.
        pretrained: start from the library's best weights, which are downloaded once; layers whose sizes depend on
            the number of classes are drawn anew where it differs.
        options: further arguments of the network, e.g. `{drop_rate: 0.1}` of a densenet.

    Raises:
        LabError: the library knows no such name, or refuses the arguments.
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
        one_of("name", name, models.list_models(module=models))
        self.name = name
        self.classes = classes
        self.in_channels = in_channels
        # A network that is built again from its attributes has its weights already: no download.
        self.pretrained = False
        self.options = own_options(options, RESERVED)
        special: dict[str, Any] = {}
        if name in WITH_AUXILIARY_HEADS:
            special = {"aux_logits": False, "init_weights": True, "transform_input": in_channels == 3}
        try:
            self.network = models.get_model(name, weights=None, num_classes=classes, **special, **self.options)
        except (TypeError, ValueError) as error:
            raise LabError(f"model=torchvision: {name} can't be built: {error}") from error
        if pretrained:
            fill_where_it_fits(self.network, models.get_model_weights(name).DEFAULT.get_state_dict(check_hash=True))
        if in_channels != 3:
            replace_input(self.network, in_channels, keep_response=pretrained)

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


def fill_where_it_fits(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load those tensors of a state that the network has in the same shape; the others keep what they have."""
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)


def is_registered(function: Callable[..., Any]) -> bool:
    """Whether a function is one of the builders that the library lists by name."""
    names = [name for name in models.list_models() if name.rpartition("/")[2] == function.__name__]
    return any(models.get_model_builder(name) is function for name in names)
