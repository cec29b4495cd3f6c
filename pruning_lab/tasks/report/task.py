"""The task `report`: the runs of a study as a page, tables, correlations with ablation, and figures. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.common.errors import LabError
from pruning_lab.importance.ablation.effects import EFFECTS
from pruning_lab.lab.output.console import ConsoleReporter, Reporter
from pruning_lab.lab.output.run_folder import Run
from pruning_lab.tasks.config import plain, write_config
from pruning_lab.tasks.report.agreement import Agreement
from pruning_lab.tasks.report.correlation import judge
from pruning_lab.tasks.report.latex import write_latex
from pruning_lab.tasks.report.page.page import write_page
from pruning_lab.tasks.report.page.plots import nearest
from pruning_lab.tasks.report.page.side_by_side import SideBySide, side_by_side
from pruning_lab.tasks.report.run_search import find_runs
from pruning_lab.tasks.report.study import PAGE, Study, write_study
from pruning_lab.tasks.report.study_figures import FORMATS, pareto_figures
from pruning_lab.tasks.report.study_methods import task_of
from pruning_lab.tasks.report.study_rows import StudyRow, study_rows
from pruning_lab.tasks.report.study_summary import SPLITS, Comparison, compare, differences
from pruning_lab.tasks.report.study_tables import console_table


def report(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    runs: str | Sequence[str],
    split: str = "test",
    ablation: bool = True,
    ablation_images: int = 32,
    ablation_effect: str = "soft_mask",
    formats: Sequence[str] = ("png",),
    pictures: int = 4,
) -> None:
    """Compare finished runs: report.html, report.md, report.tex, CSVs and figures go into the report's folder.

    Args:
        runs: folders, or patterns of folders; runs are looked for at and below them.
        split: by whose IoU runs are compared, `test` or `val`.
        ablation: correlate every method's scores on the base with full ablation.
        ablation_images: on how many training images.
        ablation_effect: what it measures: `loss`, `flips`, `soft_mask` or `logits`.
        formats: of the figures, some of `png`, `pdf` and `svg`.
        pictures: validation images on the page, on which the methods' predictions differ most.

    Raises:
        LabError: there is no finished run, or an argument is impossible.
    """
    formats = plain(formats)
    _check(split, ablation_images, ablation_effect, formats, pictures)
    found = find_runs(plain(runs))
    rows, repeated = study_rows(found.runs)
    write_config(config, folder)
    reporter = ConsoleReporter()
    agreements = _agreements(config, rows, found.runs, ablation_images, ablation_effect, reporter) if ablation else []
    comparisons = compare(rows, split)
    drawn = [pareto_figures(comparison, split, folder / "figures", formats) for comparison in comparisons]
    figures = {f"figures/{path.name}": text for each in drawn for path, text in each.items()}
    study = Study(rows, agreements, split, {**found.left_out, **repeated}, figures)
    write_study(folder, study)
    write_latex(folder, comparisons, split)
    by_folder = {str(run.folder): run for run in found.runs}
    sides = _sides(config, comparisons, by_folder, split, pictures, reporter) if pictures else {}
    page = write_page(folder, _name(plain(runs), config), study, by_folder, sides)
    _tell(study, folder, reporter)
    reporter.say(f"the page is {page}")


def _check(split: str, images: int, effect: str, formats: Sequence[str], pictures: int) -> None:
    """Raises LabError where an argument is impossible."""
    if split not in SPLITS:
        raise LabError(f"task.split={split} is not known; use one of {', '.join(SPLITS)}")
    if images < 1:
        raise LabError(f"task.ablation_images={images}: give 1 or more")
    if effect not in EFFECTS:
        raise LabError(f"task.ablation_effect={effect} is not known; use one of {', '.join(EFFECTS)}")
    if isinstance(formats, str) or not formats or not set(formats) <= set(FORMATS):
        raise LabError(f"task.formats={formats}: give a list of some of {', '.join(FORMATS)}, such as [png,pdf]")
    if pictures < 0:
        raise LabError(f"task.pictures={pictures}: give 0 or more")


def _name(runs: str | Sequence[str], config: DictConfig) -> str:
    """What the report is about: the sweep's own name where its folder tells one, else that of the report."""
    places = [runs] if isinstance(runs, str) else runs
    names = [part for part in Path(places[0]).parts if not set(part) & set("*?[") and part not in ("..", ".")]
    return "/".join(names[-2:]) if len(places) == 1 and names else str(config.name)


def _sides(
    config: DictConfig,
    comparisons: Sequence[Comparison],
    runs: Mapping[str, Run],
    split: str,
    pictures: int,
    reporter: Reporter,
) -> dict[str, SideBySide | str]:
    """What the methods of each base predict at its tightest budget; of one whose models or data are gone, why not."""
    found: dict[str, SideBySide | str] = {}
    for comparison in comparisons:
        budget = comparison.budgets[-1].text
        cells = {method: comparison.cells.get((method, budget)) for method in comparison.methods}
        chosen = {
            method: runs[nearest(comparison, cell, split).folder] for method, cell in cells.items() if cell is not None
        }
        try:
            with reporter.task(f"predictions of {len(chosen)} methods", None):
                found[comparison.base] = side_by_side(chosen, pictures, config.device, config.bases)
        except LabError as error:
            found[comparison.base] = f"They can't be shown: {error}."
            reporter.warn(f"no predictions side by side: {error}")
    return found


def _agreements(
    config: DictConfig, rows: Sequence[StudyRow], runs: Sequence[Run], images: int, effect: str, reporter: Reporter
) -> list[Agreement]:
    """Of every base that can still be found; the report says so of one that can't."""
    by_folder = {str(run.folder): run for run in runs}
    agreements = []
    for comparison in compare(rows):
        methods = {row.method: by_folder[row.folder] for row in sorted(comparison.rows, key=lambda row: -row.seed)}
        methods = {name: run for name, run in methods.items() if task_of(run) == "prune"}
        places = [Path(config.bases), *(Path(run.config.get("bases", "")) for run in methods.values())]
        try:
            if methods:
                agreements += judge(methods, images, effect, list(dict.fromkeys(places)), plain(config), reporter)
        except LabError as error:
            reporter.warn(f"no correlation with ablation: {error}")
    return agreements


def _tell(study: Study, folder: Path, reporter: Reporter) -> None:
    for why in study.left_out.values():
        reporter.warn(f"left out: {why}")
    for comparison in study.comparisons():
        reporter.show(console_table(comparison, study.by_method(), study.split))
        if unequal := differences(comparison):
            reporter.warn(f"not all else is equal: {', '.join(unequal)} differ; {folder / PAGE} tells where")
    reporter.say(f"saved in {folder}")
