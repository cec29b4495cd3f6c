"""One command on a small disk that fills up at the n-th write, for every n. A process of its own, in its own mounts.

    unshare --mount python -m tests.full_disk FOLDER ANSWERS FILLED TASK...

mounts a tmpfs at FOLDER and writes a line of JSON for each n to ANSWERS/answers.jsonl. A write is a file or folder that
is made below FOLDER, and a statement that changes the tracking store. FILLED says what runs out: `blocks`, or `inodes`,
without which no file can be made. Of writes of one kind, as of one file in several steps, the last is tried; with the
variable FULL_DISK_ALL set all are. A TASK may be followed by `:ENDING,ENDING...`, and writes of these endings alone are
tried.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors.torch
from PIL import Image

import pruning_lab.lab.loop
import pruning_lab.tasks.prune  # noqa: F401 - what is imported here is imported once, and not after each fork
from pruning_lab.checkpoint import load
from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.history import History
from tests.tasks.forked import exit_code
from tests.tasks.runs import write_pairs

SIZE = ("size=12m", "nr_inodes=2000")
BALLAST = "ballast"
CHANGES = ("INSERT", "UPDATE", "CREATE", "DELETE", "ALTER")
CHANGING = re.compile(r"[0-9a-f]{32}|(?<=save-)\w+|[0-9a-f]{16}(\.\w{8})?|\d+-\d+-[\w-]+|(?<=(?:step|shot)_)\d+")
"""Parts of names that are other ones each time: drafts, hashes, dates, steps."""
RUN_FOLDER = "run"
RUN = [
    *(
        "+experiment=unet_ipad",
        "+debug=limit",
        "device=cpu",
        "threads=1",
        "name=run",
        "hydra.run.dir=${output_root}/run",
    ),
    *("data=folder", "data.size=[16,16]", "data.mask_values={0:0,255:1}", "model.width=4", "loader.workers=0"),
    *("base.epochs=1", "recovery.epochs=1", "recovery.final_epochs=1", "selection.amount.share=0.3", "stop.flops=0.6"),
]


class Disk:
    """A small disk, and when it fills up."""

    def __init__(self, place: Path, filled: str) -> None:
        self.place, self.filled = place, filled
        self.events: list[str] = []
        self.full_at = 0
        self.busy = False

    def wrote(self, what: str) -> None:
        """Count a write; from the n-th on there is no room."""
        what = CHANGING.sub("*", what)
        self.events.append(what)
        if len(self.events) == self.full_at:
            self.busy = True
            self.fill()
            self.busy = False

    def fill(self) -> None:
        """Take all room, but for a page where n is odd: a file is then cut short, and not empty."""
        if self.filled == "inodes":
            for number in itertools.count():
                try:
                    os.close(os.open(self.place / BALLAST / str(number), os.O_CREAT | os.O_WRONLY))
                except OSError:
                    return
        file = os.open(self.place / BALLAST / "blocks", os.O_CREAT | os.O_WRONLY)
        try:
            while True:
                os.write(file, b"x" * 4096)
        except OSError:
            if self.full_at % 2:
                os.ftruncate(file, max(0, os.fstat(file).st_size - 4096))
        os.close(file)

    def watch(self, arguments: list[str]) -> None:
        """Count from now on; audit hooks stay for as long as the process lives."""
        sys.addaudithook(self._heard)
        write = safetensors.torch.serialize_file

        def counted(tensors: Any, path: Any, *rest: Any, **more: Any) -> Any:
            self.wrote(f"tensors {path}")
            return write(tensors, path, *rest, **more)

        safetensors.torch.serialize_file = counted
        if any("tracking=mlflow" in argument for argument in arguments):
            self._watch_database()

    def _watch_database(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        @event.listens_for(Engine, "before_cursor_execute")
        def changes(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if statement.lstrip().upper().startswith(CHANGES):
                self.wrote(f"database {' '.join(statement.split()[:3])}")

    def _heard(self, event: str, arguments: Any) -> None:
        if self.busy or event not in ("open", "os.mkdir", "os.link"):
            return
        path = arguments[event == "os.link"]
        if not isinstance(path, (str, bytes, os.PathLike)) or not os.fsdecode(path).startswith(str(self.place)):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            return
        if event == "open" or not os.path.exists(path):
            self.wrote(f"{event} {os.fsdecode(path)}")


def forked(disk: Disk, full_at: int, answers: Path, arguments: list[str]) -> dict[str, Any]:
    """What a command line answers in a process of its own."""
    child = os.fork()
    if child == 0:
        _in_child(disk, full_at, answers, arguments)
    _, status = os.waitpid(child, 0)
    said = {name: (answers / name).read_text(errors="replace").splitlines() for name in ("stdout", "stderr")}
    events = json.loads((answers / "events").read_text())
    return {"code": os.waitstatus_to_exitcode(status), "events": events, **said}


def _in_child(disk: Disk, full_at: int, answers: Path, arguments: list[str]) -> NoReturn:
    code = 99
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(answers / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
        warnings.simplefilter("ignore")
        disk.full_at = full_at
        disk.watch(arguments)
        code = exit_code(arguments)
    finally:
        disk.busy = True
        (answers / "events").write_text(json.dumps([event.replace(str(disk.place), "") for event in disk.events]))
        os._exit(code)


def left(place: Path) -> Iterator[str]:
    """Drafts and halves of files that a command left behind."""
    for path in place.rglob(".*"):
        if path.name not in (".lock",):
            yield str(path.relative_to(place))


def rows(folder: Path) -> list[list[float]]:
    """What a history says of scores and widths: nothing that takes time."""
    path = folder / "history.csv"
    names = ("step", "val/iou", "val/loss", "resources/weights")
    return [[row[name] for name in names] for row in History.read(path)] if path.is_file() else []


def damage(place: Path) -> str:
    """What can't be read of what lies there under its own name; empty where all is whole."""
    for model in [*place.rglob("architecture.json")]:
        try:
            load(model.parent)
        except LabError as error:
            return str(error)
    for card in place.glob("bases/*/base.json"):
        digest = hashlib.sha256((card.parent / "weights.safetensors").read_bytes()).hexdigest()
        if json.loads(card.read_text())["weights_sha256"] != digest:
            return str(card)
    for picture in place.rglob("*.png"):
        with Image.open(picture) as opened:
            opened.load()
    for array in place.rglob("*.npy"):
        np.load(array)
    return ""


def command_of(task: str, place: Path, data: Path) -> list[str]:
    """The command line of a task; all but `prune` and `mlflow` work on a run that is there."""
    root, images = f"output_root={place}", data / "test" / "images"
    pruning = [*RUN, root, f"data.root={data}"]
    return {
        "prune": [*pruning, "tracking=none"],
        "mlflow": [*pruning, "tracking=mlflow", "hydra.run.dir=${output_root}/tracked"],
        "resume": ["task=resume", f"task.run={place / 'run'}", root],
        "predict": ["task=predict", f"task.run={place / 'run'}", f"task.images={images}", "task.probabilities=true",
                    f"task.output={place / 'out'}", root],
        "evaluate": ["task=evaluate", f"task.run={place / 'run'}", root],
        "report": ["task=report", f"task.runs={place / 'run'}", "task.ablation=false", root],
        "inspect": ["task=inspect", "model.width=4", "model.depth=2", "task.size=[16,16]", root],
    }[task]  # fmt: skip


def refill(place: Path, good: Path) -> None:
    """Put the disk back to what it was."""
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(good, place, dirs_exist_ok=True, symlinks=True)
    (place / BALLAST).mkdir(exist_ok=True)


def tried(disk: Disk, good: Path, number: int, scratch: Path, task: str) -> dict[str, Any]:
    """What became of a task whose disk was full from a write on, and of the same or a resumed one with room again."""
    place = disk.place
    refill(place, good)
    answer = forked(disk, number, scratch, command_of(task, place, scratch.parent / "squares"))
    shutil.rmtree(place / BALLAST)
    (place / BALLAST).mkdir()
    saved = any((place / "run" / "state").glob("step_*"))
    found = {"rows": rows(place / "run"), "damage": damage(place), "left": sorted(left(place)), "saved": saved}
    answer |= {"number": number, "task": task, **found}
    del answer["events"]
    if task == "prune" and not saved:  # nothing to go on from but the same command anew
        return answer
    task = "resume" if task == "prune" else task
    again = forked(disk, 0, scratch, command_of(task, place, scratch.parent / "squares"))
    answer["again"] = {"code": again["code"], "stderr": again["stderr"], "rows": rows(place / "run")}
    return answer


def try_all(place: Path, answers: Path, filled: str, tasks: list[str]) -> None:
    """Fill the disk at each write of each task in turn."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(SIZE), "tmpfs", str(place)], check=True)
    disk, scratch = Disk(place, filled), answers / "said"
    scratch.mkdir()
    (answers / "squares" / "none").mkdir(parents=True)
    for split, (first, count) in {"train": (0, 8), "val": (20, 2), "test": (40, 2)}.items():
        write_pairs(answers / "squares" / split, count, first)
    with open(answers / "answers.jsonl", "w", encoding="utf-8") as stream:
        (place / BALLAST).mkdir()
        assert forked(disk, 0, scratch, command_of("prune", place, answers / "squares"))["code"] == 0
        shutil.copytree(place, answers / "after_prune", symlinks=True)
        for task, _, endings in (asked.partition(":") for asked in tasks):
            good = answers / f"before_{task}"
            refill(place, answers / "squares" / "none" if task == "prune" else answers / "after_prune")
            shutil.copytree(place, good, symlinks=True)
            whole = forked(disk, 0, scratch, command_of(task, place, answers / "squares"))
            assert whole["code"] == 0, whole
            wanted, events = rows(place / "run"), whole["events"]
            for number, event in enumerate(events, start=1):
                if event in events[number:] and "FULL_DISK_ALL" not in os.environ:
                    continue
                if endings and not event.endswith(tuple(endings.split(","))):
                    continue
                answer = tried(disk, good, number, scratch, task) | {"event": event, "wanted": wanted}
                answer["seconds"] = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
                stream.write(json.dumps(answer) + "\n")
                stream.flush()


if __name__ == "__main__":
    try_all(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
