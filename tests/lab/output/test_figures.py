from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pruning_lab.lab.output.figures import iou_against_flops, layer_widths, score_over_steps
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.palette import BLUE, GREEN, ORANGE, VERMILION


def history(steps: int, before: bool = True) -> History:
    result = History()
    for step in range(steps + 1):
        cut = {"val/iou_before_recovery": 0.7 - 0.01 * step} if step and before else {}
        fractions = {"resources/flops_fraction": 0.9**step, "resources/weights_fraction": 0.8**step}
        result.append({"step": step, "val/iou": 0.9 - 0.002 * step, **fractions, **cut})
    return result


def colors_of(path: Path) -> set[str]:
    pixels = (imread(path)[..., :3] * 255).round().astype(int)
    return {f"#{color:06X}" for color in np.unique(pixels @ [1 << 16, 1 << 8, 1])}


@pytest.mark.parametrize("steps", [0, 1, 30])
def test_scores_and_costs_over_steps_are_drawn_for_any_number_of_steps(tmp_path: Path, steps: int) -> None:
    path = score_over_steps(history(steps), tmp_path / "new" / "score.png")
    expected = {GREEN, BLUE, ORANGE} | ({VERMILION} if steps else set())
    assert expected <= colors_of(path)


@pytest.mark.parametrize("steps", [0, 1, 30])
def test_the_trade_is_drawn_for_any_number_of_steps(tmp_path: Path, steps: int) -> None:
    assert GREEN in colors_of(iou_against_flops(history(steps), tmp_path / "trade.png"))


def test_a_history_without_scores_before_recovery_has_no_such_points(tmp_path: Path) -> None:
    path = score_over_steps(history(5, before=False), tmp_path / "score.png")
    assert VERMILION not in colors_of(path)


def test_a_last_step_that_cut_nothing_is_marked_as_the_final_recovery(tmp_path: Path) -> None:
    pruned = history(5)
    without = colors_of(iou_against_flops(pruned, tmp_path / "trade.png"))
    pruned.append(pruned[-1] | {"step": 6})
    assert BLUE in colors_of(iou_against_flops(pruned, tmp_path / "trade.png")) - without


def test_a_score_that_is_not_finite_leaves_a_gap(tmp_path: Path) -> None:
    broken = history(3)
    broken.append({**broken[-1], "step": 4, "val/iou": float("inf")})
    assert GREEN in colors_of(score_over_steps(broken, tmp_path / "score.png"))


def test_the_heat_map_grows_with_the_layers_and_darkens_with_what_is_cut(tmp_path: Path) -> None:
    few = imread(layer_widths([{"a": 8}, {"a": 8}], tmp_path / "few.png"))
    many = imread(layer_widths([{f"layer{i}": 8 for i in range(60)}] * 2, tmp_path / "many.png"))
    cut = imread(layer_widths([{"a": 8}, {"a": 1}], tmp_path / "cut.png"))
    assert many.shape[0] > 3 * few.shape[0]
    assert cut[..., :3].mean() < few[..., :3].mean()


def test_no_widths_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no widths"):
        layer_widths([], tmp_path / "widths.png")
