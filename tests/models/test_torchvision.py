import pytest
import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.models import Torchvision
from pruning_lab.models.torchvision import fill_where_it_fits
from tests.models.base import ClassifierTests


class TestSqueezeNet(ClassifierTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return Torchvision("squeezenet1_1", classes, in_channels)


class TestMobileNet(ClassifierTests):
    side = 64

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return Torchvision("mobilenet_v3_small", classes, in_channels)


def test_a_network_with_auxiliary_heads_gives_its_answer_alone() -> None:
    model = Torchvision("googlenet", classes=3).train()
    logits = model(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 3)


def test_weights_of_other_sizes_are_left_out() -> None:
    small, large = (Torchvision("squeezenet1_1", classes) for classes in (3, 7))
    before = small.network.classifier[1].weight.clone()
    fill_where_it_fits(small.network, large.network.state_dict())
    assert torch.equal(small.network.features[0].weight, large.network.features[0].weight)
    assert torch.equal(small.network.classifier[1].weight, before)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "resnet19"}, r"model\.name=resnet19 is unknown: .*resnet18"),
        ({"name": "fcn_resnet50"}, r"model\.name=fcn_resnet50 is unknown"),
        ({"options": {"weights": "DEFAULT"}}, r"model\.options\.weights"),
        ({"options": {"no_such": 1}}, "no_such"),
    ],
)
def test_an_impossible_argument_is_named(arguments: dict, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        Torchvision(**arguments)
    assert "\n" not in str(caught.value)
