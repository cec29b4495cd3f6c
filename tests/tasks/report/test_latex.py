"""Tables for a paper: LaTeX that compiles, whatever a user has named."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pruning_lab.tasks.report.latex import escaped, latex_table, write_latex
from pruning_lab.tasks.report.study_summary import compare
from tests.tasks.report.studies import study_row

EVIL = r"\input{x} 50% of $a_b^c$ {~} # & <i> | " + '"q" é ß ł ŋ 漢 λ ± → \t\n end\\'


def study() -> list:
    rows = [
        study_row(method, seed, limit, 0.9 - 0.01 * seed)
        for method in ("l1", EVIL)
        for seed in (1, 2)
        for limit in (0.5, 0.1)
    ]
    return compare([*rows, study_row("l2", data="my_data", base="other", met=0, flops_fraction=0.7)])


def test_a_table_has_a_row_for_each_method_between_the_rules() -> None:
    text = latex_table(study()[0], "test")
    head, body = text.split(r"\midrule")
    rows = [line for line in body.split(r"\bottomrule")[0].splitlines() if line.strip()]
    assert len(rows) == 2
    assert all(row.rstrip().endswith(r"\\") for row in rows)
    assert r"\toprule" in head
    columns = re.search(r"begin{tabular}{(l+r+)}", text)
    assert columns is not None
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns[1]) - 1}
    assert r"$\pm$" in body
    assert "images" not in head


def test_the_best_is_bold_and_its_equals_are_marked() -> None:
    text = latex_table(study()[0], "test")
    assert r"\textbf{88.5 $\pm$ 0.7}" in text
    assert r"88.5 $\pm$ 0.7 $\approx$" in text


def test_no_text_is_a_command() -> None:
    text = escaped(EVIL)
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    assert commands == {
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "textless",
        "textgreater",
        "textbar",
        "pm",
        "to",
    }
    assert re.findall(r"(?<!\\)[%#&_]", text) == []
    assert "\n" not in text
    plain = re.sub(r"\\.", "", text)
    assert plain.count("{") == plain.count("}")


def test_a_report_of_several_bases_has_as_many_tables_with_labels_of_their_own(tmp_path: Path) -> None:
    text = write_latex(tmp_path, study(), "val").read_text()
    labels = re.findall(r"\\label{(tab:[a-z0-9-]+)}", text)
    assert len(labels) == len(set(labels)) == 2
    assert "(not met)" in text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_it_compiles(tmp_path: Path) -> None:
    every = "".join(chr(code) for code in range(0x20, 0x250))
    comparisons = [*study(), *compare([study_row(every, base="all"), study_row("l1", base="all")])]
    write_latex(tmp_path, comparisons, "test")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n"
        "\\begin{document}\n\\input{report}\n\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=100)
    assert answer.returncode == 0, answer.stdout.decode(errors="replace")[-1500:]
    assert (tmp_path / "paper.pdf").stat().st_size > 5000
