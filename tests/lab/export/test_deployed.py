"""Pixels go into a deployed network as into prediction, and one output counts."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.data.scaling import Scale
from pruning_lab.lab.export.deployed import Deployed, as_input, input_type
from pruning_lab.lab.export.options import ExportOptions, Head, Pixels
from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.lab.prediction import Predictor
from pruning_lab.models import UNet

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Several(nn.Module):
    """Gives the image as logits, and other things beside it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, image: Tensor) -> Any:
        if self.kind == "dict":
            return OrderedDict(aux=-image, out=image)
        if self.kind == "nested":
            return {"deep": (image, -image), "nothing": None}
        return (image, -image) if self.kind == "tuple" else len(image)


@pytest.mark.parametrize("pixels", ["normalized", "fractions", "stored"])
@pytest.mark.parametrize(
    ("scale", "kind"),
    [(None, np.uint8), (Scale((100.0, 0.0, 50.0), (1100.0, 900.0, 4000.0)), np.uint16)],
)
def test_what_goes_in_is_normalized_as_in_prediction(pixels: Pixels, scale: Scale | None, kind: type) -> None:
    facts = InputFacts(MEAN, STD, scale)
    image = np.random.default_rng(0).integers(0, 200, (16, 24, 3)).astype(kind)
    torch.manual_seed(0)
    model = UNet(3, 3, width=4, depth=2).eval()
    expected = Predictor(model, facts)(image, probabilities=True)
    options = ExportOptions(pixels=pixels, head="probabilities")
    given = as_input(torch.from_numpy(facts.pixels(image))[None], facts, options)
    assert given.dtype == input_type(facts, options)
    if pixels == "stored":
        np.testing.assert_allclose(given[0].movedim(0, -1).numpy(), image, atol=1e-2)
    with torch.inference_mode():
        found = Deployed(model, facts, options)(given)[0]
        mask = Deployed(model, facts, ExportOptions(pixels=pixels, head="mask"))(given)[0]
    np.testing.assert_allclose(found.numpy(), expected.probabilities, atol=1e-5)
    assert mask.dtype == torch.uint8
    assert (mask.numpy() != expected.mask).mean() < 0.01


@pytest.mark.parametrize(
    ("kind", "take", "sign"),
    [("dict", None, 1), ("dict", "aux", -1), ("tuple", None, 1), ("tuple", 1, -1), ("nested", "deep.1", -1)],
)
def test_of_several_outputs_one_counts(kind: str, take: str | int | None, sign: int) -> None:
    image = torch.randn(1, 3, 4, 4)
    found = Deployed(Several(kind), InputFacts(MEAN, STD), ExportOptions(take=take))(image)
    assert torch.equal(found, sign * image)


def test_all_outputs_are_given_where_asked_for_and_the_head_is_for_the_one_that_counts() -> None:
    image = torch.randn(1, 3, 4, 4)
    aux, out = Deployed(Several("dict"), InputFacts(MEAN, STD), ExportOptions(take="all", head="mask"))(image)
    assert torch.equal(aux, -image)
    assert torch.equal(out, image.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("head", ["probabilities", "mask"])
def test_one_class_has_no_most_probable_one(head: Head) -> None:
    with pytest.raises(LabError, match="needs 2 classes or more"):
        Deployed(nn.Identity(), InputFacts((0.5,), (0.5,)), ExportOptions(head=head))(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("kind", "take", "told"),
    [("dict", "main", "take=main is no output.*aux, out"), ("number", None, "gives a int")],
)
def test_an_output_that_is_not_there_is_told(kind: str, take: str | None, told: str) -> None:
    with pytest.raises(LabError, match=told):
        Deployed(Several(kind), InputFacts(MEAN, STD), ExportOptions(take=take))(torch.zeros(1, 3, 4, 4))


def test_fractions_without_a_scale_are_never_stored_numbers() -> None:
    with pytest.raises(LabError, match="use pixels=fractions"):
        as_input(torch.rand(1, 4, 4, 3), InputFacts(MEAN, STD), ExportOptions(pixels="stored"))
