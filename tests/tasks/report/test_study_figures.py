"""Pareto figures show every method at every budget."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pruning_lab.lab.output.palette import CONTROL_COLOR
from pruning_lab.tasks.report import study_figures
from pruning_lab.tasks.report.looks import looks
from pruning_lab.tasks.report.study_figures import pareto, pareto_figures
from pruning_lab.tasks.report.study_rows import StudyRow
from pruning_lab.tasks.report.study_summary import compare
from tests.tasks.report.studies import study_row

METHODS = ("ipad", "l1", "l2", "lamp", "fpgm", "chip", "hrank", "apoz", "taylor", "hessian", "random", "uniform")


def rows(worst: float = 0.8) -> list[StudyRow]:
    return [
        study_row(method, seed, limit, 0.9 - 0.001 * place - 0.001 * seed if place < 11 else worst)
        for place, method in enumerate(METHODS)
        for limit in (0.5, 0.1)
        for seed in (1, 2)
    ]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn, for a look at what is in them."""
    figures: list[Figure] = []
    original = study_figures._panels

    def panels(figure: Figure, two: bool) -> list:
        figures.append(figure)
        return original(figure, two)

    monkeypatch.setattr(study_figures, "_panels", panels)
    return figures


def lines(figure: Figure, panel: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    """Method -> x and y of its points."""
    containers = figure.axes[panel].containers
    return {c.get_label(): tuple(map(list, c.lines[0].get_data())) for c in containers}  # type: ignore[misc, attr-defined]


def test_every_cost_has_a_figure(tmp_path: Path) -> None:
    (comparison,) = compare(rows())
    paths = pareto_figures(comparison, "test", tmp_path / "figures")
    assert [path.name for path in paths] == [f"nuclei_3fa9c1_{cost}.png" for cost in ("flops", "weights", "latency")]
    assert all(imread(path).std() > 0 for path in paths)


def test_points_are_means_at_the_fractions_that_are_left(tmp_path: Path, drawn: list[Figure]) -> None:
    (comparison,) = compare(rows())
    pareto(comparison, "weights", "test", tmp_path / "a.png")
    positions, scores = lines(drawn[0])["l1"]
    assert positions == pytest.approx([40, 8])
    assert scores == pytest.approx([89.75, 89.75])


def test_methods_of_one_budget_stand_side_by_side_over_flops(tmp_path: Path, drawn: list[Figure]) -> None:
    (comparison,) = compare(rows())
    pareto(comparison, "flops", "test", tmp_path / "a.png")
    at_half = [positions[0] for positions, _ in lines(drawn[0]).values()]
    assert len(set(at_half)) == len(METHODS)
    assert all(47 < position < 53 for position in at_half)


def test_no_two_methods_look_alike_and_controls_are_grey(tmp_path: Path) -> None:
    found = looks(METHODS)
    assert len(set(found.values())) == len(METHODS)
    assert {method for method, look in found.items() if look.color == CONTROL_COLOR} == {"random", "uniform"}


@pytest.mark.parametrize(("worst", "panels"), [(0.87, 1), (0.4, 2)])
def test_a_method_that_falls_far_behind_does_not_flatten_the_others(
    tmp_path: Path, drawn: list[Figure], worst: float, panels: int
) -> None:
    (comparison,) = compare(rows(worst))
    pareto(comparison, "flops", "test", tmp_path / "a.png")
    (figure,) = drawn
    assert len(figure.axes) == panels
    assert lines(figure).keys() == lines(figure, -1).keys() == set(METHODS)
    low, _ = figure.axes[0].get_ylim()
    assert (low > 87) == (panels == 2)
    assert figure.axes[-1].get_ylim()[0] < 100 * worst


def test_ten_learned_methods_differ_in_color_and_in_marker() -> None:
    found = looks([method for method in METHODS if method not in ("random", "uniform")])
    assert len({look.color for look in found.values()}) == len({look.shape for look in found.values()}) == 10
    assert len({look.shape.symbol for look in found.values()}) == len({look.sign for look in found.values()}) == 10


def test_a_figure_for_a_paper_is_written_in_every_format_that_is_asked_for(tmp_path: Path) -> None:
    (comparison,) = compare(rows())
    path = pareto(comparison, "flops", "test", tmp_path / "flops.svg", ("pdf",))
    assert {path.name for path in tmp_path.iterdir()} == {"flops.svg", "flops.pdf"}
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in path.read_text()


def test_its_logarithmic_axis_says_so(tmp_path: Path, drawn: list[Figure]) -> None:
    (comparison,) = compare(rows())
    pareto(comparison, "weights", "test", tmp_path / "a.png")
    assert "logarithmic" in drawn[0].axes[-1].get_xlabel()


def test_one_run_is_enough(tmp_path: Path) -> None:
    (comparison,) = compare([study_row()])
    assert imread(pareto(comparison, "latency", "val", tmp_path / "a.png")).std() > 0
