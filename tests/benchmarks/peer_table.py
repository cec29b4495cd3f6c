"""How fast graph, cut and 100 steps are, with reading and without, beside Torch-Pruning in the same run.

One row for each model.

python -m tests.benchmarks.peer_table --into docs/speed.md
Half of every layer's channels leave, at once or in 100 steps of score (L1 norm), choice and cut. Floors and
budgets, which the peer does not know, are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.cases import ALL, SPEED
from tests.benchmarks.tables import Measure, Row, cell, command_line, digits, passes

MARKER = "peer"


def row_of(name: str, here: Measure, peer: Measure) -> Row:
    """A model's row; whatever stopped a side stands in its cells."""
    ours, theirs = here(name), peer(name)
    return {
        "model": name,
        "groups": f"{ours['groups']:,}" if "groups" in ours else cell(ours["error"]),
        "forward pass, ms": digits(1000 * ours["forward_s"]) if "forward_s" in ours else "",
        "graph": passes(ours, "build_s"),
        "graph, proved": passes(ours, "proved_build_s"),
        "peer's graph": passes(theirs, "build_s") or cell(theirs["error"]),
        "cut": passes(ours, "cut_s"),
        "peer's cut": passes(theirs, "cut_s"),
        "100 steps": passes(ours, "steps_s"),
        "peer's 100 steps": passes(theirs, "steps_s"),
        "times faster": _faster(ours, theirs),
        "100 steps with reading": passes(_with_reading(ours, "proved_build_s"), "all_s"),
        "peer's 100 steps with reading": passes(_with_reading(theirs, "build_s"), "all_s"),
        "times faster with reading": _faster(
            _with_reading(ours, "proved_build_s"), _with_reading(theirs, "build_s"), "all_s"
        ),
        "graph / activations": _share(ours),
    }


def _with_reading(answer: dict[str, Any], reading: str) -> dict[str, Any]:
    """The answer, and in `all_s` what a run pays: the graph (ours with its proof) and 100 steps."""
    if reading not in answer or "steps_s" not in answer:
        return answer
    return {**answer, "all_s": answer[reading] + answer["steps_s"]}


def _faster(ours: dict[str, Any], theirs: dict[str, Any], what: str = "steps_s") -> str:
    if what not in ours or what not in theirs:
        return ""
    return digits((theirs[what] / theirs["forward_s"]) / (ours[what] / ours["forward_s"]))


def _share(ours: dict[str, Any]) -> str:
    return f"{digits(100 * ours['graph_bytes'] / ours['activation_bytes'])} %" if "graph_bytes" in ours else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return command_line(__doc__ or "", row_of, "speed", SPEED, ALL, MARKER, arguments)


if __name__ == "__main__":
    sys.exit(main())
