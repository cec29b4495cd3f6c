import pytest
import torch
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from pruning_lab.common.errors import LabError
from pruning_lab.lab.validation import Validator, confusion_matrix, segmentation_scores
from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.losses import CrossEntropy
from tests.networks.tiny import TinyNet, make_batches, same_state, state_of

NAMES = ("background", "iris", "pupil")


class Says(nn.Module):
    """Gives the class that is written in the image's first channel."""

    def forward(self, image):
        return 10.0 * nn.functional.one_hot(image[:, 0].long(), 3).movedim(-1, 1)


def validator(**arguments) -> Validator:
    return Validator(3, NAMES, loss=CrossEntropy(ignore_index=arguments.get("ignore_index")), **arguments)


def as_image(prediction: torch.Tensor) -> torch.Tensor:
    return prediction.unsqueeze(1).expand(-1, 3, -1, -1).float()


@pytest.fixture
def prediction_and_mask() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(3, (6, 5, 7), generator=generator) for _ in range(2))


def test_a_case_done_by_hand() -> None:
    mask = torch.tensor([[[0, 0, 0, 1]]])
    prediction = torch.tensor([[[0, 0, 1, 1]]])
    scores = validator().evaluate(Says(), [(as_image(prediction), mask)])
    assert scores["iou/background"] == pytest.approx(2 / 3)
    assert scores["iou/iris"] == pytest.approx(1 / 2)
    assert scores["dice/background"] == pytest.approx(4 / 5)
    assert scores["dice/iris"] == pytest.approx(2 / 3)
    assert scores["iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores["dice"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert scores["accuracy"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("ignore_index", [None, 255])
def test_scores_are_torchmetrics_own(prediction_and_mask, ignore_index: int | None) -> None:
    prediction, mask = prediction_and_mask
    if ignore_index is not None:
        mask[:, 2] = ignore_index
    batches = [(as_image(prediction[:4]), mask[:4]), (as_image(prediction[4:]), mask[4:])]
    scores = validator(ignore_index=ignore_index).evaluate(Says(), batches)
    for name, metric, average in [
        ("iou", MulticlassJaccardIndex, "macro"),
        ("dice", MulticlassF1Score, "macro"),
        ("accuracy", MulticlassAccuracy, "micro"),
    ]:
        reference = metric(num_classes=3, average=average, ignore_index=ignore_index)
        assert scores[name] == pytest.approx(reference(prediction, mask).item(), rel=1e-5)


@pytest.mark.parametrize("ignore_index", [None, 255])
def test_a_mask_with_a_class_that_there_is_not_is_refused(ignore_index: int | None) -> None:
    mask = torch.tensor([[[0, 3]]])
    with pytest.raises(LabError, match="a mask holds class 3, the data has 3"):
        confusion_matrix(torch.zeros_like(mask), mask, 3, ignore_index)


def test_a_class_that_is_in_no_mask_is_left_out_of_the_mean_however_the_model_predicts() -> None:
    mask = torch.tensor([[[0, 0, 1, 1]]])
    scores = validator().evaluate(Says(), [(as_image(torch.tensor([[[0, 2, 1, 1]]])), mask)])
    assert "iou/pupil" not in scores
    assert scores["iou"] == pytest.approx((1 / 2 + 1) / 2)


def test_the_loss_is_the_mean_over_images_whatever_the_batches(prediction_and_mask) -> None:
    prediction, mask = prediction_and_mask
    image = as_image(prediction)
    whole = validator().evaluate(Says(), [(image, mask)])
    parts = validator().evaluate(Says(), [(image[:5], mask[:5]), (image[5:], mask[5:])])
    assert parts == pytest.approx(whole)


def test_the_model_is_measured_in_evaluation_mode_and_left_as_it_was() -> None:
    model = TinyNet(classes=3).train()
    model.norm.eval()
    before = state_of(model)
    batches = make_batches(classes=3)
    first = validator().evaluate(model, batches)
    assert (model.training, model.conv.training, model.norm.training) == (True, True, False)
    assert same_state(state_of(model), before)
    assert validator().evaluate(model.eval(), batches) == first


def test_training_flags_come_back_after_an_error() -> None:
    model = TinyNet(classes=2)
    with pytest.raises(LabError, match=r"model\.classes: the model gives 2, the data has 3"):
        validator().evaluate(model, make_batches())
    assert model.training


def test_lower_precision_changes_scores_little() -> None:
    model, batches = TinyNet(classes=3), make_batches(classes=3)
    full = validator().evaluate(model, batches)
    half = validator(settings=ComputeSettings(precision="bfloat16")).evaluate(model, batches)
    assert half["loss"] == pytest.approx(full["loss"], rel=0.02)


def test_metrics_of_the_users_own_see_the_confusion_matrix() -> None:
    metrics = {"missed_iris": lambda confusion: confusion[1, 0] + confusion[1, 2]}
    mask = torch.tensor([[[0, 1, 1, 1]]])
    scores = validator(metrics=metrics).evaluate(Says(), [(as_image(torch.tensor([[[1, 1, 2, 0]]])), mask)])
    assert scores["missed_iris"] == 2.0


def test_a_users_metric_can_not_take_the_name_of_another() -> None:
    with pytest.raises(LabError, match=r"validation\.metrics\.iou"):
        validator(metrics={"iou": lambda confusion: 1.0}).evaluate(
            Says(), [(torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))]
        )


def test_nothing_to_validate_on_is_refused() -> None:
    with pytest.raises(LabError, match="empty"):
        validator().evaluate(Says(), [])
    with pytest.raises(LabError, match="no labelled pixel"):
        segmentation_scores(torch.zeros(3, 3, dtype=torch.int64), NAMES)


@pytest.mark.parametrize(("classes", "names"), [(1, ("only",)), (2, NAMES)])
def test_classes_that_make_no_sense_are_refused(classes: int, names: tuple[str, ...]) -> None:
    with pytest.raises(LabError, match="classes"):
        Validator(classes, names, loss=CrossEntropy())
