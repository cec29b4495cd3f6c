import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from pruning_lab.common.errors import LabError
from pruning_lab.training.losses import CrossEntropy, Dice, Loss, Sum, cross_entropy_dice

LOSSES = {
    "cross_entropy": CrossEntropy,
    "dice": Dice,
    "cross_entropy_dice": cross_entropy_dice,
}


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.randint(3, (2, 4, 5), generator=torch.Generator().manual_seed(1))


def certain(mask: torch.Tensor) -> torch.Tensor:
    """Logits that give all probability to the classes of the mask."""
    return 100.0 * F.one_hot(mask, 3).movedim(-1, 1)


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
class TestEveryLoss:
    def test_a_certain_and_right_answer_costs_nothing(self, make: type[Loss], mask: torch.Tensor) -> None:
        assert make()(certain(mask), mask).item() == pytest.approx(0, abs=1e-5)

    def test_a_wrong_answer_costs_more_than_a_right_one(self, make: type[Loss], mask: torch.Tensor) -> None:
        assert make()(certain((mask + 1) % 3), mask) > make()(certain(mask), mask) + 0.5

    def test_ignored_pixels_make_no_difference(
        self, make: type[Loss], logits: torch.Tensor, mask: torch.Tensor
    ) -> None:
        loss = make(ignore_index=255)
        mask[0, :2] = 255
        other = logits.clone()
        other[0, :, :2] += torch.randn(3, 2, 5)
        assert loss(logits, mask) == loss(other, mask)
        assert loss(logits, mask) != loss(logits, mask.where(mask != 255, 0))

    def test_a_batch_without_a_labelled_pixel_is_finite_and_moves_nothing(
        self, make: type[Loss], logits: torch.Tensor
    ) -> None:
        logits.requires_grad_()
        loss = make(ignore_index=255)(logits, torch.full((2, 4, 5), 255))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.equal(logits.grad, torch.zeros_like(logits))

    def test_a_heavier_class_matters_more(self, make: type[Loss], mask: torch.Tensor) -> None:
        wrong_where_two = certain(mask.where(mask != 2, 0))
        light, heavy = make(class_weights=[1, 1, 1]), make(class_weights=[1, 1, 9])
        assert heavy(wrong_where_two, mask) > light(wrong_where_two, mask)

    def test_class_weights_of_the_wrong_length_are_named(
        self, make: type[Loss], logits: torch.Tensor, mask: torch.Tensor
    ) -> None:
        with pytest.raises(LabError, match=r"loss\.class_weights has 2 entries for 3 classes"):
            make(class_weights=[1, 2])(logits, mask)

    @pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    def test_class_weights_that_make_no_sense_are_named(self, make: type[Loss], weights: list[float]) -> None:
        with pytest.raises(LabError, match=r"loss\.class_weights"):
            make(class_weights=weights)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5]])
def test_cross_entropy_is_torchs(
    logits: torch.Tensor, mask: torch.Tensor, class_weights: list[float] | None, label_smoothing: float
) -> None:
    mask[1, 3] = 255
    expected = F.cross_entropy(
        logits,
        mask,
        None if class_weights is None else torch.tensor(class_weights),
        ignore_index=255,
        label_smoothing=label_smoothing,
    )
    torch.testing.assert_close(CrossEntropy(class_weights, label_smoothing, 255)(logits, mask), expected)


def test_dice_is_its_formula_on_a_case_done_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]]]])  # half a pixel of each class at both pixels
    mask = torch.tensor([[[0, 0]]])
    first = (2 * 1.0 + 1) / (1.0 + 2.0 + 1)
    second = (2 * 0.0 + 1) / (1.0 + 0.0 + 1)
    assert Dice(smooth=1.0)(logits, mask).item() == pytest.approx(1 - (first + second) / 2)
    assert Dice(smooth=1.0, class_weights=[3, 1])(logits, mask).item() == pytest.approx(1 - (3 * first + second) / 4)


def test_dice_counts_the_batch_as_one_image(logits: torch.Tensor, mask: torch.Tensor) -> None:
    one = Dice()(torch.cat(list(logits), dim=1).unsqueeze(0), torch.cat(list(mask)).unsqueeze(0))
    torch.testing.assert_close(Dice()(logits, mask), one)


def test_a_sum_weighs_its_terms(logits: torch.Tensor, mask: torch.Tensor) -> None:
    expected = 2 * CrossEntropy()(logits, mask) + 0.5 * Dice()(logits, mask)
    torch.testing.assert_close(Sum([CrossEntropy(), Dice()], [2, 0.5])(logits, mask), expected)


def test_cross_entropy_dice_passes_its_arguments_to_both(logits: torch.Tensor, mask: torch.Tensor) -> None:
    mask[0] = 7
    expected = CrossEntropy([1, 2, 3], 0.1, 7)(logits, mask) + 3 * Dice(0.5, [1, 2, 3], 7)(logits, mask)
    combined = cross_entropy_dice([1, 2, 3], 0.1, smooth=0.5, dice_weight=3, ignore_index=7)
    torch.testing.assert_close(combined(logits, mask), expected)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: CrossEntropy(label_smoothing=1.0), "loss.label_smoothing"),
        (lambda: Dice(smooth=0), "loss.smooth"),
        (lambda: Sum([CrossEntropy()], [1, 2]), "loss.weights"),
        (lambda: Sum([]), "loss.weights"),
    ],
)
def test_an_impossible_argument_is_named(make, key: str) -> None:
    with pytest.raises(LabError, match=key):
        make()


def test_class_weights_that_validation_used_first_serve_training_as_well() -> None:
    loss = CrossEntropy(class_weights=[0.25, 0.7531])
    logits, mask = torch.randn(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    with torch.inference_mode():
        first = loss(logits, mask).item()
    logits.requires_grad_()
    again = loss(logits, mask)
    again.backward()
    assert again.item() == first
    assert logits.grad is not None
