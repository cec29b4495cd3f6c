"""Runs of the command line that are killed at random moments and taken up again, each in a process of its own.

    python -m tests.kills FOLDER --kills 20

Processes are forked from one that has imported everything, so that a run costs its work alone. Prints a line of JSON
for each run that was disturbed. Used by `test_kills.py`.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra.core.global_hydra import GlobalHydra

import pruning_lab.lab.prediction
import pruning_lab.tasks.prune
import pruning_lab.tasks.resume  # noqa: F401 - imported before the fork
from pruning_lab.__main__ import main as command
from pruning_lab.lab.output.history import History

SETTINGS = (
    *("+experiment=unet_ipad", "+debug=limit", "device=cpu", "threads=1", "deterministic=true", "save_every=3"),
    *("data.size=[16,16]", "data.train=24", "model.width=4", "base.epochs=6", "stop.flops=0.5", "check=false"),
    *("selection.amount.share=0.15", "recovery.epochs=2", "recovery.final_epochs=8", "importance=steady_taylor"),
)
CLOCKS = ("seconds", "latency")

FULL = ((60, 10**9), (60, 90), (4, 10**9), (120, 10**9))
"""From which write of ours to which the disk is full."""

Fault = Callable[[], None]


def line(root: Path) -> list[str]:
    return [*SETTINGS, f"output_root={root}", f"hydra.run.dir={root / 'run'}"]


def start(root: Path, arguments: list[str], fault: Fault | None = None) -> int:
    """A process that runs a command; returns its id. What it says goes into a file."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "mlflow.db").exists() and (empty := root.parent / "empty" / "mlflow.db").exists():
        shutil.copy(empty, root)  # A store that is killed while MLflow makes its tables is none of ours to mend.
    child = os.fork()
    if child:
        return child
    log = os.open(root.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        sys.argv = ["pruning_lab", *arguments]
        GlobalHydra.instance().clear()
        if fault is not None:
            fault()
        code = command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        if not isinstance(end.code, int):
            print(end.code, file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """The exit code of a process, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def go_on(root: Path) -> int:
    """Take up what is in the folder; type the line again where the process died before there was anything."""
    if (root / "run" / "begun.json").is_file():
        return ended(start(root, ["task=resume", f"task.run={root / 'run'}", f"hydra.run.dir={root / 'resume'}"]))
    return ended(start(root, line(root)))


def killed(root: Path, number: int, seconds: float) -> int:
    """Run, and send a signal after so many seconds."""
    child = start(root, line(root))
    time.sleep(seconds)
    os.kill(child, number)
    return ended(child)


def full_disk(first: int, last: int) -> Fault:
    """A disk that takes nothing from one write of ours to another."""
    fsync, calls = os.fsync, iter(range(10**9))

    def limited(stream: Any) -> None:
        if first <= next(calls) < last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(stream)

    return lambda: setattr(os, "fsync", limited)


def made_store(root: Path) -> None:
    """An empty store."""
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{root / 'mlflow.db'}").search_experiments()


def findings(root: Path, whole: Path) -> dict[str, Any]:
    """What a run that was disturbed left, beside one that was not."""
    import sqlite3

    histories = [History.read(each / "run" / "history.csv").rows for each in (root, whole)]
    told = [[{k: v for k, v in row.items() if not any(c in k for c in CLOCKS)} for row in rows] for rows in histories]
    with sqlite3.connect(root / "mlflow.db") as store:
        runs = store.execute("select status from runs").fetchall()
    return {
        "same_history": told[0] == told[1],
        "runs": [status for (status,) in runs],
        "left_over": sorted(left(root) ^ left(whole)),
        "same_model": _model(root) == _model(whole),
    }


def left(root: Path) -> set[str]:
    """Files of the run and of the bases."""
    places = [root / "run", root / "bases"]
    found = {path.relative_to(root).as_posix() for place in places for path in place.rglob("*") if path.is_file()}
    return {name for name in found if "/tracking/" not in name}


def _model(root: Path) -> bytes:
    return (root / "run" / "model" / "weights.safetensors").read_bytes()


def main() -> int:
    """Kill, take up, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terms", type=int, default=3)
    parser.add_argument("--full", type=int, default=len(FULL))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    stream, whole = random.Random(asked.seed), asked.root / "whole"
    empty = asked.root / "empty"
    assert ended(start(empty, ["--cfg", "job"], lambda: made_store(empty))) == 0
    started = time.monotonic()
    assert ended(start(whole, line(whole))) == 0, whole.with_suffix(".log").read_text()
    length = time.monotonic() - started
    signals = [signal.SIGKILL] * asked.kills + [signal.SIGTERM] * asked.terms
    for place, number in enumerate(signals):
        root, moment = asked.root / f"{place}_{number.name}", stream.uniform(0.0, 0.95) * length
        codes = [killed(root, number, moment), go_on(root)]
        about = {"signal": number.name, "moment": round(moment / length, 3), "codes": codes}
        print(json.dumps(about | findings(root, whole)), flush=True)
    for first, last in FULL[: asked.full]:
        root = asked.root / f"full_{first}_{last}"
        codes = [ended(start(root, line(root), full_disk(first, last)))]
        codes += [go_on(root)] if codes[0] else []
        print(json.dumps({"full": [first, last], "codes": codes} | findings(root, whole)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
