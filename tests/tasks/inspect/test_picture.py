from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from pruning_lab.lab.output.palette import GREEN, LIGHT, PURPLE, SKY, VERMILION
from pruning_lab.models import UNet
from pruning_lab.tasks.inspect.facts import ConsumerFacts
from pruning_lab.tasks.inspect.picture import channel_graph, joined
from tests.lab.output.test_figures import colors_of
from tests.tasks.inspect.test_facts import inspected


def test_skips_of_a_unet_are_drawn_as_concatenated_and_its_output_as_such(tmp_path: Path) -> None:
    colors = colors_of(channel_graph(inspected(UNet(width=4, depth=2)), tmp_path / "new" / "graph.png"))
    assert {GREEN, SKY, VERMILION} <= colors
    assert PURPLE not in colors - legend_colors(tmp_path)


def legend_colors(folder: Path) -> set[str]:
    """Colors of a picture without a layer: the legend's."""
    facts = inspected()
    return colors_of(channel_graph(replace(facts, layers=(), reads=()), folder / "legend.png"))


def test_frozen_layers_are_grey(tmp_path: Path) -> None:
    facts = inspected()
    frozen = replace(facts, layers=tuple(replace(layer, prunable_filters=0) for layer in facts.layers))
    free, held = (imread(channel_graph(f, tmp_path / f"{i}.png")) for i, f in enumerate((facts, frozen)))
    grey = tuple(int(LIGHT[i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert count(held, grey) > 5 * count(free, grey)


def count(picture: np.ndarray, color: tuple[float, ...]) -> int:
    return int((np.abs(picture[..., :3] - color).max(-1) < 0.01).sum())


def test_the_picture_grows_with_the_layers(tmp_path: Path) -> None:
    small, large = (
        imread(channel_graph(inspected(UNet(width=4, depth=depth)), tmp_path / f"{depth}.png")) for depth in (1, 3)
    )
    assert large.shape[0] > 1.5 * small.shape[0]


def test_reads_come_together_by_their_channels() -> None:
    reads = [
        ConsumerFacts("a", "c", ((0, 3),), ((0, 3),)),
        ConsumerFacts("b", "c", ((0, 3),), ((4, 7),)),
        ConsumerFacts("a", "d", ((0, 3),), ((0, 3),)),
        ConsumerFacts("b", "d", ((0, 3),), ((0, 3),)),
        ConsumerFacts("c", "e", ((0, 3),), ((0, 3),)),
    ]
    assert [how for _, how in joined(reads)] == ["concatenated", "concatenated", "added", "added", "alone"]
