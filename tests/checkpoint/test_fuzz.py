"""Whatever is done to a checkpoint, `load` gives the saved model or one LabError, soon and in little memory."""

import copy
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pruning_lab.checkpoint import load, save
from pruning_lab.checkpoint.architecture import ARCHITECTURE, sealed
from pruning_lab.checkpoint.weights import WEIGHTS
from pruning_lab.common.errors import LabError
from pruning_lab.graph.cutting.cut import cut
from pruning_lab.models import UNet
from tests.checkpoint.folders import peak_bytes
from tests.networks.two_paths import random_groups, traced

LONGEST_SECONDS = 1.0
MOST_BYTES = 256 * 2**20
"""Of memory beyond what the process had before: the weights hold 6 KB."""


@dataclass
class Record:
    """What all folders took together."""

    folder: Path
    model: nn.Module
    tried: int = 0
    refused: int = 0
    longest: float = 0.0
    most_bytes: int = 0


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Record]:
    model, graph = traced(UNet(classes=3, width=4, depth=1))
    cut(model, graph, random_groups(graph, 0.4))
    folder = save(tmp_path_factory.mktemp("saved"), model, graph, about={"classes": ["a", "b"]})
    load(folder)  # what is imported late is imported now
    record = Record(folder, model)
    yield record
    capturing: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capturing.global_and_fixture_disabled():  # said with or without -s
        print(
            f"\nload: {record.tried} damaged or forged folders, {record.refused} refused; longest "
            f"{record.longest:.3f} s, most memory {record.most_bytes / 2**20:.0f} MiB"
        )
    assert record.tried >= 550
    assert record.longest < LONGEST_SECONDS
    assert record.most_bytes < MOST_BYTES


def tried(record: Record, folder: Path) -> nn.Module | None:
    """The model that a folder gives; None where it is refused."""
    started = time.process_time()
    model = None
    with peak_bytes() as grown:
        try:
            model, said = load(folder), ""
        except LabError as error:
            said = str(error)
            record.refused += 1
    assert "\n" not in said
    assert len(said) < 1000
    record.tried += 1
    record.longest = max(record.longest, time.process_time() - started)
    record.most_bytes = max(record.most_bytes, *grown, 0)
    return model


def same(model: nn.Module, record: Record) -> bool:
    image = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    one, other = model.state_dict(), record.model.state_dict()
    return one.keys() == other.keys() and torch.equal(model(image), record.model(image))


NUMBERS = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([10**9, 10**12, -(10**12), 2**31, 2**63, 2**64, 10**30, 2**20]),
    st.floats(allow_nan=True, allow_infinity=True),
)
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "hf-hub:a/b", "/etc/passwd", "../x", "inc.conv1", "timm.create_model", "torch.nn.Linear", "x\ny"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=8,
)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a parsed architecture."""
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from places(node[key])


def edited(content: Any, data: st.DataObject) -> Any:
    content = copy.deepcopy(content)
    for _ in range(data.draw(st.integers(1, 3))):
        # Half of the edits go to the entries that matter, of which there are few among thousands of indices.
        found = [place for place in places(content) if not isinstance(place[0], list)]
        if data.draw(st.booleans()):
            found = list(places({part: content.get(part) for part in ("builder", "groups", "attributes", "dropped")}))
        if not found:
            continue
        node, key = data.draw(st.sampled_from(found))
        what = data.draw(st.sampled_from(["replace", "delete", "rename", "number"]))
        if what == "delete":
            del node[key]
        elif what == "rename" and isinstance(node, dict):
            node[data.draw(WORDS)] = node.pop(key)
        else:
            node[key] = data.draw(NUMBERS if what == "number" else VALUES)
    return content


OFTEN = settings(
    max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


@OFTEN
@given(data=st.data())
def test_an_edited_architecture_is_noticed(record: Record, tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("edited")
    content = json.loads((record.folder / ARCHITECTURE).read_text())
    (folder / ARCHITECTURE).write_text(json.dumps(edited(content, data)))
    (folder / WEIGHTS).symlink_to(folder / "w")
    shutil.copy(record.folder / WEIGHTS, folder / "w")
    model = tried(record, folder)
    assert model is None or same(model, record)


@OFTEN
@given(data=st.data())
def test_a_forged_architecture_does_no_harm(record: Record, tmp_path_factory: Any, data: st.DataObject) -> None:
    """With a checksum that fits, what comes may be another network, but within the same bounds."""
    folder = tmp_path_factory.mktemp("forged")
    content = json.loads((record.folder / ARCHITECTURE).read_text())
    try:
        text = json.dumps(sealed(edited(content, data)))
    except TypeError:  # keys that were renamed into nothing
        return
    (folder / ARCHITECTURE).write_text(text)
    shutil.copy(record.folder / WEIGHTS, folder / WEIGHTS)
    model = tried(record, folder)
    assert model is None or isinstance(model, nn.Module)


@OFTEN
@given(data=st.data())
def test_flipped_missing_and_added_bytes_are_noticed(
    record: Record, tmp_path_factory: Any, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    for name in (ARCHITECTURE, WEIGHTS):
        shutil.copy(record.folder / name, folder / name)
    path = folder / data.draw(st.sampled_from([ARCHITECTURE, WEIGHTS]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    what = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if what == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif what == "cut":
        del content[place:]
    else:
        content[place:place] = data.draw(st.binary(min_size=1, max_size=16))
    path.write_bytes(bytes(content))
    model = tried(record, folder)
    assert model is None or same(model, record)
