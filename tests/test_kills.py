"""A run whose process is killed at random moments ends as if it never had been; so does one whose disk was full."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.paths import ROOT

KILLS = int(os.environ.get("PRUNING_LAB_KILLS", "3"))
"""By hand: PRUNING_LAB_KILLS=20 pytest -m slow tests/test_kills.py"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("kills")
    command = [sys.executable, "-m", "tests.kills", str(folder), "--kills", str(KILLS), "--terms", "1", "--full", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3000)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.mark.slow
def test_every_run_that_was_disturbed_ends_as_the_one_that_was_not(found: list[dict[str, Any]]) -> None:
    assert len(found) == KILLS + 2
    for each in found:
        assert each["codes"][-1] == 0, each
        assert each["same_history"], each
        assert each["same_model"], each
        assert each["left_over"] == [], each
        assert each["runs"] == ["FINISHED"], each


@pytest.mark.slow
def test_what_was_to_be_disturbed_was(found: list[dict[str, Any]]) -> None:
    codes = {each.get("signal", "full"): each["codes"][0] for each in found}
    assert codes["SIGKILL"] in (-9, 0)
    assert codes["SIGTERM"] in (130, 0)
    assert any(each["codes"][0] != 0 for each in found)
