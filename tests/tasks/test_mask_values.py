"""Classes as the user's own masks have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.mask_values import mask_writer

MASK = np.array([[0, 1], [1, 0]], np.uint8)


@pytest.mark.parametrize(
    ("data", "expected", "words"),
    [
        ({}, [[0, 1], [1, 0]], "0 ground, 1 square"),
        ({"mask_values": {0: 0, 255: 1}}, [[0, 255], [255, 0]], "0 ground, 255 square"),
        ({"mask_values": {7: 1, 3: 0, 8: 1}}, [[3, 7], [7, 3]], "3 ground, 7 square"),
        ({"mask_values": {0: 0, 4000: 1}}, [[0, 4000], [4000, 0]], "0 ground, 4000 square"),
        ({"mask_values": {0: 0, 5: 1, 9: 255}, "ignore_index": 255}, [[0, 5], [5, 0]], "0 ground, 5 square"),
        (
            {"mask_colors": {"#ff8000": 1, "#000001": 0}},
            [[[0, 0, 1], [255, 128, 0]], [[255, 128, 0], [0, 0, 1]]],
            "#000001 ground, #ff8000 square",
        ),
    ],
)
def test_masks_are_written_as_the_data_has_them(
    data: dict[str, object], expected: list[object], words: str, tmp_path: Path
) -> None:
    writer = mask_writer("data", data)
    writer.write(MASK, tmp_path / "mask.png")
    assert np.asarray(Image.open(tmp_path / "mask.png")).tolist() == expected
    assert writer.in_words(["ground", "square"]) == words


def test_indices_are_written_whatever_the_data_has() -> None:
    assert np.array_equal(mask_writer("classes", {"mask_values": {0: 0, 255: 1}}).translated(MASK), MASK)


@pytest.mark.parametrize(
    "data", [{"mask_values": {0: 0, 5: 2}}, {"mask_values": {-1: 0, 5: 1}}, {"mask_values": {0: 0, 70000: 1}}]
)
def test_what_can_not_be_written_is_told(data: dict[str, object]) -> None:
    with pytest.raises(LabError, match=r"task\.values"):
        mask_writer("data", data)


def test_a_class_without_a_value_is_told() -> None:
    with pytest.raises(LabError, match="no value for class 2"):
        mask_writer("data", {"mask_values": {0: 0, 255: 1}}).translated(MASK + 1)
