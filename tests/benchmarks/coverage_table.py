"""Which models are cut exactly, what is frozen and why, beside Torch-Pruning in the same run: one row for each model.

python -m tests.benchmarks.coverage_table monai/ --marker monai --into docs/coverage.md
python -m tests.benchmarks.coverage_table torchvision/ segmentation_models_pytorch/ timm/ --into docs/coverage.md
python -m tests.benchmarks.coverage_table "small nets/" --marker small --into docs/coverage.md
With --results FOLDER every answer is kept, and a table that was cut short goes on where it stopped.
Half of the groups that can be cut leave, drawn at random; the peer takes half of every layer by L1 norm.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.cases import ALL
from tests.benchmarks.tables import Measure, Row, cell, command_line, passes_or_seconds

MARKER = "coverage"


def row_of(name: str, here: Measure, peer: Measure) -> Row:
    """A model's row; whatever stopped a side stands in its cells."""
    ours, theirs = here(name), peer(name)
    return {
        "model": name,
        "groups": f"{ours['groups']:,}" if "groups" in ours else "",
        "frozen": f"{ours['frozen_share']:.1%}" if "frozen_share" in ours else "",
        "why": cell("; ".join(ours.get("reasons", []))),
        "cut is": outcome(ours, mixes=False),
        "saved and loaded": cell(ours.get("saved", "")),
        "trains": cell(ours.get("trained", "")),
        "graph": passes_or_seconds(ours, "build_s"),
        "cut": passes_or_seconds(ours, "cut_s"),
        "peer's cut is": outcome(theirs, mixes=ours.get("mixes", False)),
        "peer took": f"{theirs['removed_share']:.0%}" if "removed_share" in theirs else "",
        "peer's graph": passes_or_seconds(theirs, "build_s"),
        "peer's cut": passes_or_seconds(theirs, "cut_s"),
    }


def outcome(answer: dict[str, Any], mixes: bool) -> str:
    """What came of a cut, in a word or with what stopped it.

    Args:
        mixes: a normalization over channels sees what leaves, and zeroed channels are no measure for the peer.
    """
    if "error" in answer:
        return cell(answer["error"])
    if answer.get("changed"):
        return "exact, but reading changed the model" if answer["exact"] else "reading changed the model"
    if answer["exact"]:
        return "exact"
    if mixes:
        return "runs"
    return f"off by {answer['difference']:.0e}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return command_line(__doc__ or "", row_of, "coverage", ALL, ALL, MARKER, arguments)


if __name__ == "__main__":
    sys.exit(main())
