"""Scores of single images and of many: what they mean, and that they are those of validation."""

import math

import numpy as np
import pytest
import torch

from pruning_lab.common.errors import LabError
from pruning_lab.lab.evaluation import BAND, band, counts_of, evaluate
from pruning_lab.lab.validation import segmentation_scores
from pruning_lab.training.compute import ComputeSettings
from tests.networks.tiny import TinyNet, make_batches


def test_scores_of_a_case_that_can_be_counted_by_hand() -> None:
    mask = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    found = np.array([[0, 1, 1, 1], [0, 0, 1, 0]])
    scores = counts_of(mask, found, 2, None).scores()
    assert scores["iou"].tolist() == [3 / 5, 3 / 5]
    assert scores["dice"].tolist() == [6 / 8, 6 / 8]
    assert scores["precision"].tolist() == [3 / 4, 3 / 4]
    assert scores["recall"].tolist() == [3 / 4, 3 / 4]


def test_counts_of_images_add_up_to_those_of_validation() -> None:
    stream = np.random.default_rng(0)
    masks, found = stream.integers(0, 3, (2, 5, 16, 16))
    masks[:, :3] = 255
    total = counts_of(masks[0], found[0], 3, 255)
    for mask, prediction in zip(masks[1:], found[1:], strict=True):
        total = total + counts_of(mask, prediction, 3, 255)
    theirs = segmentation_scores(torch.from_numpy(total.confusion), ["a", "b", "c"])
    assert total.confusion.sum() == 5 * 13 * 16
    assert total.means()["iou"] == pytest.approx(theirs["iou"], abs=1e-12)
    assert total.means()["dice"] == pytest.approx(theirs["dice"], abs=1e-12)


def test_a_class_that_is_nowhere_has_no_score_and_one_never_predicted_has_no_precision() -> None:
    counts = counts_of(np.array([[0, 1]]), np.array([[0, 0]]), 3, None)
    scores = counts.scores()
    assert [math.isnan(scores[name][2]) for name in scores] == [True] * 5
    assert math.isnan(scores["precision"][1])
    assert counts.means()["precision"] == 0.25
    assert counts.means()["recall"] == 0.5


def test_an_image_without_a_labelled_pixel_has_no_mean() -> None:
    assert all(
        math.isnan(value) for value in counts_of(np.full((2, 2), 255), np.zeros((2, 2)), 2, 255).means().values()
    )


def within(area: np.ndarray, steps: int) -> np.ndarray:
    """The band by its definition: pixels of the area with one that is not (or the outside) so few steps away."""
    framed = np.pad(area, steps)
    near = [
        ~framed[row : row + area.shape[0], column : column + area.shape[1]]
        for row in range(2 * steps + 1)
        for column in range(2 * steps + 1)
    ]
    return area & np.any(near, axis=0)


@pytest.mark.parametrize("size", [(20, 20), (60, 90), (200, 150), (1, 1)])
def test_the_band_is_two_percent_of_the_diagonal_wide(size: tuple[int, int]) -> None:
    steps = max(1, round(BAND * math.hypot(*size)))
    rows, columns = np.ogrid[: size[0], : size[1]]
    area = (rows - size[0] / 2) ** 2 + (columns - size[1] / 3) ** 2 <= (min(size) / 2.2) ** 2
    assert np.array_equal(band(area), within(area, steps))
    assert np.array_equal(band(np.ones(size, bool)), within(np.ones(size, bool), steps))


def test_boundary_iou_sees_a_small_shift_that_iou_does_not() -> None:
    mask = np.zeros((100, 100), int)
    mask[20:80, 20:80] = 1
    shifted = np.roll(mask, 2, axis=1)
    scores = counts_of(mask, shifted, 2, None).scores()
    bands = [band(each == 1) for each in (mask, shifted)]
    assert scores["boundary_iou"][1] == (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert scores["boundary_iou"][1] < 0.7 < 0.9 < scores["iou"][1]
    assert counts_of(mask, mask, 2, None).scores()["boundary_iou"].tolist() == [1, 1]


def test_ignored_pixels_count_nowhere() -> None:
    mask, found = np.zeros((20, 20), int), np.zeros((20, 20), int)
    mask[:, 10:] = 1
    found[:, 8:] = 1
    mask[:, 8:10] = 255
    assert {name: values.tolist() for name, values in counts_of(mask, found, 2, 255).scores().items()} == {
        name: [1, 1] for name in ("iou", "dice", "precision", "recall")
    } | {"boundary_iou": counts_of(mask, found, 2, 255).scores()["boundary_iou"].tolist()}
    assert counts_of(mask, found, 2, 255).confusion.sum() == 20 * 18


def test_a_model_is_evaluated_image_by_image_in_order_and_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    model, batches = TinyNet(classes=2).train(), make_batches(count=2, batch=3)
    found = list(evaluate(model, batches, ComputeSettings(), 2, None))
    assert model.training
    model.eval()
    images, masks = (torch.cat(parts) for parts in zip(*batches, strict=True))
    with torch.no_grad():
        predictions = model(images).argmax(1)
    expected = [counts_of(mask.numpy(), each.numpy(), 2, None) for mask, each in zip(masks, predictions, strict=True)]
    assert [counts.confusion.tolist() for counts in found] == [counts.confusion.tolist() for counts in expected]


def test_a_model_of_other_classes_is_told() -> None:
    with pytest.raises(LabError, match="gives 3 classes, the data has 2"):
        list(evaluate(TinyNet(classes=3), make_batches(), ComputeSettings(), 2, None))
