"""The command line: `python -m pruning_lab +experiment=unet_ipad`. Hydra's door; nothing heavy is imported here."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pruning_lab import __version__
from pruning_lab.common.errors import LabError
from pruning_lab.common.files import disk_trouble, is_full
from pruning_lab.tasks.config import conf_folder, register_schema, run_task
from pruning_lab.tasks.mistakes import told

FAILED, NOT_MET, INTERRUPTED, NO_READER = 1, 3, 130, 141
"""Exit codes: a mistake in one line, a run that ended above its budget, Ctrl-C, a closed pipe."""

STOPS = (signal.SIGTERM, signal.SIGUSR2) if hasattr(signal, "SIGUSR2") else (signal.SIGTERM,)
"""What a machine sends before it takes a run away; SLURM warns by the second where it is told to."""


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
def job(config: DictConfig) -> Any:
    """One job; returns the number that `returns` names, for sweepers that optimize it."""
    settings = HydraConfig.get()
    folder = _folder_of_run(config, settings)
    try:
        outcome = run_task(config, str(settings.runtime.output_dir), dict(settings.runtime.choices))
    except LabError as error:
        full = error.__cause__ is not None and is_full(error.__cause__)
        return _fail(LabError(f"{error}{_resuming(folder)}") if full else error, settings)
    except OSError as error:
        return _fail(LabError(_of_the_disk(error, folder)), settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(folder)) from None
    except Exception as error:
        return _fail(LabError(told(error, folder)), settings)
    if settings.mode == RunMode.RUN and outcome.budget_met is False:
        sys.exit(NOT_MET)
    return outcome.number


def _folder_of_run(config: DictConfig, settings: DictConfig) -> Path:
    """Where the job's run is kept: its own folder, or that of the run that is taken up again."""
    taken_up = config.task.get("run") if settings.runtime.choices.get("task") == "resume" else None
    return Path(str(taken_up)).absolute() if taken_up else Path(settings.runtime.output_dir)


def _interrupt(number: int, frame: object) -> NoReturn:
    """A polite request to stop is treated as Ctrl-C is."""
    raise KeyboardInterrupt


def _how_to_go_on(folder: Path) -> str:
    """What was finished, and the line that goes on from there, where a step was."""
    return _resuming(folder) or f": what was finished is in {folder}"


def _resuming(folder: Path) -> str:
    """The line that goes on with a run; empty where no step of it is saved."""
    if any((folder / "state").glob("step_*")):
        return f"; go on from its last step: python -m pruning_lab task=resume task.run={shlex.quote(str(folder))}"
    return ""


def _of_the_disk(error: OSError, folder: Path) -> str:
    """What the file system refused, the mend, and how to go on after it."""
    return disk_trouble(error, folder) + _resuming(folder)


def _fail(error: Exception, settings: DictConfig) -> NoReturn:
    """End a job by a line; in a sweep it is raised as well, so that the sweeper marks the job and goes on."""
    if settings.mode == RunMode.RUN and isinstance(error, LabError):
        sys.exit(f"error: {error}")
    if settings.mode != RunMode.RUN:
        print(f"job {settings.job.num} failed: {error}", file=sys.stderr, flush=True)
    raise error


def main() -> int:
    """Run Hydra, and say a user's mistake in one line."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # a line that the log has no room for costs nothing but itself
    register_schema()
    for number in STOPS:
        signal.signal(number, _interrupt)
    try:
        _answer()
    except OverrideParseException as error:
        print(f"error: {_quoted(error.override)}", file=sys.stderr)
        return FAILED
    except (LabError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # What reads the output, `head` or `less`, has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except OSError as error:
        print(f"error: {disk_trouble(error, _run_folder(error))}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{interrupt}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _run_folder(error: OSError) -> str:
    """Where Hydra wrote when it failed: it forgets the folder before it raises, and its error names no file."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "run_job" and "output_dir" in frame.f_locals:
            return str(frame.f_locals["output_dir"])
    return "the file system"


def _answer() -> None:
    """Run the job, or say the version; what was printed has reached its reader when this ends."""
    try:
        if "--version" in sys.argv[1:]:
            print(f"pruning_lab {__version__}")
        else:
            job()
    finally:
        sys.stdout.flush()


def _quoted(override: str) -> str:
    """The mend for a setting that Hydra's grammar can't read."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override} is no setting; write key=value, e.g. seed=1"
    plain = value.strip("\"'").replace("'", "\\'")
    return f"{override} can't be read; quote the value: \"{key}='{plain}'\""


def _one_line(error: BaseException) -> str:
    """An exception and what caused it, told once each, on one line."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = " ".join(str(current).split())
        if text and not any(text in earlier for earlier in told):
            told.append(text)
        if isinstance(current, LabError):
            break
        current = current.__cause__
    return ": ".join(told) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
