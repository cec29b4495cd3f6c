import sys

import pytest
import torch
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.models import SMP
from tests.models.base import SegmentationModelTests

pytest.importorskip("segmentation_models_pytorch")


class TestUnet(SegmentationModelTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return SMP("Unet", "mobilenet_v2", in_channels, classes, options={"decoder_channels": [8, 8, 8, 8, 8]})


class TestLinknet(SegmentationModelTests):
    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return SMP("Linknet", "resnet18", in_channels, classes)


def test_it_is_the_librarys_network_where_sizes_fit() -> None:
    model = SMP("FPN", "resnet18").eval()
    image = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.equal(model(image), model.network(image))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"architecture": "Unett"}, r"model\.architecture=Unett is unknown: use one of Unet,"),
        ({"encoder": "resnet19"}, r"model\.encoder=resnet19 is unknown: .*resnet18"),
        ({"encoder": "tu-hf-hub:someone/something"}, r"model\.encoder=tu-hf-hub"),
        ({"options": {"encoder_weights": "imagenet"}}, r"model\.options\.encoder_weights"),
        ({"options": {"no_such": 1}}, "no_such"),
        ({"classes": 0}, r"model\.classes"),
    ],
)
def test_an_impossible_argument_is_named(arguments: dict, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        SMP(**arguments)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(LabError, match=r"pip install 'pruning_lab\[models\]'"):
        SMP()
