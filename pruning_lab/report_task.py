"""The task `report`: the runs of a study as tables, correlations with ablation, and figures. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pruning_lab.config import plain
from pruning_lab.errors import LabError
from pruning_lab.report.agreement import Agreement
from pruning_lab.report.console import ConsoleReporter, Reporter
from pruning_lab.report.run_search import find_runs
from pruning_lab.report.study import PAGE, Study, write_study
from pruning_lab.report.study_rows import study_rows
from pruning_lab.report.study_summary import SPLITS, differences
from pruning_lab.report.study_tables import console_table


def report(
    config: DictConfig, folder: Path, choices: Mapping[str, Any], runs: str | Sequence[str], split: str = "test"
) -> None:
    """Compare finished runs: report.md, report.csv, summary.csv and figures go into the report's folder.

    Args:
        runs: folders, or patterns of folders; runs are looked for at and below them.
        split: by whose IoU runs are compared, `test` or `val`.

    Raises:
        LabError: there is no finished run, or an argument is impossible.
    """
    if split not in SPLITS:
        raise LabError(f"task.split={split} is not known; use one of {', '.join(SPLITS)}")
    found = find_runs(plain(runs))
    rows, repeated = study_rows(found.runs)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    reporter = ConsoleReporter()
    agreements: list[Agreement] = []
    study = Study(rows, agreements, split, {**found.left_out, **repeated}, {})
    write_study(folder, study)
    _tell(study, folder, reporter)


def _tell(study: Study, folder: Path, reporter: Reporter) -> None:
    for why in study.left_out.values():
        reporter.warn(f"left out: {why}")
    for comparison in study.comparisons():
        reporter.show(console_table(comparison, study.by_method(), study.split))
        if unequal := differences(comparison):
            reporter.warn(f"not all else is equal: {', '.join(unequal)} differ; {folder / PAGE} tells where")
    reporter.say(f"saved in {folder}")
