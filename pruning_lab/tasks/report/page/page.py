"""Writes the page of a report: `report.html`, which holds its plots' code and its pictures. Runs no model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pruning_lab import __version__
from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output.html import file_uri, render
from pruning_lab.lab.output.run_folder import Run
from pruning_lab.lab.output.run_page import RUN_PAGE
from pruning_lab.tasks.report.fairness import across
from pruning_lab.tasks.report.latex import LATEX_FILE
from pruning_lab.tasks.report.page.content import Section, Sides, sections
from pruning_lab.tasks.report.study import Study
from pruning_lab.tasks.report.study_rows import RUNS_FILE
from pruning_lab.tasks.report.study_summary import SUMMARY_FILE

PAGE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"

DOWNLOADS = {
    RUNS_FILE: "a line for each run",
    SUMMARY_FILE: "a line for each method and budget",
    LATEX_FILE: "the tables for a paper",
}
"""Files of the report's folder that the page holds as well."""


def write_page(folder: Path, name: str, study: Study, runs: Mapping[str, Run], sides: Sides) -> Path:
    """Write `report.html` into a report's folder, beside the other files of the report, and return its path.

    Args:
        name: what the report is about.
        runs: folder, as the study's rows name it -> run.
        sides: hash of a base -> what its methods predict, or why that is not shown.
    """
    parts = sections(study, runs, sides)
    text = render(
        "sweep.html",
        TEMPLATES,
        name=name,
        version=__version__,
        split=study.split,
        study=study,
        sections=parts,
        unfair=across(study.comparisons()),
        downloads=_downloads(folder),
        own_pages=_own_pages(folder, runs),
        plots=_as_json(parts),
        plotly=Markup(_safe_script(get_plotlyjs())),
        script=Markup((TEMPLATES / "sweep.js").read_text(encoding="utf-8")),
    )
    path = Path(folder) / PAGE
    write_atomically(path, text)
    return path


def _as_json(parts: Sequence[Section]) -> Markup:
    """All plots, so that no name in them ends the script element that holds them."""
    plots = [asdict(plot) for part in parts for plot in part.plots]
    text = json.dumps(plots, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _safe_script(code: str) -> str:
    """Code whose texts do not end the script element that holds it."""
    return code.replace("</script", "<\\/script")


def _downloads(folder: Path) -> list[tuple[str, str, str]]:
    """(name, what it holds, address) of the files that a reader may want to take along."""
    found = []
    for name, text in DOWNLOADS.items():
        path = Path(folder) / name
        if path.is_file():
            found.append((name, text, file_uri(path)))
    return found


def _own_pages(folder: Path, runs: Mapping[str, Run]) -> dict[str, str]:
    """Folder of a run -> the address of its own page, as seen from the report's; only those that are there."""
    there = [run.folder for run in runs.values() if (run.folder / RUN_PAGE).is_file()]
    return {str(place): own_page(folder, place) for place in there}


def own_page(folder: Path, run: Path) -> str:
    """The address of a run's own page, as seen from a report's folder."""
    return quote(Path(os.path.relpath(run / RUN_PAGE, folder)).as_posix())
