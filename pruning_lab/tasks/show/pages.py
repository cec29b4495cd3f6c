"""The pages that are served: those of runs and reports, each with a panel that takes an image. Runs no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pruning_lab.lab.output.html import render
from pruning_lab.lab.output.run_page import run_page
from pruning_lab.tasks.report.page.page import PAGE, own_page
from pruning_lab.tasks.show.models import Models

TEMPLATES = Path(__file__).parent / "templates"
START = "<main"
"""Where the panel goes: before the first part of any page."""


def pages_of(models: Models, titles: Sequence[str], report: Path | None) -> dict[str, str]:
    """Path -> page.

    Args:
        titles: what each run is called.
        report: the folder of a report of all runs, whose page comes first; None: the page of the only run does.

    Raises:
        LabError: a run's files or its model are gone.
    """
    steps = [
        [{"step": each.step, "label": each.label} for each in models.snapshots(place)]
        for place in range(len(models.runs))
    ]
    told = [{"title": title, "steps": found} for title, found in zip(titles, steps, strict=True)]
    own = {place: with_panel(run_page(run.folder), told, place) for place, run in enumerate(models.runs)}
    if report is None:
        return {"/": own[0]}
    text = (report / PAGE).read_text(encoding="utf-8")
    for place, run in enumerate(models.runs):
        text = text.replace(f'href="{own_page(report, run.folder)}"', f'href="/runs/{place}"')
    return {"/": with_panel(text, told, None), **{f"/runs/{place}": page for place, page in own.items()}}


def with_panel(page: str, runs: Sequence[dict[str, Any]], chosen: int | None) -> str:
    """A page with the panel in it.

    Args:
        runs: title and steps of each run.
        chosen: the run that the page is of; None: the reader chooses.
    """
    data = json.dumps({"runs": runs, "chosen": chosen}, ensure_ascii=True)
    safe = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    script = Markup((TEMPLATES / "panel.js").read_text(encoding="utf-8"))
    panel = render("panel.html", TEMPLATES, data=Markup(safe), script=script, back=chosen is not None and len(runs) > 1)
    return page.replace(START, panel + START, 1)
