"""task=evaluate: the numbers are those of the run, and files tell where the model errs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.lab.prediction import Predictor
from pruning_lab.tasks.config import run_task
from tests.tasks.runs import COUNTS, run_on_files, write_pairs
from tests.tasks.test_assembly import perform
from tests.tasks.test_config import composed

FILES = {
    *("per_class.csv", "per_image.csv", "confusion.csv", "evaluation.json"),
    *("figures/confusion.png", "figures/worst.png"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_on_files(tmp_path_factory.mktemp("evaluate"))


def evaluate(run: Path, folder: Path, *overrides: str) -> float | None:
    told = ["task=evaluate", f"task.run='{run}'", "device=cpu", "threads=1", "tracking=none"]
    return run_task(composed(*told, *overrides), str(folder), {}).number


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def means(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "evaluation.json").read_text())


def test_the_numbers_on_a_split_are_those_of_the_run(run: Path, tmp_path: Path) -> None:
    cards = read_run(run).cards
    number = evaluate(run, tmp_path / "test")
    evaluate(run, tmp_path / "val", "task.split=val")
    test, val = means(tmp_path / "test"), means(tmp_path / "val")
    assert number == test["pruned"]["iou"] == pytest.approx(cards.pruned.test_iou, abs=1e-12)
    assert test["pruned"]["dice"] == pytest.approx(cards.pruned.test_dice, abs=1e-12)
    assert test["base"]["iou"] == pytest.approx(cards.base.test_iou, abs=1e-12)
    assert val["pruned"]["iou"] == pytest.approx(cards.pruned.val_iou, abs=1e-12)
    assert val["base"]["iou"] == pytest.approx(cards.base.val_iou, abs=1e-12)
    assert test["images"] == COUNTS["test"]
    assert cards.pruned.test_iou > 0.6
    found = {path.relative_to(tmp_path / "test").as_posix() for path in (tmp_path / "test").rglob("*.*")}
    assert found == FILES


@pytest.mark.slow
def test_drawn_data_are_evaluated_as_well(tmp_path: Path) -> None:
    perform(tmp_path, "run", "precision=bfloat16")
    evaluate(tmp_path / "run", tmp_path / "out", f"bases={tmp_path / 'bases'}")
    assert means(tmp_path / "out")["pruned"]["iou"] == pytest.approx(
        read_run(tmp_path / "run").cards.pruned.test_iou, abs=1e-12
    )


def test_every_image_has_its_own_scores_and_their_pixels_add_up(run: Path, tmp_path: Path) -> None:
    evaluate(run, tmp_path)
    images = rows(tmp_path / "per_image.csv")
    classes = rows(tmp_path / "per_class.csv")
    assert {row["image"] for row in images} == {f"test/images/{200 + number}.png" for number in range(5)}
    for model in ("pruned", "base"):
        for name in ("class_0", "class_1", "mean"):
            own = [int(row["pixels"]) for row in images if (row["model"], row["class"]) == (model, name)]
            (whole,) = (int(row["pixels"]) for row in classes if (row["model"], row["class"]) == (model, name))
            assert sum(own) == whole
    confusion = [row for row in rows(tmp_path / "confusion.csv") if row["model"] == "pruned"]
    matrix = np.array([[int(row[name]) for name in ("class_0", "class_1")] for row in confusion])
    assert matrix.sum() == 5 * 16 * 16
    (square,) = (row for row in classes if (row["model"], row["class"]) == ("pruned", "class_1"))
    assert float(square["recall"]) == matrix[1, 1] / matrix[1].sum()
    assert float(square["precision"]) == matrix[1, 1] / matrix[:, 1].sum()
    assert 0 < float(square["boundary_iou"]) <= 1


@pytest.mark.slow
def test_a_folder_of_the_same_files_gives_the_same_numbers(run: Path, tmp_path: Path) -> None:
    evaluate(run, tmp_path / "split")
    evaluate(run, tmp_path / "folder", f"task.root={run.parent / 'squares' / 'test'}")
    assert means(tmp_path / "folder") == means(tmp_path / "split")


def test_a_folder_with_masks_of_another_kind_is_told_by_keys(run: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "new", 3, first=500, size=(40, 30))
    evaluate(run, tmp_path / "plain", f"task.root={tmp_path / 'new'}")
    (tmp_path / "new" / "masks").rename(tmp_path / "new" / "labels")
    for path in (tmp_path / "new" / "labels").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) // 255 + 4).save(path.with_name(f"{path.stem}_gt.png"))
        path.unlink()
    reading = "task.reading={masks: labels, mask_suffix: _gt, mask_values: {4: 0, 5: 1}}"
    evaluate(run, tmp_path / "told", f"task.root={tmp_path / 'new'}", reading)
    assert means(tmp_path / "told") == means(tmp_path / "plain")
    assert means(tmp_path / "plain")["images"] == 3


def metric(name: str, path: str) -> str:
    return f"validation.metrics={{{name}: {{_target_: {path}, _partial_: true}}}}"


def share_of_class_1(confusion: Tensor) -> float:
    """Of the predicted pixels."""
    return float(confusion[:, 1].sum() / confusion.sum())


@pytest.mark.slow
def test_metrics_of_the_run_and_of_the_command_are_taken(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / "config.yaml"
    before = config.read_text()
    changed = OmegaConf.create(before)
    changed.validation.metrics = {
        "balanced": {"_target_": "docs.examples.metric.balanced_accuracy", "_partial_": True},
        "share": {"_target_": "docs.examples.metric.balanced_accuracy", "_partial_": True},
    }
    OmegaConf.save(changed, config)
    try:
        evaluate(run, tmp_path, metric("share", f"{__name__}.share_of_class_1"))
    finally:
        config.write_text(before)
    own = means(tmp_path)["pruned"]["metrics"]
    row = {each["class"]: float(each["recall"]) for each in rows(tmp_path / "per_class.csv")[:2]}
    confusion = [each for each in rows(tmp_path / "confusion.csv") if each["model"] == "pruned"]
    matrix = np.array([[int(each[name]) for name in row] for each in confusion])
    assert own == {  # type: ignore[comparison-overlap]
        "balanced": pytest.approx(sum(row.values()) / 2),
        "share": pytest.approx(matrix[:, 1].sum() / matrix.sum()),
    }
    assert set(means(tmp_path)["base"]["metrics"]) == {"balanced", "share"}  # type: ignore[arg-type]
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("balanced: pruned 0.") and ", base 0." in line for line in said)


def test_predicted_masks_score_what_evaluation_says(run: Path, tmp_path: Path) -> None:
    """Of images that have the training's size already, so that no mask has to be brought back."""
    write_pairs(tmp_path / "new", 3, first=700, size=(16, 16))
    number = evaluate(run, tmp_path / "out", f"task.root={tmp_path / 'new'}", "task.base=false")
    predictor, hit, either = Predictor.from_folder(run, resize="training"), np.zeros(2), np.zeros(2)
    for path in (tmp_path / "new" / "images").iterdir():
        found = predictor(np.asarray(Image.open(path))).mask
        true = np.asarray(Image.open(tmp_path / "new" / "masks" / path.name)) > 0
        for index in (0, 1):
            hit[index] += ((found == index) & (true == index)).sum()
            either[index] += ((found == index) | (true == index)).sum()
    assert number == pytest.approx((hit / either).mean())


@pytest.mark.slow
def test_without_its_base_a_model_stands_alone_and_that_is_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bases = run.parent / "bases"
    bases.rename(run.parent / "elsewhere")
    try:
        evaluate(run, tmp_path / "alone", f"bases={bases}")
        assert "the base is in no folder of bases" in capsys.readouterr().out
        evaluate(run, tmp_path / "beside", f"bases={run.parent / 'elsewhere'}")
    finally:
        (run.parent / "elsewhere").rename(bases)
    assert set(means(tmp_path / "alone")) == {"images", "pruned"}
    assert set(means(tmp_path / "beside")) == {"images", "pruned", "base"}
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"evaluated on 5 images (test of squares); tables and figures are in {tmp_path / 'beside'}"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["task.run=nowhere"], "nowhere holds no model"),
        (["task.split=tset"], "no split 'tset'"),
        (["task.root=nowhere"], "task.root=nowhere is no folder"),
        (["task.root=tests", "+task.reading.size=3"], r"task\.reading\.size"),
        (["task.worst=-1"], r"task\.worst=-1"),
    ],
)
def test_a_mistake_is_one_line(run: Path, tmp_path: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        evaluate(run, tmp_path, *overrides)
    assert "\n" not in str(caught.value)
