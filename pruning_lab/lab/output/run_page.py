"""A run's card as a web page of one file, `report.html` in its folder. Reads the folder and runs no model."""

from __future__ import annotations

from pathlib import Path

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.html import file_uri, render
from pruning_lab.lab.output.run_card import open_run, run_card

RUN_PAGE = "report.html"

PICTURES = {
    "predictions.png": "Predictions of base and pruned model on validation images, and where they are wrong",
    "augmented_samples.png": "Augmented training images and their masks",
}
"""Pictures that a page shows; the others of a run are drawn into it."""


def write_run_page(folder: Path) -> Path:
    """Write the page of a finished run from the files in its folder, and return its path. Raises as `run_page` does."""
    path = Path(folder) / RUN_PAGE
    write_atomically(path, run_page(Path(folder)))
    return path


def run_page(folder: Path) -> str:
    """The page of a finished run, from the files in its folder.

    Raises:
        LabError: a file is missing or damaged.
    """
    pictures = [
        (file_uri(path), text) for name, text in PICTURES.items() if (path := folder / "figures" / name).is_file()
    ]
    return render("run.html", run=run_card(open_run(folder)), pictures=pictures)
