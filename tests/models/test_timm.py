import sys

import pytest
from torch import nn

from pruning_lab.common.errors import LabError
from pruning_lab.models import Timm
from tests.models.base import ClassifierTests

pytest.importorskip("timm")


class TestGhostNet(ClassifierTests):
    side = 64

    def build(self, *, classes: int, in_channels: int) -> nn.Module:
        return Timm("ghostnet_050", classes, in_channels, options={"drop_rate": 0.0})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "resnet19"}, r"model\.name=resnet19 is unknown: .*resnet18"),
        ({"name": "hf-hub:someone/something"}, r"model\.name=hf-hub"),
        ({"options": {"checkpoint_path": "somewhere"}}, r"model\.options\.checkpoint_path"),
        ({"options": {"no_such": 1}}, "no_such"),
        ({"in_channels": 0}, r"model\.in_channels"),
    ],
)
def test_an_impossible_argument_is_named(arguments: dict, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        Timm(**arguments)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(LabError, match=r"pip install 'pruning_lab\[models\]'"):
        Timm()
