"""The benchmark for a GPU runs on a CPU too, so that it is known to run before it is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gpu import benchmark


@pytest.mark.slow
def test_every_part_gives_its_figures_and_they_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    assert benchmark.main(["--tiny", "--json", str(target)]) == 0
    facts = json.loads(target.read_text())
    told = [figure["what"] for figure in facts["figures"]]
    for part in (
        *(f"training, {precision}, {way}" for precision in ("float32", "bfloat16") for way in ("resident", "loader")),
        *("validation, float32", "validation, bfloat16", "ipad", "mean_activation", "downstream", "taylor"),
        *("reading the graph", "ablation of", "ablation, FLOPs"),
    ):
        assert any(what.startswith(part) for what in told), part
    assert all(figure["ratio"] > 0 and figure["bare_seconds"] > 0 for figure in facts["figures"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(told)


def test_a_part_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["--tiny", "traning"])
    assert "traning is not among training" in capsys.readouterr().err
