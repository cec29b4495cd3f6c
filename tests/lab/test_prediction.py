"""A network that is used: any image goes through it as training images did, and its mask has the image's own size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_lab.checkpoint import save
from pruning_lab.common.errors import LabError
from pruning_lab.data.scaling import Scale
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.prediction import Predictor, predict
from pruning_lab.models import UNet
from tests.networks.tiny import TinyNet

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
FACTS = InputFacts(MEAN, STD)
SIZES = [(37, 100), (1, 1), (1, 40), (64, 64), (200, 300)]


def image_of(size: tuple[int, int], channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def unet(channels: int = 3, classes: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(in_channels=channels, classes=classes, width=4, depth=3).eval()


def by_hand(model: nn.Module, image: np.ndarray) -> Tensor:
    """Logits [classes, H, W] of an image that needs neither padding nor tiles."""
    pixels = (image / 255 - np.array(MEAN[: image.shape[2]])) / np.array(STD[: image.shape[2]])
    with torch.no_grad():
        return model(torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None])[0]


class Picky(nn.Module):
    """Takes sides that are multiples of a number, as many encoders do; class 1 where the first channel is bright."""

    def __init__(self, multiple: int = 16) -> None:
        super().__init__()
        self.multiple, self.weight, self.seen = multiple, nn.Parameter(torch.ones(())), []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape))
        if any(side % self.multiple for side in image.shape[-2:]):
            raise RuntimeError(f"sides must be multiples of {self.multiple}")
        return torch.stack([-image[:, 0], image[:, 0]], 1) * self.weight


def test_an_image_is_normalized_as_in_training() -> None:
    model, image = unet(), image_of((32, 48))
    found = Predictor(model, FACTS)(image, probabilities=True)
    expected = by_hand(model, image)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, expected.softmax(0).numpy(), atol=1e-5)
    assert np.array_equal(found.mask, expected.argmax(0).numpy())
    assert found.mask.dtype == np.uint8


def test_fractions_and_bytes_of_one_picture_give_the_same() -> None:
    predictor, image = Predictor(unet(), FACTS), image_of((32, 32))
    ours, theirs = (predictor(each, True).probabilities for each in (image, (image / 255).astype(np.float32)))
    assert ours is not None
    assert theirs is not None
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_any_size_and_any_number_of_channels(size: tuple[int, int], channels: int) -> None:
    facts = InputFacts((0.5,) * channels, (0.25,) * channels)
    found = Predictor(unet(channels), facts, tile=128, overlap=16)(image_of(size, channels), probabilities=True)
    assert found.mask.shape == size
    assert found.probabilities is not None
    assert found.probabilities.shape == (3, *size)
    np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_a_network_that_takes_certain_sizes_gets_the_least_of_them(size: tuple[int, int]) -> None:
    model, image = Picky(), image_of(size)
    mask = Predictor(model, FACTS)(image).mask
    assert np.array_equal(mask, image[..., 0] > 127)
    sides = [-(-side // 16) * 16 for side in size]
    assert model.seen[-1] == (1, 3, *sides)


def test_a_size_that_was_refused_is_not_tried_again_for_the_next_image() -> None:
    model = Picky()
    predictor = Predictor(model, FACTS)
    predictor(image_of((20, 20)))
    first = len(model.seen)
    predictor(image_of((20, 20)))
    assert first > 1
    assert len(model.seen) == first + 1


def test_what_an_image_gives_does_not_depend_on_those_before_it() -> None:
    images = [image_of(size, seed=seed) for seed, size in enumerate([*SIZES, *SIZES, (16, 16), (16, 16)])]
    model = unet()
    together = [found.mask for found in Predictor(model, FACTS).predict_all(images)]
    alone = [Predictor(model, FACTS)(image).mask for image in images]
    assert [mask.shape for mask in together] == [image.shape[:2] for image in images]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_neighbors_of_one_size_go_together() -> None:
    model = Picky(1)
    list(Predictor(model, FACTS, batch_size=3).predict_all([image_of((16, 16))] * 4 + [image_of((16, 8))]))
    assert [shape[0] for shape in model.seen] == [3, 1, 1]


def test_large_images_make_small_batches() -> None:
    model = Picky(1)
    list(Predictor(model, FACTS, batch_size=4, tile=0).predict_all([image_of((1024, 512))] * 4))
    assert [shape[0] for shape in model.seen] == [2, 2]


def test_tiles_give_what_the_whole_image_gives() -> None:
    torch.manual_seed(0)
    model, image = TinyNet(classes=3), image_of((150, 90))
    whole, tiled = (Predictor(model, FACTS, tile=tile, overlap=16)(image, True).probabilities for tile in (0, 64))
    assert whole is not None
    assert tiled is not None
    # A tile's edge, where the network sees zeros in place of its neighbor, has nearly no weight.
    assert np.abs(whole - tiled).max() < 0.05
    assert np.abs(whole - tiled).mean() < 1e-3


def test_two_thousand_by_three_thousand_pixels_go_in_tiles() -> None:
    model = Picky(32)
    image = image_of((2000, 3000))
    assert np.array_equal(Predictor(model, FACTS)(image).mask, image[..., 0] > 127)
    assert max(max(shape[-2:]) for shape in model.seen) <= 1024


def test_gray_images_get_the_channels_of_the_network() -> None:
    gray = image_of((20, 30), 1)
    masks = [predict(unet(), image, mean=MEAN, std=STD) for image in (gray, gray[..., 0], gray.repeat(3, axis=2))]
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


def test_images_that_were_resized_in_training_are_resized_here_and_masks_brought_back() -> None:
    facts = InputFacts(MEAN, STD, size=(32, 32), resized=True)
    model, image = Picky(1), np.zeros((64, 128, 3), np.uint8)
    image[16:48, 32:96] = 255
    for resize, seen in (("auto", (1, 3, 32, 32)), ("training", (1, 3, 32, 32)), ("native", (1, 3, 64, 128))):
        mask = Predictor(model, facts, resize=resize)(image).mask  # type: ignore[arg-type]
        assert model.seen[-1] == seen
        # Corners are rounded on the way back.
        assert (mask != (image[..., 0] > 0)).sum() <= 8
    not_resized = InputFacts(MEAN, STD, size=(32, 32))
    Predictor(model, not_resized)(image)
    assert model.seen[-1] == (1, 3, 64, 128)


@pytest.mark.parametrize(
    ("own", "seen"), [((64, 96), (32, 32)), ((128, 96), (64, 32)), ((1, 1), (1, 1)), ((200, 300), (100, 100))]
)
def test_where_training_files_had_one_size_others_are_resized_by_the_same_factors(
    own: tuple[int, int], seen: tuple[int, int]
) -> None:
    facts = InputFacts(MEAN, STD, size=(32, 32), resized=True, file_size=(64, 96))
    model = Picky(1)
    assert Predictor(model, facts)(image_of(own)).mask.shape == own
    assert model.seen[-1] == (1, 3, *seen)
    Predictor(model, facts, resize="training")(image_of(own))
    assert model.seen[-1] == (1, 3, 32, 32)


def test_whole_numbers_go_through_the_scale_of_the_training_images() -> None:
    facts = InputFacts((0.5,), (0.5,), scale=Scale((100.0,), (1100.0,)))
    image = np.array([[100, 500, 700, 1100]], np.uint16)
    assert Predictor(Picky(1), facts)(image).mask.tolist() == [[0, 0, 1, 1]]
    fractions = ((image - 100.0) / 1000).astype(np.float32)
    assert Predictor(Picky(1), facts)(fractions).mask.tolist() == [[0, 0, 1, 1]]


def test_the_network_keeps_its_mode_and_learns_nothing() -> None:
    model = TinyNet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    predict(model, image_of((16, 16)), mean=MEAN, std=STD)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def saved(folder: Path, **about: Any) -> Path:
    return save(folder, TinyNet(classes=3), about={"mean": list(MEAN), "std": list(STD), **about})


def trusting(folder: Path, image: np.ndarray) -> np.ndarray:
    return predict(folder, image, trust=("tests",))


def test_a_folder_is_all_that_prediction_needs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved(tmp_path / "run" / "model", class_names=["a", "b", "c"], input=[1, 3, 16, 16], resized=False)
    image = image_of((20, 24))
    torch.manual_seed(0)
    expected = by_hand(TinyNet(classes=3).eval(), image).argmax(0).numpy()
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        assert np.array_equal(trusting(folder, image), expected)
    facts = InputFacts.of_checkpoint(checkpoint_folder(tmp_path / "run"))
    assert facts.class_names == ("a", "b", "c")
    assert facts.size == (16, 16)


def test_a_scale_in_the_folder_is_used(tmp_path: Path) -> None:
    scale = {"low": [0.0] * 3, "high": [65535.0] * 3, "clip": False}
    saved(tmp_path, scale=scale)
    image = image_of((16, 16))
    assert np.array_equal(
        trusting(tmp_path, image.astype(np.uint16) * 257), trusting(tmp_path, image / np.float32(255))
    )


@pytest.mark.parametrize(
    ("about", "told"),
    [
        (None, "tells no mean and std"),
        ({"scale": [1, 2]}, "about can't be used"),
        ({"input": [3]}, "about can't be used"),
        ({"std": [0, 1, 1]}, "std > 0"),
    ],
)
def test_a_folder_that_tells_too_little_is_named(tmp_path: Path, about: dict[str, Any] | None, told: str) -> None:
    save(tmp_path, TinyNet()) if about is None else saved(tmp_path, **about)
    with pytest.raises(LabError, match=told) as caught:
        trusting(tmp_path, image_of((8, 8)))
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no model"):
        predict(tmp_path, image_of((8, 8)))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (image_of((8, 8), 4), "4 channels, the network was trained on 3"),
        (np.zeros((0, 8, 3), np.uint8), "not empty"),
        (np.zeros(8, np.uint8), "give .H, W, channels."),
        (np.zeros((8, 8, 3), np.uint16), "uint16"),
        (np.full((8, 8, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_an_image_that_does_not_fit_is_told(image: np.ndarray, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        predict(unet(), image, mean=MEAN, std=STD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resize": "large"}, "resize is large"),
        ({"resize": "training"}, "resize=training needs"),
        ({"tile": 64, "overlap": 40}, "overlap at most half"),
        ({"batch_size": 0}, "batch_size at least 1"),
    ],
)
def test_an_option_that_can_not_be_is_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(LabError, match=told):
        predict(unet(), image_of((8, 8)), mean=MEAN, std=STD, **options)


def test_a_network_alone_needs_its_mean_and_std() -> None:
    with pytest.raises(LabError, match="needs mean and std"):
        predict(unet(), image_of((8, 8)))


def test_a_network_that_takes_no_size_is_told_with_its_own_words() -> None:
    class Never(Picky):
        def forward(self, image: Tensor) -> Tensor:
            raise RuntimeError("not today")

    with pytest.raises(LabError, match=r"takes no image of 8 x 8 pixels.*not today"):
        predict(Never(), image_of((8, 8)), mean=MEAN, std=STD)
