"""`+debug=limit` really runs: a base, one step and the tests of both models, whatever the model."""

import gzip
import json
from pathlib import Path

import pytest

from pruning_lab.lab.output.history import History
from pruning_lab.tasks.config import run_task
from tests.tasks.test_config import composed

SHORT = ["max_steps=1", "base.epochs=1", "recovery.epochs=1", "recovery.final_epochs=0"]
FEW = ["data.train=8", "data.val=4", "data.test=4", "loader.score_images=4", "floors=none", "importance=l1"]
HERE = ["tracking=none", "device=cpu", "threads=1"]
SLOW = ("deeplabv3", "fcn", "lraspp", "segnet", "smp")


@pytest.mark.parametrize("model", ["ritnet", "unet", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_limit_preset_prunes_every_kind_of_model(model: str, tmp_path: Path) -> None:
    config = composed("+debug=limit", f"model={model}", f"output_root={tmp_path}", *SHORT, *FEW, *HERE)
    run_task(config, str(tmp_path / "run"), {"model": model})
    history = History.read(tmp_path / "run" / "history.csv")
    assert len(history) == 2
    assert history[1]["resources/flops_fraction"] <= 0.85


@pytest.mark.slow
def test_the_profile_preset_leaves_a_trace_of_two_steps_and_a_table(tmp_path: Path) -> None:
    small = ["model.width=8", "model.depth=2", "data=eyes_few", "base.steps=1", "recovery.steps=1"]
    config = composed("+debug=profile", f"output_root={tmp_path}", *small, *FEW, *HERE)
    run_task(config, str(tmp_path / "run"), {"model": "unet"})
    assert len(History.read(tmp_path / "run" / "history.csv")) == 3
    with gzip.open(tmp_path / "run" / "trace.json.gz", "rt", encoding="utf-8") as file:
        names = {event["name"] for event in json.load(file)["traceEvents"]}
    assert "aten::convolution_backward" in names
    assert "aten::convolution_backward" in (tmp_path / "run" / "profile.txt").read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "state").exists()
