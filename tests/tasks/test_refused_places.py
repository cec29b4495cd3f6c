"""Folders and files that may not be read or written, and extras that are missing: one line that names the mend."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_lab.checkpoint import save
from pruning_lab.models import UNet
from tests.tasks.forked import answer, as_anyone, without
from tests.tasks.runs import write_pairs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="root gives up its rights by way of Linux's capabilities"),
]

SMALL = (
    *("+experiment=unet_ipad", "+debug=limit", "device=cpu", "threads=1", "model.width=4", "loader.workers=0"),
    *("data=folder", "data.size=[16,16]", "data.mask_values={0:0,255:1}", "check=false"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks of three splits, and an empty folder for what is written."""
    root = tmp_path_factory.mktemp("files")
    for first, (split, count) in enumerate({"train": 4, "val": 2, "test": 2}.items()):
        write_pairs(root / "data" / split, count, 20 * first)
    for name in ("out", "empty"):
        (root / name).mkdir()
    return root


def said(root: Path, *more: str, before: Callable[[], None] = as_anyone, tracking: str = "none") -> str:
    """The one line that a command says, which ends with code 1; `{root}` in settings is the folder."""
    own = (f"tracking={tracking}", "data.root={root}/data", "output_root={root}/out", "hydra.run.dir={root}/out/run")
    found = answer([setting.replace("{root}", str(root)) for setting in (*more, *SMALL, *own)], before)
    assert found.code == 1, found
    (line,) = found.err
    assert line.startswith("error: "), line
    return line


def shut(path: str, mode: int = 0) -> Callable[[Path], None]:
    return lambda root: os.chmod(root / path, mode)


def a_file(path: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        if (root / path).is_dir():
            shutil.rmtree(root / path)
        (root / path).write_text("x")

    return change


UNREADABLE: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str, str]] = {
    "the data's folder": (shut("data"), (), "data", "let it be read"),
    "a split's folder": (shut("data/train/images"), (), "data/train/images", "let it be read"),
    "an image": (shut("data/val/images/20.png"), (), "data/val/images/20.png", "may not be read by you"),
    "a mask": (shut("data/val/masks/20.png"), (), "data/val/masks/20.png", "may not be read by you"),
    "outputs that may not be written": (
        shut("out", 0o555),
        (),
        "out/run",
        "give folders that exist and can be written",
    ),
    "outputs that are a file": (a_file("out"), (), "out/run", "give folders that exist and can be written"),
    "bases that may not be written": (shut("empty", 0o555), ("bases={root}/empty",), "empty", "base.reuse=false"),
    "bases that are a file": (a_file("empty"), ("bases={root}/empty",), "empty", "base.reuse=false"),
    "a base that may not be looked for": (shut("empty"), ("bases={root}/empty",), "empty", "base.reuse=false"),
    "images to predict": (
        shut("empty"),
        ("task=predict", "task.run={root}/model", "task.images={root}/empty"),
        "empty",
        "let it be read",
    ),
    "a model": (
        shut("model/weights.safetensors"),
        ("task=predict", "task.run={root}/model", "task.images={root}/data"),
        "model/weights.safetensors",
        "",
    ),
}


@pytest.fixture
def root(files: Path, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    shutil.copytree(files, root)
    return root


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_may_not_be_read_or_written_is_named_with_the_mend(case: str, root: Path) -> None:
    change, more, named, mend = UNREADABLE[case]
    if "{root}/model" in " ".join(more):
        save(root / "model", UNet(width=2, depth=1), about={"mean": [0.5] * 3, "std": [0.25] * 3})
    change(root)
    try:
        line = said(root, *more)
    finally:
        for path in ("data", "data/train/images", "out", "empty"):
            if (root / path).is_dir():
                os.chmod(root / path, 0o755)
    assert str(root / named) in line, line
    assert mend in line, line


def test_a_store_that_may_not_be_written_is_named_by_its_key(root: Path) -> None:
    os.chmod(root / "empty", 0o555)
    line = said(root, "tracking.uri=sqlite:///{root}/empty/runs.db", tracking="mlflow")
    assert f"tracking.uri: can't log to sqlite:///{root}/empty/runs.db" in line
    assert "give a database in a folder that can be written" in line


def test_a_home_where_no_hash_can_be_remembered_costs_time_alone(root: Path) -> None:
    def before() -> None:
        os.environ["XDG_CACHE_HOME"] = str(root / "empty")
        as_anyone()

    os.chmod(root / "empty", 0o555)
    settings = ["tracking=none", f"data.root={root}/data", f"output_root={root}/out", f"hydra.run.dir={root}/out/run"]
    assert answer([*SMALL, *settings], before).code in (0, 3)
    assert list((root / "empty").iterdir()) == []


MISSING: dict[str, tuple[tuple[str, ...], str]] = {
    "timm": (("model=timm",), "pruning_lab[models]"),
    "segmentation_models_pytorch": (("model=smp",), "pruning_lab[models]"),
    "torch_pruning": (("importance=peer_taylor",), "pruning_lab[dev]"),
    "nibabel": (("data.mask_suffix=''",), "pruning_lab[medical]"),
    "pydicom": (("data.mask_suffix=''",), "pruning_lab[medical]"),
    "optuna": (("--multirun", "hydra/sweeper=optuna", "seed=range(0,3)"), "[search]"),
    "hydra_plugins.hydra_joblib_launcher": (("--multirun", "hydra/launcher=joblib", "seed=1,2"), "joblib"),
}
ENDINGS = {"nibabel": "nii", "pydicom": "dcm"}


@pytest.mark.parametrize("module", MISSING)
def test_an_extra_that_is_not_installed_is_named_with_what_installs_it(module: str, root: Path) -> None:
    settings, mend = MISSING[module]
    if ending := ENDINGS.get(module):
        for kind in ("images", "masks"):
            (root / "data" / "train" / kind / f"x.{ending}").write_bytes(b"x")
    assert mend in said(root, *settings, before=without(module))
