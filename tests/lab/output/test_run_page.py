"""A run's page holds everything, needs nothing, and takes no name of a user's for HTML."""

import time
from pathlib import Path

import pytest
from PIL import Image

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.base_losses import by_epoch, read_losses, write_losses
from pruning_lab.lab.output.html import render
from pruning_lab.lab.output.run_card import open_run, run_card
from pruning_lab.lab.output.run_folder import about_run
from pruning_lab.lab.output.run_page import write_run_page
from pruning_lab.lab.output.widths import LayerWidth, read_widths, write_widths
from tests.lab.output.pages import Page, check_page
from tests.tasks.report.studies import study_run

EVIL = "<script>alert('x')</script>\"&"


def finished(folder: Path, name: str = "ipad") -> Path:
    """A run with all that the end of one leaves."""
    study_run(
        folder,
        importance=name,
        data={"_target_": "pruning_lab.data.Folder", "root": f"somewhere/{name.replace('/', '|')}"},
    )
    write_losses(folder, [0.9, 0.5, 0.25])
    rows = [
        {"layer": f"a.{name}", "filters": 64, "left": 13, "fraction": 13 / 64, "floor": 7, "frozen": ""},
        {"layer": "out", "filters": 2, "left": 2, "fraction": 1.0, "floor": "", "frozen": f"feeds {name}"},
    ]
    write_widths(folder, rows)
    (folder / "figures").mkdir()
    Image.new("RGB", (8, 6)).save(folder / "figures" / "predictions.png")
    return folder


def test_a_page_is_whole_and_small_and_made_at_once(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    write_run_page(folder)  # reads the templates, which is paid once
    started = time.perf_counter()
    path = write_run_page(folder)
    assert time.perf_counter() - started < 0.5
    assert path == folder / "report.html"
    page = Page(path)
    check_page(page)
    assert len(page.source) < 100_000
    assert [tag for tag, _ in page.elements].count("svg") >= 2
    assert [tag for tag, _ in page.elements].count("img") == 1
    for told in ("ipad", "unet", "budget met", "seed 1", "3fa9", "13 / 64", "50 % FLOPs", "test IoU", "Every step"):
        assert told in page.text


def test_a_name_is_never_taken_for_html(tmp_path: Path) -> None:
    page = Page(write_run_page(finished(tmp_path / "run", EVIL)))
    check_page(page)
    assert "<script" not in page.source
    assert "alert('x')" in page.text
    assert all(not any(name.startswith("on") for name in attributes) for _, attributes in page.elements)


def test_a_run_that_left_less_has_less_on_its_page(tmp_path: Path) -> None:
    folder = study_run(tmp_path / "run", importance=None, met=False)
    page = Page(write_run_page(folder))
    check_page(page)
    assert "budget NOT met" in page.text
    (folder / "config.yaml").unlink()
    assert Page(write_run_page(folder)).text


def test_a_folder_that_is_no_finished_run_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"card\.json") as caught:
        write_run_page(tmp_path)
    assert "\n" not in str(caught.value)


def test_widths_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    assert read_widths(folder) == [LayerWidth("a.ipad", 64, 13, 7), LayerWidth("out", 2, 2, None, "feeds ipad")]
    (folder / "widths.csv").write_text("layer,filters\na,many\n")
    with pytest.raises(LabError, match=r"widths\.csv"):
        read_widths(folder)
    (folder / "widths.csv").unlink()
    assert read_widths(folder) == []


def test_losses_are_means_of_epochs_and_are_read_back(tmp_path: Path) -> None:
    assert by_epoch([1, 3, 5, 7, 10], 2) == [2, 6, 10]
    assert read_losses(tmp_path) == []
    write_losses(tmp_path, [0.1, 1 / 3])
    assert read_losses(tmp_path) == [0.1, 1 / 3]
    (tmp_path / "base_training.csv").write_text("epoch,loss\n1\n")
    with pytest.raises(LabError, match=r"base_training\.csv"):
        read_losses(tmp_path)


def test_a_run_is_named_by_data_model_method_and_seed(tmp_path: Path) -> None:
    assert about_run(finished(tmp_path / "run")) == "ipad, unet, ipad, seed 1"
    assert about_run(tmp_path) == ""


def test_a_card_of_many_classes_shows_those_of_lowest_iou(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    run = open_run(folder)
    for row in run.history:
        row.update({f"val/iou/class {number:02}": 0.02 * number for number in range(20)})
    (chart,) = [chart for chart in run_card(run).charts if "classes" in chart.title]
    assert [drawn.line.name for drawn in chart.lines] == [f"class {number:02}" for number in range(10)]


def test_what_a_template_needs_has_to_be_given() -> None:
    with pytest.raises(Exception, match="run"):
        render("run.html", pictures=[])
