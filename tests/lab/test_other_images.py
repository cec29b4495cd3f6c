"""A whole run on images that are not colors of 8 bits: other numbers of channels, other depths."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pruning_lab import lab
from pruning_lab.checkpoint import Builder, load
from pruning_lab.data import Augmentation, Folder
from pruning_lab.data.reading import read_image
from pruning_lab.data.scaling import Scale
from pruning_lab.models import UNet
from tests.networks.labs import CLASSES, SIZE, Squares, tiny_lab
from tests.paths import CONF


def written(root: Path, channels: int, kind: type) -> Path:
    for seed, (split, count) in enumerate({"train": 8, "val": 4, "test": 4}.items()):
        squares = Squares(count, seed)
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True)
        for index in range(count):
            image, mask = squares[index]
            np.save(root / split / "images" / f"{index}.npy", np.resize(image, (SIZE, SIZE, channels)).astype(kind))
            np.save(root / split / "masks" / f"{index}.npy", mask)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "kind"), [(1, np.uint8), (1, np.float32), (3, np.uint16), (4, np.uint8), (6, np.int32)]
)
def test_a_run_ends_with_pictures_and_a_model_that_says_how_to_read(tmp_path: Path, channels: int, kind: type) -> None:
    data = Folder(str(written(tmp_path / "data", channels, kind)), (SIZE, SIZE), channels=channels)
    arguments = {"in_channels": channels, "classes": CLASSES, "width": 4, "depth": 2}
    steps = yaml.safe_load((CONF / "augmentation" / "strong.yaml").read_text())["steps"]
    summary = lab.prune(
        tiny_lab(
            tmp_path,
            dataset=data,
            augmentation=Augmentation(steps),
            build=lambda: UNet(**arguments),
            builder=Builder("pruning_lab.models.UNet", arguments),
            base_recipe={"model": arguments},
        )
    )
    assert summary["best/flops_fraction"] <= 0.5
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert {"augmented_samples.png", "predictions.png"} <= figures
    about = json.loads((tmp_path / "run" / "model" / "architecture.json").read_text())["about"]
    scale = None if about["scale"] is None else Scale(**about["scale"])
    image = read_image(tmp_path / "data/val/images/0.npy", channels, scale)
    np.testing.assert_allclose(image, data.val[0][0], atol=1e-6)
    assert next(load(tmp_path / "run" / "model").parameters()).shape[1] == channels
