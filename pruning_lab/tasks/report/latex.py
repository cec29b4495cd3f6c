"""The tables of a report for a paper, in LaTeX with booktabs. Knows statistics, not run folders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pruning_lab.common.files import write_atomically
from pruning_lab.lab.output import units
from pruning_lab.tasks.report.study_summary import SIGNIFICANCE, Comparison
from pruning_lab.tasks.report.study_tables import SPLIT_NAMES, table_rows, title

LATEX_FILE = "report.tex"

NOT_IN_A_PAPER = ("images", "steps")
"""Columns that a paper has no room for."""

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "≥": r"$\geq$",
}

HEAD = r"""% Needs \usepackage[T1]{fontenc} and \usepackage{booktabs} in the preamble; then \input{report}.
"""

LAST_LATIN, LACKING = 0x17F, "ĦħĸĿŀŉŦŧſ"
"""pdflatex knows letters up to here by itself, but for these."""


def write_latex(folder: Path, comparisons: Sequence[Comparison], split: str) -> Path:
    """Write a table for each base into `report.tex`, and return its path."""
    path = Path(folder) / LATEX_FILE
    tables = [latex_table(comparison, split) for comparison in comparisons]
    write_atomically(path, HEAD + "\n" + "\n".join(tables))
    return path


def latex_table(comparison: Comparison, split: str) -> str:
    """One base's table, with caption and label."""
    rows = [
        {name: cell for name, cell in row.items() if name not in NOT_IN_A_PAPER}
        for row in table_rows(comparison, {}, split)
    ]
    names = list(rows[0])
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{_caption(comparison, split)}}}",
        f"  \\label{{tab:{re.sub('[^a-z0-9]+', '-', f'{title(comparison)} {comparison.base[:6]}'.lower())}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(escaped(name) for name in names)} \\\\",
        r"    \midrule",
        *(f"    {' & '.join(_cell(cell) for cell in row.values())} \\\\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A text in which LaTeX finds no command. A letter that pdflatex lacks becomes its nearest, or its code."""
    return "".join(SPECIAL.get(sign) or _letter(sign) for sign in " ".join(text.split()))


def _letter(sign: str) -> str:
    if sign.isprintable() and ord(sign) <= LAST_LATIN and sign not in LACKING:
        return sign
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode("ascii")
    plain = "".join(SPECIAL.get(each, each) for each in plain if each.isprintable())
    return plain or f"U+{ord(sign):04X}"


def _cell(text: str) -> str:
    bold = re.fullmatch(r"\*\*(.*?)\*\*(.*)", text)
    return f"\\textbf{{{escaped(bold[1])}}}{escaped(bold[2])}" if bold else escaped(text)


def _caption(comparison: Comparison, split: str) -> str:
    row = comparison.rows[0]
    base = units.percent(getattr(row, f"base_{split}_iou"))
    text = (
        f"{title(comparison)}: {SPLIT_NAMES[split]} IoU in percent, mean ± standard deviation over up to "
        f"{comparison.most_runs} seeds. The base has {base} at {units.count(row.base_macs)} MACs and "
        f"{units.count(row.base_weights)} weights. Bold: highest mean of those that met the budget in every run; "
        f"≈: seeds can't tell it from the bold one (Welch's t-test, p ≥ {SIGNIFICANCE})."
    )
    return escaped(text)
