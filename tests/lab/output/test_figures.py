from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from pruning_lab.lab.output import figures
from pruning_lab.lab.output.figures import base_training, iou_against_flops, iou_of_classes, score_over_steps
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.palette import BLUE, GREEN, METHOD_COLORS, ORANGE, VERMILION, drawing


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


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[str]]:
    """All that the last figure says."""
    drawn: list[Figure] = []

    @contextmanager
    def kept(*arguments: Any) -> Iterator[Figure]:
        with drawing(*arguments) as figure:
            drawn.append(figure)
            yield figure

    monkeypatch.setattr(figures, "drawing", kept)
    return lambda: {text.get_text() for text in drawn[-1].findobj(Text)}  # type: ignore[attr-defined]


ABOUT = "eyes, unet, $ipad_<b>$, seed 1"


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: score_over_steps(history(2), path, ABOUT),
        lambda path: iou_against_flops(history(2), path, ABOUT),
        lambda path: iou_of_classes(of_classes("iris"), path, ABOUT),
        lambda path: base_training([0.5, 0.2], path, ABOUT),
    ],
)
def test_a_figure_names_its_run_above_all_else_and_reads_no_formula_in_a_name(
    tmp_path: Path, texts: Callable[[], set[str]], draw: Callable[[Path], Path]
) -> None:
    draw(tmp_path / "named.png")
    assert ABOUT in texts()


def test_a_name_too_long_for_a_line_takes_several_and_the_figure_grows(tmp_path: Path) -> None:
    heights = [
        imread(score_over_steps(history(2), tmp_path / f"{words}.png", "method=x " * words)).shape[0]
        for words in (0, 1, 60)
    ]
    assert heights[0] < heights[1] < heights[2]


def test_a_logarithmic_axis_says_so(tmp_path: Path, texts: Callable[[], set[str]]) -> None:
    iou_against_flops(history(3), tmp_path / "trade.png")
    assert any("FLOPs" in text and "logarithmic" in text for text in texts())
    base_training([0.9, 0.1], tmp_path / "base.png")
    assert any("logarithmic" in text for text in texts())
    base_training([0.9, 0.0], tmp_path / "base.png")
    assert not any("logarithmic" in text for text in texts())


def of_classes(*names: str) -> History:
    result = History()
    for step in range(3):
        result.append({"step": step, **{f"val/iou/{name}": 0.9 - 0.1 * step for name in names}})
    return result


@pytest.mark.parametrize("count", [1, 2, 10, 40])
def test_every_class_has_a_line_of_its_own_color(tmp_path: Path, texts: Callable[[], set[str]], count: int) -> None:
    names = [f"class {number}" for number in range(count)]
    path = iou_of_classes(of_classes(*names), tmp_path / "classes.png")
    assert path is not None
    assert set(names) <= texts()
    if count == 1:
        assert METHOD_COLORS[0] in colors_of(path)


def test_a_history_without_classes_has_no_picture_of_them(tmp_path: Path) -> None:
    assert iou_of_classes(history(3), tmp_path / "classes.png") is None
    assert not (tmp_path / "classes.png").exists()


def test_no_epoch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        base_training([], tmp_path / "base.png")
