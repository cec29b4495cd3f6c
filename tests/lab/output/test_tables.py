import io
import json
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.card import Card, Cards, read_cards, write_cards
from pruning_lab.lab.output.tables import before_after, before_after_rows, widths_rows, widths_table

BASE = Card(
    "base",
    macs=4_000_000_000,
    weights=17_263_042,
    latency_ms=158.2,
    val_iou=0.874,
    test_iou=0.86,
    test_dice=0.93,
    disk_bytes=69_100_000,
)
PRUNED = Card(
    "pruned",
    macs=1_000_000_000,
    weights=2_000_000,
    latency_ms=61.0,
    val_iou=0.8782,
    test_iou=0.855,
    test_dice=0.92,
    disk_bytes=8_100_000,
)
WIDTHS = [
    {"down.conv1": 64, "down.conv2": 128},
    {"down.conv1": 60, "down.conv2": 64},
    {"down.conv1": 16, "down.conv2": 64},
]


def cards(**changes: object) -> Cards:
    settings = {
        "base": BASE,
        "pruned": PRUNED,
        "base_hash": "3fa9",
        "seed": 1,
        "commit": "abc",
        "budget_met": True,
    }
    return Cards(**(settings | changes))  # type: ignore[arg-type]


def rendered(table: RenderableType) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines if line.strip()]


def test_each_quantity_is_told_for_both_models_with_its_change() -> None:
    rows = {row["quantity"]: (row["base"], row["pruned"], row["change"]) for row in before_after_rows(BASE, PRUNED)}
    assert rows == {
        "MACs": ("4.00 G", "1.00 G", "-75.0 %"),
        "weights": ("17.3 M", "2.00 M", "-88.4 %"),
        "CPU latency": ("158 ms", "61.0 ms", "-61.4 %"),
        "validation IoU": ("87.40 %", "87.82 %", "+0.42 points"),
        "test IoU": ("86.00 %", "85.50 %", "-0.50 points"),
        "test Dice": ("93.00 %", "92.00 %", "-1.00 points"),
        "size on disk": ("69.1 MB", "8.10 MB", "-88.3 %"),
    }


def test_the_table_shows_the_rows_under_the_models_names() -> None:
    heading, _, *body = rendered(before_after(BASE, PRUNED))
    assert heading == ["base", "pruned", "change"]
    assert body[0][0] == "CPU latency"
    assert body[1] == ["MACs", "4.00 G", "1.00 G", "-75.0 %"]
    assert len(body) == 7


def test_widths_tell_the_base_and_the_end() -> None:
    assert widths_rows(WIDTHS) == [
        {"layer": "down.conv1", "filters": 64, "left": 16, "fraction": 0.25},
        {"layer": "down.conv2", "filters": 128, "left": 64, "fraction": 0.5},
    ]
    assert rendered(widths_table(WIDTHS))[-1] == ["down.conv2", "128", "64", "50 %"]


def test_no_widths_are_an_error() -> None:
    with pytest.raises(ValueError, match="no widths"):
        widths_table([])


def test_cards_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert write_cards(tmp_path, cards()) == tmp_path / "card.json"
    assert read_cards(tmp_path) == cards()


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"card\.json: can't be read .* finished run"):
        read_cards(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda content: content.pop("seed"), "seed"),
        (lambda content: content.pop("base"), "base"),
        (lambda content: content["pruned"].pop("macs"), "macs"),
        (lambda content: content.update(color="red"), "color"),
    ],
)
def test_a_card_of_another_shape_is_an_error_that_names_the_key(tmp_path: Path, change, named: str) -> None:  # type: ignore[no-untyped-def]
    path = write_cards(tmp_path, cards())
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(LabError, match=rf"card\.json: not a card of this version .*{named}"):
        read_cards(tmp_path)


def test_a_card_that_is_no_json_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{\n")
    with pytest.raises(LabError, match="not a card") as caught:
        read_cards(tmp_path)
    assert "\n" not in str(caught.value)
