"""What a run says on the console while it works. Knows rows of metrics and task names, not models."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pruning_lab.lab.output import units
from pruning_lab.resources.table import TABLE

# Where there is no terminal, a sign of life is due when nothing was written for so long.
SILENCE_S = 60.0
# Wide enough for every table of the lab; Rich assumes 80 columns where there is no terminal.
WIDTH_WITHOUT_TERMINAL = 120


class Task(Protocol):
    """One piece of work whose progress is shown."""

    def advance(self, amount: float = 1) -> None:
        """So much more of the task's total is done."""

    def note(self, text: str) -> None:
        """Show `text` beside the task, in place of the last note."""


class Reporter(Protocol):
    """How the lab speaks to its user. Tasks may be nested: a recovery within the steps."""

    def task(self, name: str, total: float | None) -> AbstractContextManager[Task]:
        """Show progress towards `total` for the time of a with block; None where the end is not known."""

    def step_line(self, row: Mapping[str, float]) -> None:
        """One line for a pruning step that is done, from its history row."""

    def say(self, text: str) -> None:
        """One line of plain text."""

    def warn(self, text: str) -> None:
        """One line that the user should not miss."""

    def show(self, table: RenderableType) -> None:
        """A table or any other Rich object."""


class ConsoleReporter:
    """Progress bars with the time left on a terminal; elsewhere plain lines, few of them.

    `clock` gives seconds and exists for tests.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or _console()
        self._clock = clock
        self._progress: Progress | None = None
        self._depth = 0
        self._last_line = clock()

    @contextmanager
    def task(self, name: str, total: float | None) -> Iterator[Task]:
        self._depth += 1
        try:
            if self.console.is_terminal:
                with self._bar(name, total) as bar:
                    yield bar
            else:
                line = _LineTask(self, name, total, self._clock)
                yield line
                if self._depth == 1:
                    line.done()
        finally:
            self._depth -= 1

    @contextmanager
    def _bar(self, name: str, total: float | None) -> Iterator[Task]:
        if self._progress is None:
            self._progress = _progress(self.console)
            self._progress.start()
        progress = self._progress
        bar = _BarTask(progress, name, total)
        try:
            yield bar
        finally:
            bar.remove()
            if self._depth == 1:
                progress.stop()
                self._progress = None

    def step_line(self, row: Mapping[str, float]) -> None:
        self.say(step_text(row))

    def say(self, text: str) -> None:
        self._last_line = self._clock()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self._last_line = self._clock()
        self.console.print(f"[yellow]warning:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)

    def show(self, table: RenderableType) -> None:
        self._last_line = self._clock()
        self.console.print(table)

    def silent_for(self) -> float:
        """Seconds since the last line was written."""
        return self._clock() - self._last_line


class QuietReporter:
    """Writes nothing, for notebooks and tests; `lines` and `warnings` keep what would have been said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def task(self, name: str, total: float | None) -> Iterator[Task]:
        yield _QuietTask()

    def step_line(self, row: Mapping[str, float]) -> None:
        self.lines.append(step_text(row))

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def show(self, table: RenderableType) -> None:
        pass


def step_text(row: Mapping[str, float]) -> str:
    """One line for a history row, in columns; what the row lacks is left out."""
    parts = [f"step {row['step']:3.0f}" if row["step"] else "base    "]
    for resource in sorted(TABLE.values(), key=lambda one: one.counted):  # what was measured comes first
        if resource.in_step_line and (fraction := row.get(resource.column)) is not None:
            parts.append(f"{resource.spelled} {units.percent(fraction):>7}")
    if "val/iou" in row:
        before = row.get("val/iou_before_recovery")
        cut = f"{100 * before:6.2f} -> " if before is not None else " " * 10
        parts.append(f"IoU {cut}{100 * row['val/iou']:6.2f} %")
    if "val/loss" in row:
        parts.append(f"loss {row['val/loss']:.4f}")
    return "   ".join(parts)


class _BarTask:
    def __init__(self, progress: Progress, name: str, total: float | None) -> None:
        self._progress = progress
        self._id = progress.add_task(escape(name), total=total, note="")

    def advance(self, amount: float = 1) -> None:
        self._progress.advance(self._id, amount)

    def note(self, text: str) -> None:
        self._progress.update(self._id, note=escape(text))

    def remove(self) -> None:
        self._progress.remove_task(self._id)


class _LineTask:
    def __init__(self, reporter: ConsoleReporter, name: str, total: float | None, clock: Callable[[], float]) -> None:
        self._reporter = reporter
        self._name = name
        self._total = total
        self._clock = clock
        self._started = clock()
        self._done = 0.0
        self._note = ""

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        if self._reporter.silent_for() >= SILENCE_S:
            self._reporter.say(self._line(self._state()))

    def note(self, text: str) -> None:
        self._note = text

    def done(self) -> None:
        self._reporter.say(self._line(f"done in {units.duration(self._clock() - self._started)}"))

    def _line(self, state: str) -> str:
        return f"{self._name}: {state}" + (f", {self._note}" if self._note else "")

    def _state(self) -> str:
        if not self._total:
            return f"{self._done:g} done"
        spent = self._clock() - self._started
        left = spent * (self._total - self._done) / self._done
        return f"{units.percent(self._done / self._total, 0)}, about {units.duration(max(left, 0.0))} left"


class _QuietTask:
    def advance(self, amount: float = 1) -> None: ...
    def note(self, text: str) -> None: ...


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_WITHOUT_TERMINAL)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        # Pruning steps take minutes: an estimate from the last half minute alone would hold no step at all.
        speed_estimate_period=3600,
    )
