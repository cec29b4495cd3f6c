"""A store on a fresh SQLite file."""

import subprocess
import sys
from pathlib import Path

import pytest

from pruning_lab.lab.output.mlflow.store import open_store
from tests.lab.output.mlflow.servers import wait_until
from tests.paths import ROOT

OPENING = """
import sys
from pathlib import Path
from pruning_lab.lab.output.mlflow.store import open_store
open_store(f"sqlite:///{sys.argv[1]}/mlflow.db", "pruning_lab", Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_kill_while_tables_are_made_leaves_no_half_made_store(tmp_path: Path) -> None:
    draft, database = tmp_path / ".mlflow.db.draft", tmp_path / "mlflow.db"
    process = subprocess.Popen([sys.executable, "-c", OPENING, str(tmp_path)], cwd=ROOT)
    wait_until(lambda: draft.is_file() and draft.stat().st_size)
    process.kill()
    process.wait()
    assert not database.exists()
    store = open_store(f"sqlite:///{database}", "pruning_lab", tmp_path)
    run = store.client.create_run(store.experiment_id)
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"
    assert not list(tmp_path.glob(".mlflow.db.draft*"))
