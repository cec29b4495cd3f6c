import io
import time

import pytest
from rich.console import Console
from rich.table import Table

from pruning_lab.lab.output.console import ConsoleReporter, QuietReporter, Reporter, step_text

ROW = {
    "step": 12,
    "resources/flops_fraction": 0.431,
    "resources/weights_fraction": 0.2,
    "val/iou": 0.874,
    "val/iou_before_recovery": 0.8612,
    "val/loss": 0.21,
}


class Watch:
    """A reporter on a console that is kept as text, with a clock that the test moves."""

    def __init__(self, terminal: bool) -> None:
        self.seconds = 0.0
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=terminal, width=120, color_system=None)
        self.reporter = ConsoleReporter(console, clock=lambda: self.seconds)

    @property
    def text(self) -> str:
        return self.file.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@pytest.fixture
def pipe() -> Watch:
    return Watch(terminal=False)


@pytest.fixture
def terminal() -> Watch:
    return Watch(terminal=True)


def test_a_step_is_one_line_with_costs_and_scores() -> None:
    assert step_text(ROW) == ("step  12   FLOPs  43.1 %   weights  20.0 %   IoU  86.12 ->  87.40 %   loss 0.2100")


def test_the_columns_of_the_base_stand_above_those_of_the_steps() -> None:
    base = step_text({name: value for name, value in ROW.items() if "before" not in name} | {"step": 0})
    assert base.startswith("base ")
    assert [base.index(word) for word in ("FLOPs", "weights", "IoU", "87.40", "loss")] == [
        step_text(ROW).index(word) for word in ("FLOPs", "weights", "IoU", "87.40", "loss")
    ]


def test_what_a_row_lacks_is_left_out() -> None:
    assert step_text({"step": 3, "val/loss": 0.5}) == "step   3   loss 0.5000"


def test_a_pipe_gets_plain_lines_without_control_codes(pipe: Watch) -> None:
    with pipe.reporter.task("base", total=2) as task:
        pipe.reporter.warn("mind [this]")
        pipe.reporter.step_line(ROW)
        task.note("loss 0.3")
        task.advance()
        pipe.seconds = 12.0
    assert pipe.lines == ["warning: mind [this]", step_text(ROW), "base: done in 12.0 s, loss 0.3"]


def test_a_pipe_gets_a_sign_of_life_only_after_a_minute_of_silence(pipe: Watch) -> None:
    with pipe.reporter.task("base", total=100) as task:
        for _ in range(90):
            pipe.seconds += 1.0
            task.advance()
    assert pipe.lines == ["base: 60 %, about 40.0 s left", "base: done in 1:30"]


def test_a_task_without_a_known_end_says_what_is_done(pipe: Watch) -> None:
    with pipe.reporter.task("steps", total=None) as task:
        pipe.seconds = 61.0
        task.advance(3)
    assert pipe.lines[0] == "steps: 3 done"


def test_nested_tasks_do_not_litter_a_pipe(pipe: Watch) -> None:
    with pipe.reporter.task("steps", total=3) as steps:
        for _ in range(3):
            with pipe.reporter.task("recovery", total=1) as recovery:
                recovery.advance()
            steps.advance()
    assert pipe.lines == ["steps: done in 0.0 s"]


def test_a_task_that_fails_is_not_done(pipe: Watch) -> None:
    with pytest.raises(RuntimeError), pipe.reporter.task("base", total=1):
        raise RuntimeError
    with pipe.reporter.task("again", total=1):
        pass
    assert pipe.lines == ["again: done in 0.0 s"]


def test_long_lines_are_not_folded_in_a_pipe(pipe: Watch) -> None:
    pipe.reporter.say("x" * 300)
    assert pipe.lines == ["x" * 300]


def test_brackets_are_text_and_not_markup(pipe: Watch) -> None:
    pipe.reporter.say("image [N, C, H, W] [bold]")
    assert pipe.lines == ["image [N, C, H, W] [bold]"]


def test_a_table_is_shown(pipe: Watch) -> None:
    table = Table("name")
    table.add_row("base")
    pipe.reporter.show(table)
    assert "base" in pipe.text


def test_a_terminal_gets_bars_for_nested_tasks_and_lines_above_them(terminal: Watch) -> None:
    with terminal.reporter.task("steps", total=2) as steps:
        with terminal.reporter.task("recovery", total=4) as recovery:
            recovery.note("loss [0.3]")
            recovery.advance(2)
            terminal.reporter.step_line(ROW)
            time.sleep(0.3)  # Rich draws ten times a second
        steps.advance()
    assert step_text(ROW) in terminal.text
    assert "steps" in terminal.text
    assert "recovery" in terminal.text
    assert "50%" in terminal.text
    assert "loss [0.3]" in terminal.text


def test_a_terminal_is_left_clean_when_a_task_fails(terminal: Watch) -> None:
    with pytest.raises(RuntimeError), terminal.reporter.task("base", total=1):
        raise RuntimeError
    shown_cursor = "\x1b[?25h"
    assert terminal.text.rindex(shown_cursor) > terminal.text.rindex("base")
    with terminal.reporter.task("again", total=1):
        pass


def test_the_quiet_reporter_writes_nothing_and_keeps_what_was_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet = QuietReporter()
    reporter: Reporter = quiet
    with reporter.task("base", total=1) as task:
        task.advance()
        task.note("x")
    reporter.say("hello")
    reporter.step_line(ROW)
    reporter.warn("careful")
    reporter.show(Table())
    assert (quiet.lines, quiet.warnings) == (["hello", step_text(ROW)], ["careful"])
    assert capsys.readouterr() == ("", "")
