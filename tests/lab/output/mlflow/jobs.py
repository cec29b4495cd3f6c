"""Jobs of one sweep as processes: steps, a table and a model, slowly enough to be killed on the way.

python -m tests.lab.output.mlflow.jobs ROOT URI COUNT STEPS SECONDS

What is heavy is imported once; then the process forks. What a job says is in ROOT/NUMBER.log.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import mlflow
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from pruning_lab.lab.output.history import History
from pruning_lab.lab.output.mlflow import MlflowTracker
from pruning_lab.lab.output.tracker import Opening, Sweep


def one_job(root: Path, uri: str, number: int, steps: int, seconds: float) -> None:
    folder = root / "sweep" / str(number)
    tracker = MlflowTracker(uri=None if uri == "default" else uri, run_name=f"job {number}", register="nets")
    sweep = Sweep(root / "sweep", "a sweep", {"seed": str(number)}, ["seed=0,1,2"])
    tracker.start(Opening(folder, root, {"seed": number}, {"command": "a job"}, sweep))
    print("begun", flush=True)
    history = History()
    for step in range(steps):
        names = enumerate(("val/iou", "val/dice", "val/loss"))
        row = {name: (number + 1) / (step + place + 3) for place, name in names}
        row["resources/flops_fraction"] = 1 / (step + 1)
        history.append({"step": step, **row})
        history.write(folder / "history.csv")
        tracker.log_step(step, row)
        time.sleep(seconds)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "architecture.json").write_text(f'{{"number": {number}}}')
    tracker.log_artifact(folder / "history.csv")
    tracker.log_table("widths", [{"layer": "conv1", "left": number}])
    tracker.log_model_folder(folder / "model")
    tracker.log_summary({"best/val_iou": 0.5 + number / 100, "best/flops_fraction": 1 / steps})
    tracker.finish("FINISHED")
    print("lost" if tracker.lost else "complete", flush=True)


def forked(root: Path, uri: str, number: int, steps: int, seconds: float) -> int:
    """Start a job; returns its process."""
    child = os.fork()
    if child:
        return child
    log = os.open(root / f"{number}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 1
    try:
        one_job(root, uri, number, steps, seconds)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    os._exit(code)


def main(root: Path, uri: str, count: int, steps: int, seconds: float) -> int:
    children = [forked(root, uri, number, steps, seconds) for number in range(count)]
    return max(os.waitpid(child, 0)[1] for child in children) and 1


if __name__ == "__main__":
    root, uri, count, steps, seconds = sys.argv[1:]
    sys.exit(main(Path(root), uri, int(count), int(steps), float(seconds)))
