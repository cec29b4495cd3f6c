"""task=export: from a run to files that were checked, scored and timed beside the base's."""

import csv
import json
from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.tasks.config import run_task
from tests.tasks.runs import run_on_files
from tests.tasks.test_config import composed

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_on_files(tmp_path_factory.mktemp("export"))


def export(run: Path, folder: Path, *overrides: str) -> None:
    told = ["task=export", f"task.run='{run}'", f"bases='{run.parent / 'bases'}'", "device=cpu", "threads=1"]
    run_task(composed(*told, "tracking=none", *overrides), str(folder), {})


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "export.csv").open(newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def test_every_file_stands_in_the_runs_folder_with_its_row(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(run, tmp_path, "task.format=[onnx,torchscript]", "task.precision=[float32,int8]", "task.pixels=stored")
    found, names = rows(run / "export"), ["model.onnx", "model_int8.onnx", "model.pt"]
    assert list(found) == ["", *names]
    assert {path.name for path in (run / "export").iterdir()} == {
        *names,
        *(f"{name}.json" for name in names),
        *("export.csv", "export.json"),
    }
    for name in names:
        row = found[name]
        assert float(row["latency_ms"]) > 0
        assert float(row["base_latency_ms"]) > 0
        assert float(row["megabytes"]) == pytest.approx((run / "export" / name).stat().st_size / 1e6)
        assert float(row["max_error"]) < (1e-4 if row["precision"] == "float32" else 5)
    assert float(found["model_int8.onnx"]["val_iou"]) > float(found[""]["val_iou"]) - 0.02
    assert found["model.onnx"]["val_iou"] == ""
    told = json.loads((run / "export" / "export.json").read_text())
    assert [row["file"] for row in told["files"]] == ["", *names]
    said = capsys.readouterr().out.strip().splitlines()
    assert said[-1].startswith("wrote 3 files, checked on 4 validation images")


def test_a_saved_model_alone_is_exported_without_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "model").rename(tmp_path / "model")
    try:
        export(tmp_path / "model", tmp_path, "task.format=[torchscript]", f"task.output={tmp_path / 'out'}")
        with pytest.raises(LabError, match="needs training images"):
            export(tmp_path / "model", tmp_path, "task.precision=[int8]", f"task.output={tmp_path / 'out'}")
    finally:
        (tmp_path / "model").rename(run / "model")
    assert set(rows(tmp_path / "out")) == {"", "model.pt"}
    assert rows(tmp_path / "out")["model.pt"]["base_latency_ms"] == ""
    assert "checked on noise" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("task.format=[onnnx]", "format=onnnx is unknown"),
        ("task.format=[]", "format is an empty list"),
        ("task.run=nowhere", "nowhere holds no model"),
        ("task.size=[3]", r"task\.size is"),
        ("task.take=aux", "one tensor without a name"),
        ("task.calibration=best", "calibration=best"),
    ],
)
def test_a_mistake_is_one_line(run: Path, tmp_path: Path, override: str, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        export(run, tmp_path, override, f"task.output={tmp_path / 'out'}")
    assert "\n" not in str(caught.value)
