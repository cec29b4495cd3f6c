"""Every shape of mask comes out as the classes it means; what can't be understood is refused with the mend."""

import numpy as np
import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.data import Folder
from pruning_lab.data.masks import MaskRules, classes_of_colors, colors_table, translate
from tests.data.fakes import write_picture
from tests.data.mask_shapes import CLASSES, LISTED, MASKS, PAINTED
from tests.data.shapes import RGB8, SIZE, array, pillow, tiff


def folder(tmp_path, file: str, write) -> str:
    for split in ("train", "val", "test"):
        write_picture(tmp_path / split / "images" / "a.png", RGB8)
        (tmp_path / split / "masks").mkdir(parents=True)
        write(tmp_path / split / "masks" / file)
    return str(tmp_path)


@pytest.mark.parametrize("shape", MASKS, ids=lambda shape: shape.name)
def test_a_mask_gives_its_classes(shape, tmp_path):
    data = Folder(folder(tmp_path, shape.file, shape.write), SIZE, **shape.options)
    mask = data.train[0][1]
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, shape.expected)
    assert len(data.class_names) == len(set(np.unique(shape.expected)) - {255})


def test_no_row_of_the_table_is_there_twice():
    assert len({shape.name for shape in MASKS}) == len(MASKS) >= 30


@pytest.mark.parametrize(
    ("file", "write", "options", "message"),
    [
        ("a.png", pillow(PAINTED), {}, r"set data\.mask_colors=\[\[\d+,\d+,\d+\],\[\d+,\d+,\d+\],\[\d+,\d+,\d+\]\] in"),
        ("a.png", pillow(RGB8), {}, r"set data\.mask_colors and data\.mask_nearest=true: it has 1\d\d colors"),
        ("a.png", pillow(PAINTED), {"mask_colors": [[0, 0, 0], [128, 0, 0]]},
         r"holds the color \[0, 200, 64\], which data\.mask_colors does not list: add it there"),
        ("a.jpg", pillow(PAINTED), LISTED, r"or set data\.mask_nearest=true: JPG changes values"),
        ("a.tif", tiff(CLASSES.astype(np.float32)), {}, r"holds float32 numbers: save masks as whole numbers"),
        ("a.tif", tiff(CLASSES.astype(np.int32) * 500), {}, r"values from 0 to 1000: .*data\.mask_values=\{0:0,1:1\}"),
        ("a.tif", tiff(PAINTED.astype(np.uint16)), LISTED, r"needs colors of 8 bits"),
        ("a.png", pillow(CLASSES), {"mask_colors": [[0, 0]]}, r"data\.mask_colors is \[\[0, 0\]\]: give \[\[r, g, b\]"),
        ("a.png", pillow(CLASSES), {"mask_colors": {"#12": 0}}, r"data\.mask_colors is .*: give \[\[r, g, b\]"),
        ("a.png", pillow(CLASSES), {"mask_colors": [[0, 0, 300]]}, r"data\.mask_colors is"),
        ("a.png", pillow(CLASSES), {"mask_colors": 5}, r"data\.mask_colors is 5"),
        ("a.png", pillow(CLASSES), {"mask_colors": [[0, 0, 0], [0, 0, 0]]}, r"names no color, or one twice"),
        ("a.png", pillow(CLASSES), {"mask_colors": {"#000000": 300}}, r"holds 300: use 0 to 255"),
        ("a.png", pillow(CLASSES), {**LISTED, "mask_values": {0: 0}}, r"are both set: .* leave one out"),
        ("a.npy", array(np.zeros((0, 16), np.uint8)), {}, r"a\.npy has no pixels: restore the file"),
        ("a.png", pillow(CLASSES), {"mask_nearest": True}, r"data\.mask_nearest needs data\.mask_values or"),
    ],
)  # fmt: skip
def test_what_can_not_be_understood_is_named(tmp_path, file, write, options, message):
    with pytest.raises(LabError, match=message) as refusal:
        Folder(folder(tmp_path, file, write), SIZE, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        {"mask_values": {0: 0, 1: 2, 2: 1}},
        {"mask_values": {0: 0, 1: 1, 2: 2}, "mask_nearest": True},
        {"mask_colors": {"#000000": 0, "#010101": 2, "#020202": 1}},
    ],
    ids=str,
)
def test_another_meaning_is_another_base(tmp_path, options):
    root = folder(tmp_path, "a.png", pillow(CLASSES))
    plain = {"mask_values": {0: 0, 1: 1, 2: 2}}
    assert Folder(root, SIZE, **plain).fingerprint() != Folder(root, SIZE, **options).fingerprint()


def test_the_nearest_value_is_the_smaller_of_two(tmp_path):
    found = translate(np.array([[0, 5, 10, 99, -4]]), {0: 7, 10: 8}, tmp_path, nearest=True)
    np.testing.assert_array_equal(found, [[7, 7, 8, 8, 7]])


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_color_is_that_of_the_least_distance(tmp_path, seed):
    rng = np.random.default_rng(seed)
    pixels, colors = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8), rng.integers(0, 256, (5, 3))
    found = classes_of_colors(pixels, colors_table(colors.tolist()), tmp_path, nearest=True)
    distances = np.linalg.norm(pixels[:, :, None].astype(float) - colors, axis=-1)
    np.testing.assert_array_equal(found, distances.argmin(axis=-1))


def test_rules_are_facts_of_the_fingerprint():
    assert MaskRules(mask_values={0: 0, 1: 1}).facts() != MaskRules(mask_values={0: 1, 1: 0}).facts()
