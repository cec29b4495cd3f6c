"""Images are picked by how far methods differ on them, and shown with what each predicts."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.tasks.report.page.side_by_side import (
    BASE,
    Contrast,
    Prediction,
    SideBySide,
    disagreement,
    side_by_side,
)
from pruning_lab.tasks.report.page.tiles import LONGEST_SIDE, keys, tile_rows
from tests.tasks.test_assembly import perform

RNG = np.random.default_rng(0)
MASK = np.zeros((4, 6), np.uint8)


def filled(value: int) -> np.ndarray:
    return np.full(MASK.shape, value, np.uint8)


def test_models_that_agree_do_not_differ() -> None:
    assert disagreement([filled(1)] * 3, MASK, None) == 0
    assert disagreement([filled(1)], MASK, None) == 0


def test_the_difference_is_the_share_of_pairs_that_disagree() -> None:
    half = filled(0)
    half[:2] = 1
    assert disagreement([filled(0), half], MASK, None) == pytest.approx(0.5)
    assert disagreement([filled(0), filled(1), filled(2)], MASK, None) == pytest.approx(1)
    assert disagreement([filled(0), filled(0), filled(2)], MASK, None) == pytest.approx(2 / 3)


def test_it_equals_the_mean_over_all_pairs() -> None:
    found = [RNG.integers(0, 4, MASK.shape).astype(np.uint8) for _ in range(5)]
    pairs = [(a != b).mean() for place, a in enumerate(found) for b in found[:place]]
    assert disagreement(found, MASK, None) == pytest.approx(np.mean(pairs))


def test_pixels_that_do_not_count_are_left_out() -> None:
    mask = MASK.copy()
    mask[:2] = 255
    half = filled(0)
    half[:2] = 1
    assert disagreement([filled(0), half], mask, 255) == 0
    assert disagreement([filled(0), half], filled(255), 255) == 0


def decoded(address: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


def test_pictures_are_small_and_have_the_colors_of_their_classes() -> None:
    size = (700, 500)
    image = RNG.integers(0, 255, (*size, 3), dtype=np.uint8)
    mask, found = np.zeros(size, np.uint8), np.ones(size, np.uint8)
    contrast = Contrast(
        "a <b>", image, mask, [Prediction("l1", found, 0.25), Prediction("l2", found, float("nan"))], 0.5
    )
    side = SideBySide([contrast], ("ground", "square"), None, 9)
    (row,) = tile_rows(side)
    assert (row.label, row.difference) == ("a <b>", "50.0 %")
    assert [(tile.name, tile.score) for tile in row.tiles[2:]] == [("l1", "IoU 25.0 %"), ("l2", "no pixel counts")]
    picture, wrong = decoded(row.tiles[2].picture), decoded(row.tiles[2].errors)
    assert max(picture.shape) == max(wrong.shape) == LONGEST_SIDE
    classes, errors = keys(side)
    assert [name for name, _ in classes] == ["ground", "square"]
    assert "#" + bytes(picture[0, 0]).hex() == dict(classes)["square"]
    assert "#" + bytes(wrong[5, 5]).hex().upper() == dict(errors)["too much"]


@pytest.mark.slow
def test_runs_predict_the_images_on_which_they_differ_most(tmp_path: Path) -> None:
    for method in ("l1", "random"):
        perform(tmp_path, method, f"importance={method}", "base.epochs=15")
    runs = {method: read_run(tmp_path / method) for method in ("l1", "random")}
    found = side_by_side(runs, 3, "cpu", str(tmp_path / "bases"))
    assert found.looked_at == 16
    assert len(found.contrasts) == 3
    gaps = [contrast.difference for contrast in found.contrasts]
    assert gaps == sorted(gaps, reverse=True)
    for contrast in found.contrasts:
        assert [each.model for each in contrast.predictions] == [BASE, "l1", "random"]
        assert all(each.found.shape == contrast.mask.shape and 0 <= each.iou <= 1 for each in contrast.predictions)
    alone = side_by_side({"l1": runs["l1"]}, 2, "cpu", str(tmp_path / "nowhere"))
    assert [each.model for each in alone.contrasts[0].predictions] == [BASE, "l1"]
    (tmp_path / "l1" / "model" / "weights.safetensors").unlink()
    with pytest.raises(LabError, match="weights"):
        side_by_side(runs, 3, "cpu", str(tmp_path / "bases"))
