import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pruning_lab.importance import Ipad
from pruning_lab.selection.stopping import All
from pruning_lab.tasks.inspect.facts import Inspection
from pruning_lab.tasks.inspect.tables import (
    floor_text,
    layers_table,
    notes,
    reads_table,
    runs_text,
    sentences,
    write_inspection,
)
from tests.tasks.inspect.test_facts import inspected, of


@pytest.fixture(scope="module")
def facts() -> Inspection:
    return inspected(importance=Ipad())


def printed(table: object) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_layer_has_its_line_and_every_reader_its_offset(facts: Inspection) -> None:
    text = printed(layers_table(facts))
    for layer in facts.layers:
        assert layer.name in text
    assert "frozen: feeds the model's output" in text
    assert "head: 8..12" in printed(reads_table(facts))


def test_the_files_hold_all_that_was_found(facts: Inspection, tmp_path: Path) -> None:
    layers, reads, whole = write_inspection(tmp_path, facts)
    rows = list(csv.DictReader(layers.read_text().splitlines()))
    assert [row["name"] for row in rows] == [layer.name for layer in facts.layers]
    assert sum(int(row["weights"]) for row in rows) <= facts.weights
    assert {"layer": "up", "consumer": "head", "filters": "0..4", "channels": "8..12", "count": "5"} in list(
        csv.DictReader(reads.read_text().splitlines())
    )
    content = json.loads(whole.read_text())
    assert content["macs"] == facts.macs
    assert content["layers"][0]["name"] == "first"
    assert content["budget"]["scores"] == "Uniform"


def test_sentences_tell_totals_the_budget_and_what_is_unused(facts: Inspection) -> None:
    total, budget = sentences(facts)
    assert total.startswith("TwoPaths on 1 x 3 x 16 x 16: ")
    assert "prunable" in total
    assert "Uniform scores, as the chosen importance needs images" in budget
    wasteful = replace(facts, unused=("a", "b"), unused_weights=facts.weights // 2, dropped=("c",))
    assert any(line.startswith("dropped before") and line.endswith(": c") for line in sentences(wasteful))
    assert any("nothing reads a, b" in line and "drop_unused=true" in line for line in sentences(wasteful))


def test_a_budget_that_cannot_be_met_is_told_with_the_floors() -> None:
    _, budget = sentences(inspected(stop=All(flops=0.01)))
    assert budget.startswith("the budget can't be met: FLOPs still above it")
    assert "floors bind at" in budget


def test_floors_are_spelled_as_what_must_stay(facts: Inspection) -> None:
    first = of(facts, "first")
    assert floor_text(replace(first, floor={"filters": 3.2})) == "4"
    assert floor_text(replace(first, floor={"filters": 1, "flops": 1_200_000})) == "1, 1.20 M FLOPs"


def test_ties_are_noted(facts: Inspection) -> None:
    assert notes(of(facts, "first")) == "tied to second and 1 more"


def test_many_runs_of_channels_are_counted() -> None:
    assert runs_text(((0, 63), (128, 128))) == "0..63, 128"
    assert runs_text(tuple((i, i) for i in range(0, 20, 2))) == "0, 2, 4, 6, ... (10 in all)"
