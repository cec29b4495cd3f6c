"""Names of layers, the weights that they run with, and where an exception came from."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_lab.common.modules import layer_name, module_at_fault, naming, told, weight_of


@pytest.mark.parametrize(
    ("parameter", "layer"),
    [
        ("down.conv.weight", "down.conv"),
        ("conv.weight_orig", "conv"),
        ("conv.weight_mask", "conv"),
        ("conv.weight_v", "conv"),
        ("conv.parametrizations.weight.original0", "conv"),
        ("conv.bias_mask", "conv.bias_mask"),
        ("free", "free"),
    ],
)
def test_a_parameter_names_its_layer(parameter: str, layer: str) -> None:
    assert layer_name(parameter) == layer


def test_of_a_weight_and_its_mask_the_weight_names_the_layer() -> None:
    assert naming(["conv.mask", "conv.weight"]) == "conv.weight"
    assert naming(["first", "second"]) == "first"


def test_the_weight_is_what_the_module_would_run_with_now() -> None:
    masked = prune.random_unstructured(nn.Conv2d(2, 2, 1), "weight", 0.5)
    with torch.no_grad():
        masked.weight_orig.fill_(3)
    assert torch.equal(weight_of(masked), 3 * masked.weight_mask)
    plain = nn.Conv2d(2, 2, 1)
    assert weight_of(plain) is plain.weight


def test_an_old_weight_norm_is_computed_anew() -> None:
    with pytest.warns(FutureWarning):
        normed = nn.utils.weight_norm(nn.Conv2d(2, 2, 1))
    before = normed.weight.detach().clone()
    with torch.no_grad():
        normed.weight_g.mul_(2)
    torch.testing.assert_close(weight_of(normed), 2 * before)


class Broken(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        raise ValueError("x" * 500 + " at the end")


def test_an_exception_tells_the_module_it_came_from() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), Broken()))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model(torch.zeros(1))
    assert module_at_fault(caught.value) == "1.1"
    assert told(caught.value).startswith("ValueError: xxx")
    assert told(caught.value).endswith("at the end (in 1.1)")
    assert len(told(caught.value)) < 200
    assert module_at_fault(ValueError()) == ""
