"""Every shape of data comes out with the pixels that another reader finds in the file, at its own depth."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pruning_lab.data import Folder
from tests.data.fakes import write_picture
from tests.data.shapes import BYTES, DEEP, SIZE, Shape

UPRIGHT = [f"EXIF {note}, upright" for note in (5, 6, 7, 8)]


def data_of(shape: Shape, root: Path, mask_size: tuple[int, int] = SIZE) -> tuple[Folder, Path]:
    for split in ("train", "val", "test"):
        (root / split / "images").mkdir(parents=True)
        shape.write(root / split / "images" / shape.file)
        write_picture(root / split / "masks" / "a.png", np.resize(np.array([0, 1], np.uint8), mask_size))
    return Folder(str(root), mask_size, **shape.options), root / "train" / "images" / shape.file


@pytest.mark.parametrize("shape", BYTES, ids=lambda shape: shape.name)
def test_bytes_stay_bytes(shape, tmp_path):
    turned = shape.name.split()[-1] in "5678" or shape.name in UPRIGHT
    data, path = data_of(shape, tmp_path, SIZE[::-1] if turned else SIZE)
    image, _ = data.train[0]
    truth = shape.truth(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, truth)
    assert (data.channels, data.scale) == (truth.shape[2], None)
    assert "uint8" in data.about
    assert "kept as bytes" in data.about


@pytest.mark.parametrize("shape", DEEP, ids=lambda shape: shape.name)
def test_other_depths_become_fractions(shape, tmp_path):
    data, path = data_of(shape, tmp_path)
    image, _ = data.train[0]
    truth = shape.truth(path)
    assert (image.dtype, truth.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(image, truth)
    assert data.channels == truth.shape[2] == len(data.mean) == len(data.std)
    assert "0 to 1, " in data.about.partition("; ")[2]
    np.testing.assert_allclose(data.mean, truth.astype(np.float64).mean((0, 1)), atol=1e-8)


def test_the_table_has_rows_of_many_kinds_and_no_row_twice():
    names = Counter(shape.name for shape in [*BYTES, *DEEP])
    assert max(names.values()) == 1
    assert len(names) >= 60
