"""What both tables share: one command line, how cells are written, and the line on where the numbers are from."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pruning_lab.common.files import write_atomically
from pruning_lab.tasks.report.pages import deliver, markdown_table
from tests.benchmarks.isolated import run

Row = dict[str, str]
Measure = Callable[[str], dict[str, Any]]


def passes(answer: dict[str, Any], key: str) -> str:
    """A time in forward passes of the same process, two digits; empty where it was not measured."""
    if key not in answer:
        return ""
    return digits(answer[key] / answer["forward_s"])


TICK = 0.001
"""Seconds below which a process's clock does not tell times apart."""
SIDES = ("lab_side", "peer_side")
LONG = 0.01
"""Seconds of a forward pass from which times are told in passes; of a shorter one, they are told in seconds."""


def passes_or_seconds(answer: dict[str, Any], key: str) -> str:
    """A time in forward passes, or in seconds where a pass is so short that it is no measure."""
    if key not in answer:
        return ""
    if answer["forward_s"] >= LONG:
        return passes(answer, key)
    return f"{digits(answer[key])} s" if answer[key] >= TICK else f"under {TICK} s"


def digits(value: float) -> str:
    """A positive number with two digits, without an exponent."""
    if value <= 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 1 - math.floor(math.log10(value)))
    return f"{value:,.{places}f}"


def cell(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return " ".join(text.replace("|", "/").split())


def measured(side: str, function: str, limit_s: float, results: Path | None = None) -> Measure:
    """A function of a side of this folder, run in processes of its own with a time limit.

    Args:
        results: folder in which every answer is kept; what is there already is not measured again.
    """

    def measure(name: str) -> dict[str, Any]:
        path = None if results is None else kept_at(results, side, name)
        if path is not None and path.exists():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return kept
        answer = run(f"{side}:{function}", name, limit_s)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(answer, indent=1) + "\n")
        return answer

    return measure


def kept_at(results: Path, side: str, name: str) -> Path:
    """Where a side's answer for a model is kept."""
    return results / side / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.json"


def command_line(
    about: str,
    row_of: Callable[[str, Measure, Measure], Row],
    function: str,
    names: Sequence[str],
    known: Sequence[str],
    marker: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Measure the named models and print the table, or put it between the markers of a page.

    Args:
        row_of: (name, measure here, measure the peer) -> row.
        names: the models that are measured unless others are given; `known` are all there are.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "models", nargs="*", default=list(names), help="names, or libraries as in timm/; by default all"
    )
    parser.add_argument("--into", type=Path, help="page with <!-- MARKER:start --> and <!-- MARKER:end -->")
    parser.add_argument("--marker", default=marker, help=f"by default {marker}")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for each model and side")
    parser.add_argument("--results", type=Path, help="folder of answers; what is there is not measured again")
    parser.add_argument("--kept", action="store_true", help="measure nothing: models whose answers --results has")
    options = parser.parse_args(arguments)
    if options.kept and options.results is None:
        parser.error("--kept needs --results FOLDER")
    chosen = []
    for asked in options.models:
        found = [name for name in known if name == asked or (asked.endswith("/") and name.startswith(asked))]
        if not found:
            parser.error(f"{asked} is not among the models: {', '.join(known)}")
        chosen += found
    if options.kept:
        chosen = [name for name in chosen if all(kept_at(options.results, side, name).exists() for side in SIDES)]
    here, peer = (measured(side, function, options.limit, options.results) for side in SIDES)
    rows = []
    for name in chosen:
        rows.append(row_of(name, here, peer))
        print(" | ".join(rows[-1].values()), file=sys.stderr, flush=True)
    return deliver(lambda: f"{markdown_table(rows)}\n\n{_origin()}", options.into, options.marker)


def _origin() -> str:
    torch, peer = (importlib.metadata.version(name) for name in ("torch", "torch-pruning"))
    return (
        "Times are processor times in forward passes of the model (batch 1, evaluation mode) in the same process, "
        "one thread; where a pass takes less than 10 ms, and `s` stands behind a time, they are seconds; "
        f"torch {torch}, Torch-Pruning {peer}."
    )
