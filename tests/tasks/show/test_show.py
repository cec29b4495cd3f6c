"""task=show: a run's own page with a panel, and what base, pruned model and snapshots make of an image file."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.run_folder import read_run
from pruning_lab.lab.output.run_page import RUN_PAGE
from pruning_lab.lab.prediction import Predictor
from pruning_lab.tasks.config import run_task
from pruning_lab.tasks.report.page.page import PAGE, own_page
from pruning_lab.tasks.show import models as shown_models
from pruning_lab.tasks.show.answer import LONGEST_SIDE, answer
from pruning_lab.tasks.show.models import BASE, PRUNED, Models, Snapshot
from pruning_lab.tasks.show.pages import pages_of
from pruning_lab.tasks.show.task import titles_of
from pruning_lab.training.compute import ComputeSettings
from tests.lab.output.pages import Page, check_page
from tests.tasks.runs import run_on_files, square
from tests.tasks.test_config import composed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_on_files(tmp_path_factory.mktemp("show"), "validation.save_snapshots=true", "base.epochs=5")


@pytest.fixture(scope="module")
def models(run: Path) -> Models:
    return Models([read_run(run)], ComputeSettings("cpu"), str(run.parent / "bases"))


def encoded(path: Path, image: np.ndarray) -> bytes:
    Image.fromarray(image).save(path)
    return path.read_bytes()


def test_base_and_pruned_model_stand_side_by_side_with_their_times(run: Path, models: Models, tmp_path: Path) -> None:
    image, _ = square(7, (31, 40))
    compared = models.compare(0, None, encoded(tmp_path / "a.png", image), "my image.PNG")
    base, pruned = compared.found
    assert [base.name, pruned.name] == [BASE, PRUNED]
    assert np.array_equal(compared.pixels, image)
    assert np.array_equal(pruned.mask, Predictor.from_folder(run)(image).mask)
    assert base.seconds > 0
    assert pruned.seconds > 0
    told = answer(compared)
    assert told["size"] == [31, 40]
    assert [sum(model["shares"]) for model in told["models"]] == pytest.approx([1, 1])
    assert told["agreement"] == pytest.approx((base.mask == pruned.mask).mean())
    assert all(model["overlay"].startswith("data:image/png;base64,") for model in told["models"])


def test_the_slider_passes_every_snapshot_that_the_run_saved(run: Path, models: Models, tmp_path: Path) -> None:
    saved = {int(path.name.removeprefix("step_")): path for path in (run / "snapshots").iterdir()}
    snapshots = models.snapshots(0)
    assert [each.step for each in snapshots] == sorted(saved)
    assert [each.label.endswith("(kept)") for each in snapshots].count(True) == 1
    content = encoded(tmp_path / "a.png", square(3)[0])
    for step, folder in saved.items():
        found = models.compare(0, step, content, "a.png").found[1]
        assert np.array_equal(found.mask, Predictor.from_folder(folder)(square(3)[0]).mask)


def test_without_saved_snapshots_there_is_the_kept_model_alone(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_models, "SNAPSHOTS", "none")
    only: list[Snapshot] = models.snapshots(0)
    assert [each.folder.name for each in only] == ["model"]


def test_without_its_base_a_run_shows_the_pruned_model(run: Path, models: Models, tmp_path: Path) -> None:
    alone = Models(models.runs, ComputeSettings("cpu"), "none")
    alone._loaded[BASE, models.runs[0].cards.base_hash] = None
    told = answer(alone.compare(0, None, encoded(tmp_path / "a.png", square(1)[0]), "a.png"))
    assert [model["name"] for model in told["models"]] == [PRUNED]
    assert "difference" not in told


def test_few_models_stay_loaded(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown_models, "KEPT_MODELS", 2)
    models = Models([read_run(run)], ComputeSettings("cpu"), str(run.parent / "bases"))
    content = encoded(tmp_path / "a.png", square(3)[0])
    for snapshot in models.snapshots(0):
        models.compare(0, snapshot.step, content, "a.png")
        assert len(models._loaded) <= 2


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"x", "a.txt is no image file that can be read"),
        ("", b"x", "is no image file"),
        ("a.png", b"no picture", "a.png"),
        ("../../a.png", b"", "a.png"),
    ],
)
def test_what_is_no_image_is_told_by_its_own_name(models: Models, name: str, content: bytes, told: str) -> None:
    with pytest.raises(LabError, match=re.escape(told)) as caught:
        models.compare(0, None, content, name)
    assert "pruning_lab_" not in str(caught.value)


def test_a_run_or_step_that_there_is_not_is_told(models: Models) -> None:
    with pytest.raises(LabError, match="there is no run 4"):
        models.compare(4, None, b"", "a.png")
    with pytest.raises(LabError, match=r"step 99 of .* is not kept: use one of"):
        models.compare(0, 99, b"", "a.png")


def test_a_large_image_is_sent_smaller(models: Models, tmp_path: Path) -> None:
    wide = np.zeros((2, LONGEST_SIDE + 300, 3), np.uint8)
    told = answer(models.compare(0, None, encoded(tmp_path / "a.png", wide), "a.png"))
    assert told["size"] == [2, LONGEST_SIDE + 300]
    assert len(told["image"]) < 4000


def test_the_page_is_the_runs_own_with_the_panel_and_loads_nothing(models: Models, tmp_path: Path) -> None:
    pages = pages_of(models, titles_of(models.runs), None)
    assert set(pages) == {"/"}
    (tmp_path / "page.html").write_text(pages["/"], encoding="utf-8")
    page = Page(tmp_path / "page.html")
    check_page(page)
    assert page.ids.index("try") < page.ids.index("run")
    assert "validation IoU" in pages["/"]
    assert "<h2>Pictures</h2>" in pages["/"]


def test_a_report_leads_to_the_runs_pages_here(run: Path, models: Models, tmp_path: Path) -> None:
    address = own_page(tmp_path, models.runs[0].folder)
    assert address.endswith(RUN_PAGE)
    (tmp_path / PAGE).write_text(f'<a href="{address}">its own page</a><main></main>', encoding="utf-8")
    pages = pages_of(models, titles_of(models.runs), tmp_path)
    assert set(pages) == {"/", "/runs/0"}
    assert '<a href="/runs/0">' in pages["/"]
    assert '"chosen": null' in pages["/"]
    assert '"chosen": 0' in pages["/runs/0"]


@pytest.mark.parametrize("told", [[], ["task.run=x", "task.runs=y"]])
def test_either_a_run_or_runs_are_asked_for(told: list[str], tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"give task.run, the folder of a run, or task.runs"):
        run_task(composed("task=show", "tracking=none", *told), str(tmp_path), {})


@pytest.mark.parametrize(
    ("told", "why"),
    [("task.run=nowhere", "nowhere"), ("task.runs=nowhere", "no such folder"), ("task.max_megabytes=0", "more than 0")],
)
def test_what_can_not_be_shown_is_told(told: str, why: str, tmp_path: Path) -> None:
    run = [] if "run" in told else ["task.run=x"]
    with pytest.raises(LabError, match=why):
        run_task(composed("task=show", "task.port=0", "tracking=none", told, *run), str(tmp_path), {})


@pytest.mark.slow
def test_the_command_serves_a_sweep_until_it_is_interrupted(run: Path, tmp_path: Path) -> None:
    told = ["name=show", "task=show", f"task.runs='{run.parent}'", "task.port=0", f"output_root={tmp_path}"]
    command = [sys.executable, "-u", "-m", "pruning_lab", *told, "tracking=none", "threads=1", "device=cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        address = re.findall(r"http://127\.0\.0\.1:\d+", lines[-1])[0]
        for path in ("/", "/runs/0"):
            with urllib.request.urlopen(address + path) as reply:
                assert b'id="try"' in reply.read()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
