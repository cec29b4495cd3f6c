"""Every option of `conf/importance` builds what it names, and shows every knob that there is."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from pruning_lab import importance
from pruning_lab.checkpoint import Builder, save
from pruning_lab.graph import ChannelGraph
from pruning_lab.graph.cutting.cut import cut
from tests.importance.nets import EXAMPLE, batches, build

CONF = Path(__file__).parents[2] / "conf" / "importance"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))


def option(name: str) -> DictConfig:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    if name == "function":
        config.path, config.parameters = "tests.importance.test_family.first_weights", {"power": 2}
    if name == "random_at_widths":
        config.run = finished_run()
    return config


@cache
def finished_run() -> str:
    """A folder with a model as a run leaves it, of the network that is scored here."""
    folder = tempfile.mkdtemp()
    model = build("chain")
    save(Path(folder) / "model", model, ChannelGraph.trace(model, EXAMPLE), Builder("tests.Chain"), prove=False)
    return folder


def nodes(config: Any) -> Iterator[dict[str, Any]]:
    """All mappings with a `_target_`, at any depth."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield config
        for item in config.values():
            yield from nodes(item)
    elif isinstance(config, list):
        for item in config:
            yield from nodes(item)


@pytest.mark.parametrize("how", [{}, {"_convert_": "all"}], ids=["plain", "converted"])
@pytest.mark.parametrize("name", OPTIONS)
def test_builds_a_method_that_scores(name: str, how: dict[str, str]) -> None:
    method = instantiate(OmegaConf.create({"seed": 0, "importance": option(name)}).importance, **how)
    model = build("chain")
    graph = ChannelGraph.trace(model, EXAMPLE)
    importance.check_scores(method(model, graph, batches(images=2)), graph, name)


@pytest.mark.parametrize("name", OPTIONS)
def test_names_only_parameters_that_exist(name: str) -> None:
    for node in nodes(OmegaConf.to_container(option(name))):
        known = inspect.signature(get_object(node["_target_"])).parameters
        assert {key for key in node if not key.startswith("_")} <= set(known)


@pytest.mark.parametrize("name", OPTIONS)
def test_shows_every_knob_with_its_default_and_a_comment(name: str) -> None:
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    config = OmegaConf.to_container(option(name))
    assert isinstance(config, dict)
    for key in inspect.signature(get_object(config["_target_"])).parameters:
        place = next(index for index, line in enumerate(lines) if line.startswith(f"{key}:"))
        assert any(line.startswith("# ") for line in lines[max(0, place - 3) : place]), key


def test_every_method_has_an_option() -> None:
    named = {
        node["_target_"].rpartition(".")[2] for name in OPTIONS for node in nodes(OmegaConf.to_container(option(name)))
    }
    classes = {name for name in importance.__all__ if name[0].isupper()}
    assert classes - named == {"Batches", "FilterImportance", "Importance"}


def test_steady_taylor_is_what_its_description_says() -> None:
    """sqrt(Taylor / its layer's mean x magnitude / its layer's mean), and over a cut 0.7 old + 0.3 new."""

    def by_hand(model: nn.Module, graph: ChannelGraph) -> Tensor:
        product = torch.ones(len(graph))
        for method in (importance.Taylor(), importance.GroupMagnitude()):
            scores = method(model, graph, batches())
            for ids in graph.layers.values():
                product[ids] *= (scores[ids] / (scores[ids].mean() or 1.0)).sqrt()
        return product

    model = build("chain")  # where every group is one filter of one layer
    graph = ChannelGraph.trace(model, EXAMPLE)
    method = instantiate(option("steady_taylor"))
    before = by_hand(model, graph)
    torch.testing.assert_close(method(model, graph, batches()), before)
    leaving = int(before.masked_fill(~graph.prunable, torch.inf).argmin())
    kept = torch.tensor([group for group in range(len(graph)) if group != leaving])
    cut(model, graph, [leaving])
    expected = 0.7 * before[kept] + 0.3 * by_hand(model, graph)
    torch.testing.assert_close(method(model, graph, batches()), expected)
