"""A report's page holds all that it shows, needs no network, and takes no name of a user's for HTML."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pruning_lab.lab.output.run_page import write_run_page
from pruning_lab.lab.output.widths import write_widths
from pruning_lab.tasks.report.latex import write_latex
from pruning_lab.tasks.report.page.page import write_page
from pruning_lab.tasks.report.run_search import find_runs
from pruning_lab.tasks.report.study import Study, write_study
from pruning_lab.tasks.report.study_rows import study_rows
from tests.lab.output.pages import Page, check_page
from tests.tasks.report.studies import study_run

EVIL = "<script>alert('x')</script>\"&</script>"


def page_of(root: Path, split: str = "test") -> Page:
    """The page of all runs below a folder."""
    found = find_runs(str(root / "runs"))
    rows, repeated = study_rows(found.runs)
    study = Study(rows, [], split, {**found.left_out, **repeated}, {})
    write_study(root / "report", study)
    write_latex(root / "report", study.comparisons(), split)
    write_page(root / "report", f"of {EVIL}", study, {str(run.folder): run for run in found.runs}, {})
    return Page(root / "report" / "report.html")


def run(root: Path, place: str, importance: str, **changes: Any) -> Path:
    """A run with widths."""
    folder = study_run(root / "runs" / place, importance=importance, **changes)
    rows = [
        {"layer": f"a {importance}", "filters": 8, "left": 3, "floor": 2, "frozen": ""},
        {"layer": "out", "filters": 2, "left": 2, "floor": "", "frozen": "feeds the output"},
    ]
    write_widths(folder, rows)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, one of them with a name that is HTML, two seeds and two budgets, and all that is unfair."""
    root = tmp_path_factory.mktemp("page")
    for method in ("ipad", EVIL):
        for seed in (1, 2):
            for flops in (0.5, 0.1):
                iou = 0.9 - 0.01 * seed + 0.1 * flops
                run(root, f"{method[:4]} {seed} {flops}", method, seed=seed, flops=flops, iou=iou)
    run(root, "worse", "l1", flops=0.1, met=False, reached=0.2, recovery={"epochs": 4, "final_epochs": 10})
    run(
        root, "elsewhere", "l1", base_hash="7777", data={"_target_": "pruning_lab.data.Folder", "root": f"x/{EVIL[:8]}"}
    )
    run(root, "again", "ipad", base_hash="8888", seed=1)
    write_run_page(root / "runs" / "worse")
    (root / "runs" / "died").mkdir()
    (root / "runs" / "died" / "config.yaml").write_text("seed: 3\n")
    (root / "runs" / "died" / "history.csv").write_text("step\n0\n")
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> Page:
    return page_of(root)


def plots(page: Page) -> dict[str, Any]:
    (text,) = [script for script in page.scripts if script.startswith("[{")]
    return {plot["name"]: plot for plot in json.loads(text)}


def test_it_is_whole_and_needs_nothing_else(page: Page) -> None:
    check_page(page)
    assert len(page.scripts) == 3


def test_every_run_has_a_card_and_a_link_where_it_has_a_page(page: Page) -> None:
    cards = page.having("run")
    assert {card["id"] for card in cards} == {f"run-{number}" for number in range(1, 12)}
    assert [address for address in page.addresses if address.endswith(".html")] == ["../runs/worse/report.html"]
    assert "budget NOT met" in page.text
    assert "runs/died" in page.text


def test_every_place_of_a_plot_is_there_and_every_point_leads_to_a_card(page: Page) -> None:
    anchors = set()
    for name, plot in plots(page).items():
        assert name in page.ids
        for trace in plot["data"]:
            told = trace.get("customdata", [])
            anchors |= set(told)
            assert not told or len(told) == len(trace["x"]) == len(trace["y"]) == len(trace["text"])
    assert anchors == {card["id"] for card in page.having("run")}


def test_scores_are_drawn_over_three_costs_with_means_and_deviations_and_runs(page: Page) -> None:
    assert {f"comparison-1-{cost}" for cost in ("flops", "weights", "latency")} <= plots(page).keys()
    front, *traces = plots(page)["comparison-1-flops"]["data"]
    runs = {trace["meta"]: trace for trace in traces if trace["mode"] == "markers"}
    means = {trace["meta"]: trace for trace in traces if "error_y" in trace}
    assert runs.keys() == means.keys() == {"ipad", EVIL, "l1"}
    assert sorted(runs["ipad"]["x"]) == pytest.approx([10, 10, 50, 50])
    assert means["ipad"]["x"] == pytest.approx([50, 10])
    assert means["ipad"]["y"] == pytest.approx([93.5, 89.5])
    assert means["ipad"]["error_y"]["array"] == pytest.approx([2**-0.5, 2**-0.5])
    assert means["l1"]["error_y"]["array"] == [0.0]
    assert front["name"] == "Pareto front"
    axis = plots(page)["comparison-1-flops"]["layout"]["xaxis"]
    assert axis["type"] == "log"
    assert "logarithmic" in axis["title"]["text"]


def test_widths_start_with_the_winner_and_tell_floors_and_frozen_layers(page: Page) -> None:
    plot = plots(page)["comparison-1-widths-0"]
    (trace,) = plot["data"]
    assert trace["x"][0].startswith("★ ")
    assert len(trace["x"]) == 2
    told = {text for row in trace["text"] for text in row}
    assert told == {"", "3 of 8 filters (38 %), floor 2", "2 of 2 filters (100 %), frozen: feeds the output"}


def test_parallel_coordinates_have_an_axis_for_what_was_changed_and_what_came_of_it(page: Page) -> None:
    plot = plots(page)["comparison-1-changed"]
    heads = [note["text"] for note in plot["layout"]["annotations"] if note["text"].startswith("<b>")]
    assert heads == [
        f"<b>{name}</b>"
        for name in ("method", "budget", "recovery.epochs", "seed", "FLOPs left, %", "latency left, %", "test IoU, %")
    ]
    assert len(plot["data"]) == 9
    assert all(0 <= y <= 1 for trace in plot["data"] for y in trace["y"])


def test_what_is_unfair_is_warned_of(page: Page) -> None:
    kinds = {attributes["data-kind"] for attributes in page.having("unfair")}
    assert {"base", "data", "budget", "seeds", "missing", "epochs"} <= kinds


def test_a_name_is_never_taken_for_html(page: Page) -> None:
    assert page.source.count("<script") == 3 + page.source.count('"<script')  # plotly.js writes one in a text
    assert "alert('x')" in page.text
    for plot in plots(page).values():
        for trace in plot["data"]:
            for text in [trace.get("name", ""), *map(str, trace.get("text", [])), *map(str, trace["x"])]:
                assert re.fullmatch(r"(?:[^<]|</?b>|<br>)*", text), text


def test_scores_are_in_the_table_and_the_best_is_bold(page: Page) -> None:
    assert len(page.having("best")) == 2
    assert "93.5 ± 0.7" in page.text
    assert "**" not in page.text


def test_csv_and_latex_can_be_taken_along(root: Path, page: Page) -> None:
    found = {
        attributes["download"]: attributes["href"] for tag, attributes in page.elements if "download" in attributes
    }
    assert found.keys() == {"report.csv", "summary.csv", "report.tex"}
    for name, address in found.items():
        assert base64.b64decode(address.partition(",")[2]) == (root / "report" / name).read_bytes()


def test_a_single_run_is_a_comparison_too(tmp_path: Path) -> None:
    run(tmp_path, "only", "ipad")
    page = page_of(tmp_path, "val")
    check_page(page)
    assert "comparison-1-changed" not in plots(page)
    assert page.having("warnings") == []
    assert "validation IoU" in page.text


@pytest.mark.slow
def test_plotly_knows_every_setting_of_every_plot(page: Page) -> None:
    figures = pytest.importorskip("plotly.graph_objects")

    def colored(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("var:"):
            return "#123456"
        if isinstance(value, dict):
            return {key: colored(item) for key, item in value.items()}
        return [colored(item) for item in value] if isinstance(value, list) else value

    for plot in plots(page).values():
        figures.Figure({"data": colored(plot["data"]), "layout": colored(plot["layout"])})
