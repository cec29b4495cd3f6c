"""The command line in a process that is forked from this one, so that it costs its work alone, and may be changed."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pruning_lab.tasks.prune  # noqa: F401 - what is imported here is imported once, and not after each fork
from pruning_lab.__main__ import main as command_line

CAPABILITIES_3, DAC_OVERRIDE, DAC_READ_SEARCH = 0x20080522, 1, 2
"""Of linux/capability.h."""


@dataclass(frozen=True)
class Answer:
    """How a command ended: its exit code, and the lines that it said."""

    code: int
    out: list[str]
    err: list[str]


def answer(arguments: Iterable[str], before: Callable[[], None] = lambda: None) -> Answer:
    """What a command line answers.

    Args:
        before: is called in the process that will answer.
    """
    with tempfile.TemporaryDirectory() as place:
        names = [Path(place) / name for name in ("out", "err")]
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _in_child([*arguments], before, names)
        _, status = os.waitpid(child, 0)
        said = [name.read_text(errors="replace").splitlines() for name in names]
    return Answer(os.waitstatus_to_exitcode(status), *said)


class Job:
    """A command line that runs beside this process, as `subprocess.Popen` has it."""

    def __init__(self, arguments: Iterable[str], log: Path) -> None:
        """Start it; what it says goes to `log`."""
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _in_child([*arguments], lambda: None, [log])

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


def as_anyone() -> None:
    """For `before`: give up what lets root read and write everything (Linux); its own files are still its own."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for place in (0, 1):  # effective and permitted
        data[place] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def without(*modules: str) -> Callable[[], None]:
    """For `before`: modules that are not installed; the lab's own packages that have used them are imported anew."""
    roots = {module.partition(".")[0] for module in modules}

    def block() -> None:
        used = {name.rpartition(".")[0] for name in [*sys.modules] if name.startswith("pruning_lab.") and uses(name)}
        for name in [*sys.modules]:
            if name.partition(".")[0] in roots or name.rpartition(".")[0] in used:
                del sys.modules[name]
        sys.modules.update(dict.fromkeys(modules, None))  # type: ignore[arg-type]

    def uses(name: str) -> bool:
        held = vars(sys.modules[name]).values()
        origins = [getattr(value, "__module__", None) or getattr(value, "__name__", None) for value in held]
        return any(isinstance(origin, str) and origin.partition(".")[0] in modules for origin in origins)

    return block


def _in_child(arguments: list[str], before: Callable[[], None], names: list[Path]) -> NoReturn:
    """Args: names: of the files for what it says and for its errors, or of one for both."""
    code = 99
    try:
        opened = [os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY) for name in names]
        for number, place in ((1, opened[0]), (2, opened[-1])):
            os.dup2(place, number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        warnings.simplefilter("ignore")
        before()
        code = exit_code(arguments)
    finally:
        os._exit(code)


def exit_code(arguments: list[str]) -> int:
    """What the command line ends with, in this process."""
    sys.argv = ["pruning_lab", *arguments]
    try:
        code = command_line()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
