import runpy
import sys
from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.card import Card, Cards, write_cards
from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.run_folder import budget_text, read_run
from pruning_lab.tasks.report import budgets
from pruning_lab.tasks.report.budgets import run_row
from tests.paths import ROOT

MARKED = "before\n<!-- budgets:start -->\nold\n<!-- budgets:end -->\nafter\n"


def run_folder(folder: Path, stop: str = "stop: {flops: 0.25}\n", met: bool = True) -> Path:
    """A run of two steps and a final recovery, as the lab leaves it."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(stop)
    history = History()
    history.append({"step": 0, "val/iou": 0.9})
    history.append({"step": 1, "val/iou": 0.88, "val/iou_before_recovery": 0.85})
    history.append({"step": 2, "val/iou": 0.86, "val/iou_before_recovery": 0.7})
    history.append({"step": 3, "val/iou": 0.895, "test/iou": 0.891})
    history.write(folder / "history.csv")
    base = Card("base", 4_000_000_000, 17_263_042, 158.24, 0.9, 0.9, 0.94, 69_000_000)
    pruned = Card("pruned", 980_000_000, 2_000_000, 61.0, 0.895, 0.895, 0.93, 8_000_000)
    write_cards(folder, Cards(base, pruned, "3fa9", 1, "abc", met))
    return folder


def test_a_run_is_one_row_from_base_to_test(tmp_path: Path) -> None:
    assert run_row(read_run(run_folder(tmp_path / "run"))) == {
        "budget": "25 % FLOPs",
        "base IoU": "90.00",
        "after cut": "70.00",
        "after recovery": "89.50",
        "test IoU": "89.10",
        "latency ms": "158.2 -> 61.0",
        "MACs": "4.00 G -> 980 M",
        "weights": "17.3 M -> 2.00 M",
    }


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("stop: {_target_: some.Rule, flops: 0.5}", "50 % FLOPs"),
        ("stop: {weights: 0.125, flops: 0.1}", "10 % FLOPs, 12.5 % weights"),
        ("stop: {rules: {first: {weights: 0.3}}}", "30 % weights"),
        ("stop: {fraction: 0.5}", "24.5 % FLOPs reached"),
        ("seed: 1", "24.5 % FLOPs reached"),
    ],
)
def test_the_budget_is_what_the_config_asked_for(tmp_path: Path, stop: str, text: str) -> None:
    assert budget_text(read_run(run_folder(tmp_path / "run", stop))) == text


def test_a_budget_that_was_not_met_is_marked(tmp_path: Path) -> None:
    row = run_row(read_run(run_folder(tmp_path / "run", met=False)))
    assert row["budget"] == "25 % FLOPs (not met)"


@pytest.mark.parametrize("name", ["config.yaml", "history.csv", "card.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(LabError, match=rf"run.{name}: can't be read"):
        read_run(folder)


@pytest.mark.parametrize("text", ["a: [1\nb: {", "- 1\n- 2\n"])
def test_a_broken_config_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "config.yaml").write_text(text)
    with pytest.raises(LabError, match=r"config\.yaml: not ") as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


def test_a_run_without_a_step_is_not_finished(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "history.csv").write_text("step,val/iou\n0,0.9\n")
    with pytest.raises(LabError, match="no pruning step was done"):
        read_run(folder)


def test_the_table_goes_between_the_markers_and_again_in_its_own_place(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / name, f"stop: {{flops: {budget}}}") for name, budget in (("a", 0.5), ("b", 0.1))]
    page = tmp_path / "README.md"
    page.write_text(MARKED)
    command = [*map(str, folders), "--into", str(page), "--marker", "budgets"]
    assert budgets.main(command) == 0
    once = page.read_text()
    lines = once.splitlines()
    assert lines[:3] == [
        "before",
        "<!-- budgets:start -->",
        "| budget | base IoU | after cut | after recovery | test IoU | latency ms | MACs | weights |",
    ]
    assert lines[3] == "| :-- | --: | --: | --: | --: | --: | --: | --: |"
    assert [line.split("|")[1].strip() for line in lines[4:6]] == ["50 % FLOPs", "10 % FLOPs"]
    assert lines[6:] == ["<!-- budgets:end -->", "after"]
    assert budgets.main(command) == 0
    assert page.read_text() == once


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_run_as_a_module_it_prints_the_table_where_no_page_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["budgets", str(run_folder(tmp_path / "run"))])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("pruning_lab.tasks.report.budgets", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("| budget | base IoU |")


def test_a_script_begins_when_all_of_it_is_there() -> None:
    for path in [
        *(ROOT / "pruning_lab").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "docs").rglob("*.py"),
    ]:
        _, _, behind = path.read_text(encoding="utf-8").partition('\nif __name__ == "__main__":\n')
        assert all(line.startswith(" ") for line in behind.splitlines() if line), path


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "<!-- budgets:start -->",
        "<!-- budgets:end -->\n<!-- budgets:start -->",
        MARKED + MARKED,
        MARKED.replace("budgets", "other"),
    ],
)
def test_a_page_without_its_markers_is_left_alone(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    assert budgets.main([str(run_folder(tmp_path / "run")), "--into", str(page)]) == 1
    assert page.read_text() == text
    assert f"{page}: write a line <!-- budgets:start -->" in capsys.readouterr().err


def test_a_page_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert budgets.main([str(run_folder(tmp_path / "run")), "--into", str(tmp_path / "README.md")]) == 1
    assert "README.md: can't be read" in capsys.readouterr().err
