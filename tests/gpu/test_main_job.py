"""The command line on a GPU, start to end."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab.lab.output.history import History

pytestmark = pytest.mark.gpu

COMMAND = [sys.executable, "-m", "pruning_lab", "+experiment=unet_ipad", "+debug=limit", "device=cuda", "tracking=none"]
NOT_MET = 3
"""Exit code of a run that ends above its budget, as two steps do."""

SHORT = ["base.epochs=2", "recovery.epochs=1", "recovery.final_epochs=1", "max_steps=2"]
ROOT = Path(__file__).parents[2]


def rows_of(tmp_path: Path, *arguments: str, code: int = 0) -> tuple[list[dict[str, float]], str]:
    answer = subprocess.run(
        [*COMMAND, f"output_root={tmp_path}", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert answer.returncode == code, answer.stdout[-2000:] + answer.stderr[-4000:]
    (history,) = tmp_path.glob("runs/*/*/history.csv")
    return History.read(history).rows, answer.stdout


def test_the_main_job_meets_its_budget_and_proves_its_first_cut(tmp_path: Path) -> None:
    rows, told = rows_of(tmp_path)
    assert "first cut proved on real images" in " ".join(told.split())
    assert rows[-1]["resources/flops_fraction"] <= 0.25
    assert all(math.isfinite(row["val/loss"]) and 0 < row["val/iou"] <= 1 for row in rows)
    (card,) = tmp_path.glob("runs/*/*/card.json")
    assert json.loads(card.read_text())["budget_met"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ["precision=bfloat16", "channels_last=false", "distillation=several", "importance=downstream"],
        ["precision=float16", "channels_last=true", "loader.workers=2", "importance=taylor"],
        [
            "deterministic=true",
            "latency.every=1",
            "importance=ablation",
            "clip_norm=1",
            "optimizer@recovery.optimizer=sgd",
        ],
    ],
    ids=["bfloat16-distilled", "float16-workers", "deterministic-latency-ablation"],
)
def test_other_ways_to_run_it_end_well(arguments: list[str], tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, *SHORT, *arguments, code=NOT_MET)
    assert len(rows) >= 3
    assert all(math.isfinite(row["val/loss"]) for row in rows)
    assert rows[-1]["resources/flops"] < rows[0]["resources/flops"]
    if "latency.every=1" in arguments:
        assert all(row["resources/latency_fraction"] > 0 for row in rows[:-1])
