"""The task `profile`: where the time of pruning steps goes, as a trace that a browser opens. Keeps no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.profiler import ProfilerActivity, profile

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.loop import begin, descend
from pruning_lab.lab.saved_state import sweep_up
from pruning_lab.lab.start import tracked
from pruning_lab.tasks.assembly import prepared_data
from pruning_lab.tasks.prune import pruning_of

TRACE, TABLE = "trace.json.gz", "profile.txt"
ROWS = 30


def profile_steps(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> None:
    """Train or fetch the base, and record every operator of the steps after it, `max_steps` of them.

    Raises:
        LabError: what the task `prune` would end with.
    """
    lab = pruning_of(config, prepared_data(config), folder, choices)
    cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with tracked(lab.output):
        state = begin(lab)
        with profile(activities=[ProfilerActivity.CPU, *cuda]) as recorded:
            descend(lab, state)
        sweep_up(folder)
        recorded.export_chrome_trace(str(folder / TRACE))
        order = f"self_{'cuda' if cuda else 'cpu'}_time_total"
        table = recorded.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=60)
        write_atomically(folder / TABLE, table)
        for name in (TRACE, TABLE):
            lab.output.tracker.log_artifact(folder / name)
    lab.output.reporter.say(f"{state.step} steps: open {folder / TRACE} in chrome://tracing; {TABLE} has the sums")
