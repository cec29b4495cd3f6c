from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pruning_lab.lab.output.palette import class_colors
from pruning_lab.lab.output.samples import as_colors, augmented_samples, laid_over, predictions

NAMES = ["background", "sclera", "iris"]
RNG = np.random.default_rng(0)


def images(number: int) -> list[np.ndarray]:
    return [RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(number)]


def masks(number: int, value: int) -> list[np.ndarray]:
    return [np.full((24, 32), value) for _ in range(number)]


def share_of(color: np.ndarray, path: Path) -> float:
    """The fraction of the picture's pixels that have this color."""
    pixels = (imread(path)[..., :3] * 255).round()
    return float((pixels == color).all(axis=-1).mean())


def test_every_number_of_classes_has_as_many_different_colors_and_one_for_ignored() -> None:
    for number in (1, 2, 8, 9, 21, 40):
        colors = class_colors(number)
        assert colors.shape == (number + 1, 3)
        assert len(np.unique(colors, axis=0)) == number + 1


def test_samples_fill_rows_of_four(tmp_path: Path) -> None:
    def shape(number: int) -> tuple[int, int]:
        path = augmented_samples(images(number), masks(number, 1), NAMES, tmp_path / "new" / f"{number}.png")
        height, width, _ = imread(path).shape
        return height, width

    sizes = {number: shape(number) for number in (1, 3, 4, 5, 8)}
    assert sizes[1][1] < sizes[3][1] < sizes[4][1]
    assert sizes[1][0] == sizes[3][0] == sizes[4][0]
    assert sizes[5] == sizes[8]
    assert sizes[8][0] > 1.5 * sizes[4][0]


def test_a_mask_lies_over_its_image(tmp_path: Path) -> None:
    black = [np.zeros((24, 32, 3), dtype=np.uint8)]
    path = augmented_samples(black, masks(1, 2), NAMES, tmp_path / "samples.png")
    half_of_the_class = (class_colors(3)[2] / 2).round()
    assert share_of(half_of_the_class, path) > 0.1
    assert share_of(np.zeros(3), path) > 0.1


def test_predictions_show_both_models_in_the_colors_of_their_classes(tmp_path: Path) -> None:
    path = predictions(images(2), masks(2, 0), masks(2, 1), masks(2, 2), NAMES, None, tmp_path / "p.png")
    for color in class_colors(3)[:3]:
        assert share_of(color, path) > 0.1


@pytest.mark.parametrize(("value", "ignore_index"), [(255, 255), (255, None), (2, 2), (-1, 255)])
def test_ignored_pixels_have_their_own_color(tmp_path: Path, value: int, ignore_index: int | None) -> None:
    path = predictions(images(1), masks(1, value), masks(1, 0), masks(1, 1), NAMES, ignore_index, tmp_path / "p.png")
    colors = class_colors(3)
    assert share_of(colors[-1], path) > 0.1
    assert share_of(colors[2], path) == 0


def test_masks_of_unsigned_bytes_are_taken_as_they_are(tmp_path: Path) -> None:
    bytes_ = [np.full((24, 32), 255, dtype=np.uint8)]
    path = predictions(images(1), bytes_, masks(1, 0), masks(1, 0), NAMES, 255, tmp_path / "p.png")
    assert share_of(class_colors(3)[-1], path) > 0.1


def test_no_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images"):
        augmented_samples([], [], NAMES, tmp_path / "samples.png")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_images_of_any_number_of_channels_are_shown(tmp_path: Path, channels: int, kind: type) -> None:
    shown = [(RNG.random((24, 32, channels)) * 200).astype(kind)]
    assert augmented_samples(shown, masks(1, 1), NAMES, tmp_path / "samples.png").is_file()
    assert predictions(shown, masks(1, 0), masks(1, 1), masks(1, 2), NAMES, None, tmp_path / "p.png").is_file()
    colors = as_colors(shown[0])
    assert (colors.shape, colors.dtype) == ((24, 32, 3), np.uint8)
    expected = {1: [0, 0, 0], 2: [0, 1, None]}.get(channels, [0, 1, 2])
    for place, channel in enumerate(expected):
        stored = np.zeros((24, 32)) if channel is None else shown[0][..., channel].astype(np.float64)
        if kind is np.uint8:
            np.testing.assert_array_equal(colors[..., place], stored)
        elif channel is not None:
            order = np.argsort(stored, axis=None)
            assert (np.diff(colors[..., place].ravel()[order].astype(int)) >= 0).all()


def test_fractions_that_fill_little_of_their_range_can_be_seen() -> None:
    image = (RNG.random((24, 32, 3)) * 1e-4 + 0.3).astype(np.float32)
    colors = as_colors(image)
    assert colors.min() == 0
    assert colors.max() == 255
    assert as_colors(np.full((4, 4, 1), 0.7, np.float32)).max() == 0


def test_an_overlay_is_half_image_and_half_the_color_of_the_class() -> None:
    image = np.full((1, 2, 1), 100, np.uint8)
    colors = class_colors(2)
    expected = [np.round((100 + colors[index].astype(float)) / 2) for index in (0, 1)]
    assert np.array_equal(laid_over(image, np.array([[0, 1]], np.uint8), 2)[0], expected)
