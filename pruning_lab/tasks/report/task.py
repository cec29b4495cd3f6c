"""The task `report`: the runs of a study as tables, correlations with ablation, and figures. Trains nothing."""

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
from pruning_lab.tasks.report.run_search import find_runs
from pruning_lab.tasks.report.study import PAGE, Study, write_study
from pruning_lab.tasks.report.study_figures import pareto_figures
from pruning_lab.tasks.report.study_methods import task_of
from pruning_lab.tasks.report.study_rows import StudyRow, study_rows
from pruning_lab.tasks.report.study_summary import SPLITS, compare, differences
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
) -> None:
    """Compare finished runs: report.md, report.csv, summary.csv and figures go into the report's folder.

    Args:
        runs: folders, or patterns of folders; runs are looked for at and below them.
        split: by whose IoU runs are compared, `test` or `val`.
        ablation: correlate every method's scores on the base with full ablation.
        ablation_images: on how many training images.
        ablation_effect: what it measures: `loss`, `flips`, `soft_mask` or `logits`.

    Raises:
        LabError: there is no finished run, or an argument is impossible.
    """
    if split not in SPLITS:
        raise LabError(f"task.split={split} is not known; use one of {', '.join(SPLITS)}")
    if ablation_images < 1:
        raise LabError(f"task.ablation_images={ablation_images}: give 1 or more")
    if ablation_effect not in EFFECTS:
        raise LabError(f"task.ablation_effect={ablation_effect} is not known; use one of {', '.join(EFFECTS)}")
    found = find_runs(plain(runs))
    rows, repeated = study_rows(found.runs)
    write_config(config, folder)
    reporter = ConsoleReporter()
    agreements = _agreements(config, rows, found.runs, ablation_images, ablation_effect, reporter) if ablation else []
    figures: dict[str, str] = {}
    for comparison in compare(rows, split):
        drawn = pareto_figures(comparison, split, folder / "figures")
        figures |= {f"figures/{path.name}": text for path, text in drawn.items()}
    study = Study(rows, agreements, split, {**found.left_out, **repeated}, figures)
    write_study(folder, study)
    _tell(study, folder, reporter)


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
