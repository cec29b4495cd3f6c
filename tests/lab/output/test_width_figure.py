from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from pruning_lab.lab.output.width_figure import layer_widths


def test_the_heat_map_grows_with_the_layers_and_darkens_with_what_is_cut(tmp_path: Path) -> None:
    few = imread(layer_widths([{"a": 8}, {"a": 8}], tmp_path / "few.png"))
    many = imread(layer_widths([{f"layer{i}": 8 for i in range(60)}] * 2, tmp_path / "many.png"))
    cut = imread(layer_widths([{"a": 8}, {"a": 1}], tmp_path / "cut.png"))
    assert many.shape[0] > 3 * few.shape[0]
    assert cut[..., :3].mean() < few[..., :3].mean()


def test_no_widths_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no widths"):
        layer_widths([], tmp_path / "widths.png")


def test_floors_and_frozen_layers_are_told_and_a_layer_at_its_floor_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[tuple[list[int], list[int]]] = []
    monkeypatch.setattr(Axes, "plot", lambda self, x, y, *args, **options: marked.append((list(x), list(y))))
    said: list[str] = []
    original = Axes.secondary_yaxis

    def listening(self: Axes, *arguments: object) -> object:
        axis = original(self, *arguments)
        axis.set_yticks = lambda places, labels, **options: said.extend(labels)
        return axis

    monkeypatch.setattr(Axes, "secondary_yaxis", listening)
    widths = [{"cut": 64, "free": 64, "out": 3}, {"cut": 20, "free": 30, "out": 3}, {"cut": 13, "free": 30, "out": 3}]
    floors = {"cut": 12.8, "free": 6.4, "out": 3.0}
    layer_widths(widths, tmp_path / "widths.png", "a run", floors, {"out": "frozen"})
    assert said == ["13 / 64, floor 13", "30 / 64, floor 7", "3 / 3, frozen"]
    assert marked == [([2], [0])]
