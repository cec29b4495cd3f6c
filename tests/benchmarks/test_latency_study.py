"""The study at equal latency: its cells are jobs that the lab takes, and its table pairs seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import latency_study
from tests.benchmarks.latency_study import BUDGETS, METHODS, OURS, LatencyCell, all_cells, table
from tests.tasks.test_config import composed


def test_no_two_cells_share_a_folder_and_each_method_has_every_seed() -> None:
    cells = all_cells(["eyes", "nuclei"], 5)
    others = all_cells(["eyes", "nuclei"], 5, trained=True)
    assert len({cell.name for cell in [*cells, *others]}) == 2 * len(cells) == 2 * 2 * 5 * len(METHODS)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", ["eyes", "nuclei"])
def test_a_cells_command_composes(data: str, method: str, tmp_path: Path) -> None:
    cell = LatencyCell(data, method, 3, ("base.epochs=5",))
    config = composed(*[one for one in cell.arguments(tmp_path, "x") if not one.startswith("hydra.")])
    assert (config.seed, config.base.epochs) == (3, 5)
    assert tuple(config.task.limits) == BUDGETS
    assert config.target.runtime == "onnxruntime"


def test_a_cell_that_trains_goes_in_steps(tmp_path: Path) -> None:
    config = composed(
        *[one for one in LatencyCell("eyes", OURS, 1, trained=True).arguments(tmp_path) if not one.startswith("hydra.")]
    )
    assert (config.selection.amount.share, config.recovery.final_epochs) == (0.2, 2)


def test_the_table_says_how_far_ours_is_above_each_other_method_seed_by_seed() -> None:
    found = {
        ("eyes", 0.25, OURS): {seed: (80.0 + seed, 24.9, 20.0) for seed in (1, 2, 3)},
        ("eyes", 0.25, "by FLOPs"): {seed: (75.0 + seed + 0.1 * (seed == 2), 24.8, 10.0) for seed in (1, 2, 3)},
        ("eyes", 0.25, "by score, multiples of 8"): {
            1: (81.0, 24.0, 22.0),
            2: (82.0, 24.0, 22.0),
            3: (84.0, 24.0, 22.0),
        },
    }
    lines = table(found).splitlines()
    assert "| eyes | 25 % | by milliseconds | 82.0 ± 1.0 | 24.9 ± 0.0 | 20.0 | 3 |  |" in lines
    assert any("by FLOPs" in line and line.endswith("| +5.0 |") for line in lines)
    assert any("multiples of 8" in line and line.endswith("| -0.3 ≈ |") for line in lines)


def test_the_nuclei_want_a_folder(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNING_LAB_DATA", raising=False)
    assert latency_study.main(["--data", "nuclei"]) == 1
    assert "--nuclei PATH" in capsys.readouterr().err
