"""Pixels come out of files as they are stored, and files that don't fit are named."""

import numpy as np
import pytest
from PIL import Image as Pillow

from pruning_lab.common.errors import LabError
from pruning_lab.data.files import FilePair, FileSplit, HowRead, digests_of, identity, resized
from pruning_lab.data.formats import header_of
from pruning_lab.data.masks import MaskRules, read_mask, translate
from pruning_lab.data.reading import Channels, Reading, read_image
from tests.data.fakes import write_picture

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
CLASSES = np.random.default_rng(1).integers(0, 5, (6, 8)).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "tif", "tiff", "bmp"])
def test_lossless_images_come_back_exactly(tmp_path, ending):
    path = write_picture(tmp_path / f"a.{ending}", COLOURS)
    np.testing.assert_array_equal(read_image(path), COLOURS)


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp"])
def test_lossy_images_come_back_nearly(tmp_path, ending):
    smooth = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    path = write_picture(tmp_path / f"a.{ending}", smooth)
    np.testing.assert_allclose(read_image(path).astype(int), smooth, atol=6)


def test_grey_images_get_three_equal_channels(tmp_path):
    path = write_picture(tmp_path / "a.png", CLASSES)
    np.testing.assert_array_equal(read_image(path), np.repeat(CLASSES[..., None], 3, axis=2))


def test_sixteen_bit_greys_keep_their_proportions(tmp_path):
    path = write_picture(tmp_path / "a.png", np.array([[0, 257, 65535]], np.uint16))
    expected = np.array([0, 257 / 65535, 1], np.float32)
    np.testing.assert_array_equal(read_image(path)[0, :, 0], expected)


def test_an_image_is_not_turned_away_from_its_mask(tmp_path):
    turned = Pillow.Exif()
    turned[0x0112] = 6
    Pillow.fromarray(COLOURS).save(tmp_path / "a.png", exif=turned)
    assert read_image(tmp_path / "a.png").shape == (6, 8, 3)


def test_a_palette_mask_gives_indices_not_colours(tmp_path):
    picture = Pillow.fromarray(CLASSES)
    picture.putpalette([value for index in range(256) for value in (index, 255 - index, 90)])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), CLASSES)


def test_a_one_bit_mask_gives_zero_and_one(tmp_path):
    Pillow.fromarray(CLASSES > 2).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), CLASSES > 2)


def test_a_mask_saved_in_colour_is_taken_as_grey_if_its_channels_agree(tmp_path):
    path = write_picture(tmp_path / "a.png", np.repeat(CLASSES[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_mask(path), CLASSES)


def test_a_coloured_mask_is_refused(tmp_path):
    path = write_picture(tmp_path / "a.png", COLOURS)
    with pytest.raises(LabError, match=r"a\.png is a color picture: save masks with one channel"):
        read_mask(path)


def test_a_mask_of_fractions_is_refused(tmp_path):
    path = write_picture(tmp_path / "a.tif", CLASSES.astype(np.float32))
    with pytest.raises(LabError, match=r"a\.tif holds float32 numbers"):
        read_mask(path)


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_file_cut_short_is_named(tmp_path, read, ending):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = write_picture(tmp_path / f"broken.{ending}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LabError, match=rf"broken\.{ending}: it is damaged or no image; restore the file"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(LabError, match=r"a\.png: it is damaged or no image"):
        read_image(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabError, match=r"gone\.png: it does not exist"):
        read_image(tmp_path / "gone.png")


def test_values_are_looked_up(tmp_path):
    values = np.array([[0, 255, 128]], np.int32)
    np.testing.assert_array_equal(translate(values, {0: 0, 255: 1, 128: 9}, tmp_path), [[0, 1, 9]])


def test_a_value_that_is_not_listed_is_named(tmp_path):
    with pytest.raises(LabError, match=r"m\.png holds the value 7, which data\.mask_values does not list"):
        translate(np.array([[0, 7]], np.int32), {0: 0}, tmp_path / "m.png")


def test_a_value_past_a_byte_is_refused_without_a_mapping(tmp_path):
    with pytest.raises(LabError, match=r"m\.png holds values from 0 to 300"):
        translate(np.array([[0, 300]], np.int32), None, tmp_path / "m.png")


@pytest.mark.parametrize("size", [(3, 4), (12, 20), (5, 30)])
def test_masks_are_never_interpolated(size):
    mask = np.where(CLASSES > 2, 200, 10).astype(np.uint8)
    image, smaller = resized(COLOURS, mask, size)
    assert image.shape == (*size, 3)
    assert smaller.shape == size
    assert set(np.unique(smaller)) <= {10, 200}


def test_a_pair_of_different_sizes_names_both(tmp_path):
    pair = FilePair(write_picture(tmp_path / "a.png", COLOURS), write_picture(tmp_path / "m.png", CLASSES[:, :5]), "a")
    with pytest.raises(LabError, match=r"m\.png is 5 x 6 pixels, but its image a\.png is 8 x 6"):
        FileSplit([pair], [header_of(pair.image)], (6, 8), HowRead(Reading(), Channels(3)), MaskRules())[0]


def test_identity_follows_content_and_names_but_not_dates(tmp_path):
    def of(folder: str, image: np.ndarray, label: str = "a") -> str:
        files = (
            write_picture(tmp_path / folder / "a.bmp", image),
            write_picture(tmp_path / folder / "m.bmp", CLASSES),
        )
        splits = {"train": [FilePair(*files, label)]}
        return identity(splits, digests_of(splits))

    assert of("one", COLOURS) == of("two", COLOURS)
    assert of("one", COLOURS) != of("two", COLOURS // 2)
    assert of("one", COLOURS) != of("two", COLOURS, label="b")
