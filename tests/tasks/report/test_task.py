"""The task `report` over tiny runs, from their folders to the page."""

from pathlib import Path

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.importance import Ablation
from pruning_lab.tasks.config import run_task
from pruning_lab.tasks.report.agreement import JUDGE, Agreement
from pruning_lab.tasks.report.study_rows import StudyRow, read_records
from tests.lab.output.pages import Page, check_page
from tests.tasks.report.studies import record_choices
from tests.tasks.test_assembly import perform
from tests.tasks.test_config import composed


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two methods at one budget, one of them with two seeds."""
    root = tmp_path_factory.mktemp("study")
    for number, (importance, seed) in enumerate([("l1", 1), ("random", 1), ("random", 2)]):
        perform(root, f"runs/{number}", f"importance={importance}", f"seed={seed}")
        record_choices(root / "runs" / f"{number}", {"importance": importance, "data": "eyes_few", "model": "unet"})
    (root / "runs" / "3" / "hydra").mkdir(parents=True)
    (root / "runs" / "3" / "hydra" / "config.yaml").write_text("seed: 3\n")
    return root


def report(root: Path, name: str, *overrides: str) -> Path:
    chosen = ["task=report", f"task.runs={root}/runs/*", f"output_root={root}", "device=cpu", "task.ablation_images=4"]
    run_task(composed(*chosen, *overrides), str(root / name), {"task": "report"})
    return root / name


@pytest.mark.slow
def test_a_study_becomes_tables_correlations_and_figures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = report(root, "report")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    base = read_records(folder / "report.csv", StudyRow)[0].base
    figures = {f"figures/eyes_few_{base[:6]}_{cost}.png" for cost in ("flops", "weights", "latency")}
    tables = {"config.yaml", "report.html", "report.md", "report.tex", "report.csv", "summary.csv", "correlation.csv"}
    assert names == tables | figures
    rows = read_records(folder / "report.csv", StudyRow)
    assert [(row.method, row.seed, row.differing) for row in rows] == [
        ("l1", 1, "{}"),
        ("random", 1, "{}"),
        ("random", 2, "{}"),
    ]
    found = {item.method: item for item in read_records(folder / "correlation.csv", Agreement)}
    assert found.keys() == {JUDGE, "l1", "random"}
    assert all(item.images == 4 and item.note == "" and -1 <= item.spearman <= 1 for item in found.values())
    assert found["l1"].seed == 1
    assert "runs/3/history.csv" in (folder / "report.md").read_text()
    page = Page(folder / "report.html")
    check_page(page)
    assert len(page.having("run")) == 3
    assert len([address for address in page.addresses if address.endswith("/report.html")]) == 3
    assert "runs/3/history.csv" in page.text
    assert len(page.having("tiles")) == 4
    assert {"settings", "seeds"} & {attributes["data-kind"] for attributes in page.having("unfair")} == {"seeds"}
    told = capsys.readouterr().out
    assert "random" in told
    assert "left out" in told


@pytest.mark.slow
def test_a_second_report_takes_ablation_from_beside_the_base(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_records(report(root, "first") / "correlation.csv", Agreement)

    def refuse(*arguments: object) -> None:
        raise AssertionError("ablation was done again")

    monkeypatch.setattr(Ablation, "__call__", refuse)
    second = read_records(report(root, "second") / "correlation.csv", Agreement)
    assert [item.spearman for item in second] == [item.spearman for item in first]


@pytest.mark.slow
def test_without_the_base_there_is_a_table_without_correlations(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "bases").rename(root / "elsewhere")
    try:
        folder = report(root, "lost", f"bases={tmp_path}")
        assert "give bases=" in capsys.readouterr().out
        assert not (folder / "correlation.csv").exists()
        assert "Spearman" not in (folder / "report.md").read_text()
        found = report(root, "found", f"bases={root / 'elsewhere'}")
        assert (found / "correlation.csv").is_file()
    finally:
        (root / "elsewhere").rename(root / "bases")


@pytest.mark.slow
def test_ablation_and_pictures_can_be_left_out_and_figures_have_the_formats_asked_for(root: Path) -> None:
    folder = report(root, "quick", "task.ablation=false", "task.pictures=0", "task.formats=[svg,pdf]")
    assert not (folder / "correlation.csv").exists()
    assert Page(folder / "report.html").having("tiles") == []
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".svg", ".pdf"}


def test_without_a_model_the_page_says_why_there_are_no_pictures(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = root / "runs" / "0" / "model" / "weights.safetensors"
    weights.rename(root / "kept")
    try:
        folder = report(root, "unpictured", "task.ablation=false")
    finally:
        (root / "kept").rename(weights)
    assert "no predictions side by side" in capsys.readouterr().out
    assert "They can't be shown" in Page(folder / "report.html").text


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("task.split=train", "task.split=train"),
        ("task.ablation_images=0", "task.ablation_images=0"),
        ("task.ablation_effect=size", "soft_mask"),
        ("task.formats=[png,gif]", "task.formats"),
        ("task.formats=png", "task.formats=png does not fit"),
        ("task.pictures=-1", "task.pictures=-1"),
        ("task.runs=nowhere", "task.runs=nowhere"),
        ("task.runs=???", "task.runs is not set"),
    ],
)
def test_a_mistake_is_one_line(root: Path, override: str, told: str) -> None:
    with pytest.raises(LabError, match=told.replace(".", r"\.")) as caught:
        report(root, "mistake", override)
    assert "\n" not in str(caught.value)
    assert not (root / "mistake").exists()
