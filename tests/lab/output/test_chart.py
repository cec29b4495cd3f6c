"""Charts inside pages: what is finite is placed within the drawing, and ticks are round numbers."""

import math

import pytest

from pruning_lab.lab.output.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Line, chart, nice_ticks


@pytest.mark.parametrize(("log", "falling"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("points", [[(1, 5)], [(1, 5), (2, 5)], [(100, 90), (50, 80), (10, 20), (3, 1)]])
def test_everything_is_within_the_drawing(points: list, log: bool, falling: bool) -> None:
    drawn = chart("a", [Line("x", points, "line0")], Axis("x", log=log, falling=falling), Axis("y"))
    assert drawn is not None
    dots = drawn.lines[0].dots
    assert len(dots) == len(points)
    for x, y, _ in dots:
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM
    assert len(drawn.y_ticks) >= 1
    assert len({text for _, text in drawn.x_ticks}) == len(drawn.x_ticks) >= 1
    order = [x for x, _, _ in dots]
    assert order == sorted(order, reverse=(points[0][0] > points[-1][0]) != falling)


def test_what_is_not_finite_leaves_a_gap() -> None:
    points = [(0, 1), (1, 2), (2, math.nan), (3, 4), (4, 5), (5, math.inf), (6, 1)]
    drawn = chart("a", [Line("x", points, "line0")], Axis("x"), Axis("y"))
    assert drawn is not None
    assert [len(path.split()) for path in drawn.lines[0].paths] == [2, 2]
    assert len(drawn.lines[0].dots) == 5
    assert chart("a", [Line("x", [(0, math.nan)], "line0")], Axis("x"), Axis("y")) is None
    assert chart("a", [], Axis("x"), Axis("y")) is None


def test_a_line_of_very_many_points_has_no_marks() -> None:
    lines = [Line("x", [(step, step**2) for step in range(500)], "line0", joined) for joined in (True, False)]
    drawn = chart("a", lines, Axis("x"), Axis("y"))
    assert drawn is not None
    assert [len(each.dots) for each in drawn.lines] == [0, 500]
    assert len(drawn.lines[0].paths[0].split()) == 500


def test_a_logarithmic_axis_says_so() -> None:
    drawn = chart("loss", [Line("x", [(1, 5), (10, 50)], "line0")], Axis("FLOPs", log=True), Axis("y", log=True))
    assert drawn is not None
    assert drawn.x_label == "FLOPs (logarithmic)"
    assert drawn.title == "loss (logarithmic)"


@pytest.mark.parametrize("span", [(0, 1), (0.1, 0.10001), (-3, 900), (7, 7.2), (42, 42)])
def test_ticks_are_few_round_and_within(span: tuple[float, float]) -> None:
    ticks = nice_ticks(*span)
    assert len(ticks) <= 6
    assert all(span[0] - 1e-6 <= tick <= span[1] + 1e-6 for tick in ticks)
