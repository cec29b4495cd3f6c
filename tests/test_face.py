"""`import pruning_lab as pl` names what a user needs, and imports nothing until it is asked for."""

import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from torch import nn

import pruning_lab as pl

HEAVY = "{'torch', 'mlflow', 'hydra', 'omegaconf', 'albumentations', 'matplotlib', 'numpy'}"


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_face_costs_nothing_until_a_name_is_asked_for() -> None:
    code = f"import sys, pruning_lab as pl; dir(pl); pl.__version__; pl.LabError; print({HEAVY} & set(sys.modules))"
    assert printed(code) == "set()"


@pytest.mark.parametrize("name", pl.__all__)
def test_every_name_is_there_and_told(name: str) -> None:
    assert getattr(pl, name).__name__ == name
    assert name in dir(pl)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prnue'"):
        _ = pl.prnue


def test_the_face_cuts_a_network() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    graph = pl.ChannelGraph.trace(model, torch.zeros(1, 3, 8, 8))
    before = pl.measure(graph).macs
    pl.cut(model, graph, [int(graph.layers["0"][1])])
    assert model[0].out_channels == 3
    assert pl.measure(graph).macs < before


def test_types_are_shipped_and_the_version_is_the_installed_one() -> None:
    from pathlib import Path

    assert (Path(pl.__file__).parent / "py.typed").is_file()
    assert version("pruning_lab") == pl.__version__
