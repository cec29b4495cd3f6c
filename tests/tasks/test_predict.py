"""task=predict: from a run and any image files to mask files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pruning_lab.checkpoint import save
from pruning_lab.common.errors import LabError
from pruning_lab.lab.prediction import Predictor
from pruning_lab.models import UNet
from pruning_lab.tasks.config import run_task
from tests.tasks.runs import SIZE, run_on_files, square
from tests.tasks.test_config import composed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_on_files(tmp_path_factory.mktemp("predict"))


def predict(run: Path, images: object, folder: Path, *overrides: str) -> None:
    told = ["task=predict", f"task.run='{run}'", f"task.images='{images}'", "device=cpu", "threads=1", "tracking=none"]
    run_task(composed(*told, *overrides), str(folder), {})


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_images_becomes_masks_and_overlays_of_their_own_sizes(run: Path, tmp_path: Path) -> None:
    sizes = {"a": (37, 100), "deep/b": (1, 1), "deep/c": SIZE}
    for name, size in sizes.items():
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(square(1, (max(size[0], 2), max(size[1], 2)))[0][: size[0], : size[1]]).save(path)
    predict(run, tmp_path / "photos", tmp_path / "out")
    assert below(tmp_path / "out") == {f"{kind}/{name}.png" for kind in ("masks", "overlays") for name in sizes}
    predictor = Predictor.from_folder(run)
    for name, size in sizes.items():
        mask = pixels(tmp_path / "out" / "masks" / f"{name}.png")
        assert mask.shape == size
        assert np.array_equal(mask, predictor(pixels(tmp_path / "photos" / f"{name}.png")).mask)
        assert pixels(tmp_path / "out" / "overlays" / f"{name}.png").shape == (*size, 3)


LARGE = (2000, 3000)
SIDES = [(100, 37), (37, 100), (1, 1)]
FILES = {"gray": (1, 1), "gray as rgb": (3, 1), "four": (4, 4)}
"""Channels of the network, and of the file."""


@pytest.mark.parametrize(
    ("channels", "of_the_file", "size"),
    [
        *(pytest.param(*FILES[name], size, id=f"{name}-{size}") for name in FILES for size in SIDES),
        *(
            pytest.param(*FILES[name], (2000, 3000), id=f"{name}-large", marks=pytest.mark.slow)
            for name in ("gray", "four")
        ),
    ],
)
def test_files_of_any_size_and_depth_of_channels_get_masks(
    tmp_path: Path, channels: int, of_the_file: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = UNet(channels, 3, width=2, depth=1)
    save(tmp_path / "model", model, about={"mean": [0.5] * channels, "std": [0.25] * channels})
    image = np.random.default_rng(0).integers(0, 256, (*size, of_the_file), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(image.squeeze(2) if of_the_file == 1 else image).save(tmp_path / "in" / "a.png")
    predict(tmp_path / "model", tmp_path / "in" / "a.png", tmp_path / "out")
    mask = pixels(tmp_path / "out" / "masks" / "a.png")
    assert mask.shape == size
    assert np.array_equal(mask, Predictor.from_folder(tmp_path / "model")(image).mask)
    assert pixels(tmp_path / "out" / "overlays" / "a.png").shape == (*size, 3)


def test_the_network_finds_what_it_was_trained_for(run: Path, tmp_path: Path) -> None:
    predict(run, run.parent / "squares" / "test" / "images", tmp_path, "task.values=data", "task.overlays=false")
    masks = sorted((tmp_path / "masks").iterdir())
    truth = [pixels(run.parent / "squares" / "test" / "masks" / path.name) for path in masks]
    found = [pixels(path) for path in masks]
    assert len(masks) == 5
    assert set(np.unique(found)) == {0, 255}
    assert np.mean([(one == other).mean() for one, other in zip(found, truth, strict=True)]) > 0.9
    assert not (tmp_path / "overlays").exists()


def test_a_pattern_and_a_file_name_images_too(run: Path, tmp_path: Path) -> None:
    images = run.parent / "squares" / "test" / "images"
    predict(run, images / "20[01].png", tmp_path / "pattern")
    predict(run, images / "204.png", tmp_path / "file")
    assert below(tmp_path / "pattern" / "masks") == {"200.png", "201.png"}
    assert below(tmp_path / "file" / "masks") == {"204.png"}


def test_files_that_differ_in_their_ending_alone_get_masks_of_their_own(run: Path, tmp_path: Path) -> None:
    image = Image.fromarray(square(0)[0])
    for ending in ("png", "bmp"):
        (tmp_path / "in").mkdir(exist_ok=True)
        image.save(tmp_path / "in" / f"a.{ending}")
    predict(run, tmp_path / "in", tmp_path / "out")
    assert below(tmp_path / "out" / "masks") == {"a.png.png", "a.bmp.png"}


def test_probabilities_are_written_where_asked_for_and_the_folder_is_chosen(run: Path, tmp_path: Path) -> None:
    image = run.parent / "squares" / "val" / "images" / "100.png"
    predict(run, image, tmp_path / "unused", "task.probabilities=true", f"task.output={tmp_path / 'out'}")
    found = np.load(tmp_path / "out" / "probabilities" / "100.npy")
    assert found.shape == (2, *SIZE)
    assert found.dtype == np.float32
    assert np.array_equal(found.argmax(0), pixels(tmp_path / "out" / "masks" / "100.png"))
    assert not (tmp_path / "unused").exists()


def test_a_saved_model_alone_is_enough(run: Path, tmp_path: Path) -> None:
    image = run.parent / "squares" / "val" / "images" / "100.png"
    (run / "model").rename(tmp_path / "model")
    try:
        predict(tmp_path / "model", image, tmp_path / "alone")
    finally:
        (tmp_path / "model").rename(run / "model")
    predict(run, image, tmp_path / "run")
    assert np.array_equal(pixels(tmp_path / "alone/masks/100.png"), pixels(tmp_path / "run/masks/100.png"))


def test_a_last_line_says_what_was_written_where(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict(run, run.parent / "squares" / "val" / "images", tmp_path, "task.values=data")
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"wrote masks and overlays of 4 images (0 class_0, 255 class_1) to {tmp_path}"


def test_bad_files_are_told_one_by_one_and_the_others_are_predicted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "damaged.png").write_bytes(b"no picture")
    np.save(folder / "seven.npy", np.zeros((8, 8, 7), np.uint8))
    np.save(folder / "deep.npy", np.zeros((8, 8, 3), np.uint16))
    Image.fromarray(square(0)[0]).save(folder / "good.png")
    with pytest.raises(LabError, match="3 of 4 files gave no mask"):
        predict(run, folder, tmp_path / "out")
    assert below(tmp_path / "out" / "masks") == {"good.png"}
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 3
    for line, name in zip(warnings, ("damaged.png", "deep.npy", "seven.npy"), strict=True):
        assert str(folder / name) in line


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("task.images=nowhere", "task.images=nowhere finds no image"),
        ("task.run=nowhere", "nowhere holds no model"),
        ("task.values=colors", "task.values=colors"),
        ("task.resize=large", "resize is large"),
        ("task.tile=100", "tile=100 overlap=128"),
    ],
)
def test_a_mistake_is_one_line(run: Path, tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        predict(run, run.parent / "squares" / "val" / "images", tmp_path, override)
    assert "\n" not in str(caught.value)
