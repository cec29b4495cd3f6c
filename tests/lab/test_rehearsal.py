"""What does not fit is found on two images, before any training, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.importance import MovingAverage, WeightNorm
from pruning_lab.lab.rehearsal import rehearse
from pruning_lab.training.losses import CrossEntropy
from tests.networks.labs import squares, tiny_lab


class Net(nn.Module):
    """A small network, spoiled in one way."""

    def __init__(self, classes: int = 2, channels: int = 3, random: bool = False, layer: bool = True) -> None:
        super().__init__()
        self.random, self.layer = random, layer
        self.first, self.last = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, classes, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor) -> Tensor:
        if not self.layer:
            return self.scale * image[:, :2]
        noise = torch.rand_like(image) if self.random else 0
        return self.last(self.first(image + noise))


def zeroes(model: nn.Module, graph: Any, batches: Any) -> Tensor:
    next(model.parameters()).data.zero_()
    return torch.ones(len(graph))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"build": lambda: Net(classes=3)}, r"model\.classes: the model gives 3, the data has 2"),
        ({"build": lambda: Net(random=True)}, "answers the same image in two ways"),
        ({"build": lambda: Net(layer=False)}, "no convolution or linear layer"),
        ({"importance": zeroes}, "importance function changes first.weight|importance function changes"),
        ({"importance": lambda model, graph, batches: torch.ones(3)}, "must return a float tensor"),
        ({"importance": lambda model, graph, batches: torch.full((len(graph),), torch.nan)}, "not finite"),
        ({"loss": CrossEntropy(class_weights=[1, 1, 1])}, "class_weights has 3 entries for 2 classes"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(LabError, match=told):
        rehearse(tiny_lab(tmp_path, **changes))


def test_a_model_for_other_channels_is_named_with_its_own_words_and_the_mend(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"Net does not take images of 3 channels \(Given groups=1.*data\.channels"):
        rehearse(tiny_lab(tmp_path, build=lambda: Net(channels=1)))


def test_nan_in_an_image_is_named(tmp_path: Path) -> None:
    data = squares()
    object.__setattr__(data, "mean", (np.nan,) * 3)  # what a data set of one's own may come to
    lab = tiny_lab(tmp_path, dataset=data)
    with pytest.raises(LabError, match="squares: an image holds NaN"):
        rehearse(lab)


def test_nothing_is_left_of_a_rehearsal(tmp_path: Path) -> None:
    importance = MovingAverage(WeightNorm())
    lab = tiny_lab(tmp_path, importance=importance)
    before = torch.get_rng_state()
    rehearse(lab)
    assert torch.equal(torch.get_rng_state(), before)
    assert vars(importance) == vars(MovingAverage(WeightNorm()))
    assert not (tmp_path / "bases").exists()
