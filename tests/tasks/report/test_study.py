"""Statistics over seeds, the tables made of them, and the page that they are put into."""

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import ttest_ind

from pruning_lab.tasks.report import study
from pruning_lab.tasks.report.agreement import JUDGE, Agreement
from pruning_lab.tasks.report.study import Study, write_study
from pruning_lab.tasks.report.study_rows import StudyRow
from pruning_lab.tasks.report.study_summary import Cell, compare, mean_and_std
from pruning_lab.tasks.report.study_tables import by_method, console_table, markdown, notes, table_rows
from tests.tasks.report.studies import study_row

AGREEMENTS = [
    Agreement("3fa9c1", JUDGE, 0.9, 0.8, 528, 14, 32, 120.0, 1, "soft_mask"),
    Agreement("3fa9c1", "ipad", 0.25, -0.125, 528, 14, 32, 0.25, 1, "soft_mask"),
    Agreement("3fa9c1", "l1", math.nan, math.nan, 528, 14, 32, math.nan, 1, "soft_mask", "it has no weights"),
]


def two_methods() -> list[StudyRow]:
    """ipad and l1, three seeds each at 50 and 10 %; one run of l1 is missing, one of ipad misses its budget."""
    rows = [study_row("ipad", seed, 0.5, 0.90 + 0.01 * seed) for seed in (1, 2, 3)]
    rows += [study_row("ipad", seed, 0.1, 0.85, met=int(seed != 3)) for seed in (1, 2, 3)]
    rows += [study_row("l1", seed, 0.5, 0.80, flops_fraction=0.47) for seed in (1, 2)]
    return rows + [study_row("l1", seed, 0.1, 0.70 + 0.01 * seed, score_images=0.0) for seed in (1, 2, 3)]


def table(rows: list[StudyRow], agreements: list[Agreement] | None = None, split: str = "test") -> dict[str, dict]:
    (comparison,) = compare(rows, split)
    return {row["method"]: row for row in table_rows(comparison, by_method(agreements or []), split)}


def test_the_deviation_is_that_of_a_sample() -> None:
    mean, std = mean_and_std([0.91, 0.92, 0.93])
    assert (mean, std) == (pytest.approx(0.92), pytest.approx(0.01))
    assert math.isnan(mean_and_std([0.9])[1])


def test_a_cell_holds_the_means_over_its_seeds() -> None:
    (comparison,) = compare(two_methods())
    cell = comparison.cells["ipad", "50 % FLOPs"]
    assert (cell.runs, cell.met) == (3, 3)
    assert cell.iou("test") == (pytest.approx(0.92), pytest.approx(0.01))
    assert cell.iou("val") == (pytest.approx(0.91), pytest.approx(0.01))
    assert cell.flops_fraction == 0.5


def test_budgets_go_from_wide_to_tight_and_methods_from_good_to_bad() -> None:
    rows = [*two_methods(), study_row("wide", limit=0.5, iou=0.99)]
    (comparison,) = compare(rows)
    assert [budget.text for budget in comparison.budgets] == ["50 % FLOPs", "10 % FLOPs"]
    assert comparison.methods == ("ipad", "l1", "wide")


def test_a_base_has_a_table_of_its_own() -> None:
    rows = [study_row(base="a1"), study_row(base="b2", data="eyes"), study_row("l1", base="a1")]
    assert [(c.base, c.methods) for c in compare(rows)] == [("a1", ("ipad", "l1")), ("b2", ("ipad",))]


def test_a_cell_is_spelled_with_all_that_is_not_as_it_should_be() -> None:
    rows = table(two_methods())
    assert rows["ipad"]["50 % FLOPs"] == "**92.0 ± 1.0**"
    assert rows["ipad"]["10 % FLOPs"] == "85.0 ± 0.0 (1 of 3 not met)"
    assert rows["l1"]["50 % FLOPs"] == "80.0 ± 0.0 (n=2) at 47.0 %"
    assert rows["l1"]["10 % FLOPs"] == "72.0 ± 1.0"


def test_only_those_that_met_the_budget_can_be_best() -> None:
    rows = [study_row("a", iou=0.9, met=0), study_row("b", iou=0.8), study_row("c", iou=0.7)]
    cells = {method: row["50 % FLOPs"] for method, row in table(rows).items()}
    assert cells == {"a": "90.0 (not met)", "b": "**80.0**", "c": "70.0"}
    assert table(rows[:2])["b"]["50 % FLOPs"] == "80.0"


def test_methods_that_seeds_cannot_tell_from_the_best_are_marked() -> None:
    def marked(ious: dict[str, tuple[float, ...]], missing: str = "") -> list[str]:
        rows = [
            study_row(method, seed, iou=iou, met=int(method != missing))
            for method, seen in ious.items()
            for seed, iou in enumerate(seen)
        ]
        return [method for method, row in table(rows).items() if "≈" in row["50 % FLOPs"]]

    ious = {"a": (0.90, 0.91, 0.92), "b": (0.89, 0.90, 0.91), "c": (0.80, 0.81, 0.82)}
    assert marked(ious) == ["b"]
    assert marked(ious | {"d": (0.89, 0.90, 0.91)}, missing="d") == ["b"], "d does not meet the budget"
    assert marked(ious | {"d": (0.92,)}) == [], "the best has a single run, so that nothing can be said"
    assert marked({"a": (0.9, 0.9), "b": (0.9, 0.9), "c": (0.8, 0.8)}) == ["b"], "no spread at all"


def test_whether_two_methods_are_level_is_decided_by_welchs_test() -> None:
    for shift in (0.005, 0.01, 0.02, 0.03):
        one, other = [0.90, 0.91, 0.93, 0.91], [0.90 - shift, 0.89 - shift, 0.91 - shift]
        rows = [study_row("a", seed, iou=iou) for seed, iou in enumerate(one)]
        rows += [study_row("b", seed, iou=iou) for seed, iou in enumerate(other)]
        (comparison,) = compare(rows)
        p = ttest_ind(one, other, equal_var=False).pvalue
        assert (comparison.level_with_best("50 % FLOPs", "test") == ["b"]) == (p >= 0.05)


def test_the_other_split_has_its_own_scores_and_its_own_best() -> None:
    rows = [study_row("a", test_iou=0.9, val_iou=0.7), study_row("b", test_iou=0.8, val_iou=0.75)]
    assert {m: row["50 % FLOPs"] for m, row in table(rows, split="val").items()} == {"b": "**75.0**", "a": "70.0"}
    assert {m: row["50 % FLOPs"] for m, row in table(rows).items()} == {"a": "**90.0**", "b": "80.0"}


def test_costs_are_means_over_all_budgets_and_steps_those_of_the_tightest() -> None:
    rows = [study_row(limit=0.5, score_seconds=0.2, steps=2), study_row(limit=0.1, score_seconds=0.6, steps=7)]
    row = table(rows)["ipad"]
    assert (row["s/step"], row["images"], row["steps"], row["epochs"]) == ("0.40", "64", "7", "12")


def test_a_control_that_scores_nothing_has_no_costs_of_scoring() -> None:
    row = table([study_row("train_longer of ipad", steps=0, score_seconds=0.0)])["train_longer of ipad"]
    assert (row["s/step"], row["images"]) == ("", "")


def test_agreement_with_ablation_stands_beside_the_scores() -> None:
    rows = table(two_methods(), AGREEMENTS)
    assert [rows["ipad"][name] for name in ("Spearman", "in layers", "s on base")] == ["0.25", "-0.12", "0.25"]
    assert {rows["l1"][name] for name in ("Spearman", "in layers", "s on base")} == {""}
    judge = rows[f"*{JUDGE}, half against half*"]
    assert (judge["Spearman"], judge["s on base"], judge["10 % FLOPs"]) == ("0.90", "120", "")
    assert "Spearman" not in table(two_methods())["ipad"]


def test_what_differs_though_nothing_asked_for_it_is_told_with_the_methods() -> None:
    rows = [study_row("a", differing=json.dumps({"recovery.epochs": 1})), study_row("b", differing="{}")]
    rows += [study_row("c", differing=json.dumps({"recovery.epochs": 5}))]
    (comparison,) = compare(rows)
    text = "\n".join(notes(comparison, by_method(AGREEMENTS), "test"))
    assert "**Not all else is equal.** `recovery.epochs` is 1 (a); 5 (c)." in text
    assert "No correlation for l1: it has no weights." in text
    (equal,) = compare(two_methods())
    assert "Not all else" not in "\n".join(notes(equal, {}, "test"))


def test_every_base_has_heading_base_and_table() -> None:
    text = markdown(compare([study_row(base="a1"), study_row(base="b2", data="eyes")]), {}, "test")
    assert [line for line in text.splitlines() if line.startswith("###")] == ["### nuclei, unet", "### eyes, unet"]
    assert "The base (a1), from which all runs start, has 91.0 at 1.00 k MACs and 100 weights. Code: 96fd26e." in text
    assert "| ipad | 90.0 | 0.30 | 64 | 2 | 12 |" in text


def test_runs_of_several_commits_say_so() -> None:
    rows = [study_row(seed=1), study_row(seed=2), study_row(seed=3, commit="0123456789abcdef-dirty")]
    assert "Code: 96fd26e (2 of 3 runs), 0123456-dirty (1 of 3 runs)." in markdown(compare(rows), {}, "test")
    assert "Code: unknown." in markdown(compare([study_row(commit="unknown")]), {}, "test")


def test_the_console_shows_the_same_and_fits_it() -> None:
    (comparison,) = compare(two_methods())
    console = Console(file=io.StringIO(), width=120)
    console.print(console_table(comparison, by_method(AGREEMENTS), "test"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "92.0±1.0" in text
    assert "full ablation" in text
    assert "*" not in text
    assert "[" not in text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    left_out = {"runs/7": "runs/7: no card"}
    made = Study(two_methods(), AGREEMENTS, "test", left_out, {"figures/a.png": "IoU over FLOPs"})
    write_study(tmp_path / "report", made)
    return tmp_path / "report"


def test_a_report_is_a_page_and_csvs(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"report.md", "report.csv", "summary.csv", "correlation.csv"}
    page = (folder / "report.md").read_text()
    assert "![IoU over FLOPs](figures/a.png)" in page
    assert "- runs/7: no card" in page
    lines = (folder / "summary.csv").read_text().splitlines()
    assert lines[0].split(",") == list(Cell.__dataclass_fields__)
    assert [line.split(",")[3:7] for line in lines[1:]] == [
        ["ipad", "50 % FLOPs", "3", "3"],
        ["ipad", "10 % FLOPs", "3", "2"],
        ["l1", "50 % FLOPs", "2", "2"],
        ["l1", "10 % FLOPs", "3", "3"],
    ]


def test_a_report_goes_into_a_page_from_its_csvs_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "report.md").unlink()
    page = folder.parent / "README.md"
    page.write_text("before\n<!-- study:start -->\nstale\n<!-- study:end -->\nafter\n")
    assert study.main([str(folder), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- study:start -->\n### nuclei, unet\n")
    assert text.endswith("\n<!-- study:end -->\nafter\n")
    assert "stale" not in text
    assert "| l1 | 80.0 ± 0.0 (n=2) at 47.0 % | 72.0 ± 1.0 |" in text
    assert study.main([str(folder)]) == 0
    assert capsys.readouterr().out.strip() in text


def test_a_folder_without_a_report_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main([str(tmp_path)]) == 1
    assert "report.csv: can't be read" in capsys.readouterr().err
