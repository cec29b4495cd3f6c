"""The command line: `python -m pruning_lab +experiment=unet_ipad`. Hydra's door; nothing heavy is imported here."""

from __future__ import annotations

import logging
import os
import shlex
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
from pruning_lab.common.claims import HeldError
from pruning_lab.common.errors import GivenUpError, LabError, first_line, one_line
from pruning_lab.common.files import disk_trouble, is_full
from pruning_lab.common.ranks import place_here
from pruning_lab.common.stopping import at_work, listen
from pruning_lab.tasks.config import conf_folder, register_schema
from pruning_lab.tasks.jobs import OtherJobError, note_failure, perform, standing
from pruning_lab.tasks.mistakes import told
from pruning_lab.tasks.plugins import register
from pruning_lab.tasks.search.sweeper import Search
from pruning_lab.tasks.sweeper import Sweep

FAILED, NOT_MET, INTERRUPTED, NO_READER = 1, 3, 130, 141
"""Exit codes: a mistake in one line, a run that ended above its budget, Ctrl-C, a closed pipe."""


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
def job(config: DictConfig) -> Any:
    """One job; returns what `returns` names, for sweepers that optimize it."""
    with at_work():
        return _job(config)


def _job(config: DictConfig) -> Any:
    settings = HydraConfig.get()
    folder = _folder_of_run(config, settings)
    try:
        outcome = perform(config, Path(settings.runtime.output_dir), dict(settings.runtime.choices))
    except HeldError as error:
        return _leave(error, settings)
    except LabError as error:
        full = error.__cause__ is not None and is_full(error.__cause__)
        return _fail(LabError(f"{error}{_resuming(folder)}") if full else error, config, settings)
    except OSError as error:
        return _fail(LabError(_of_the_disk(error, folder)), config, settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(folder)) from None
    except Exception as error:
        return _fail(LabError(told(error, folder)), config, settings)
    if settings.mode == RunMode.RUN and outcome.budget_met is False:
        sys.exit(NOT_MET)
    return outcome.number


def _folder_of_run(config: DictConfig, settings: DictConfig) -> Path:
    """Where the job's run is kept: its own folder, or that of the run that is taken up again."""
    taken_up = config.task.get("run") if settings.runtime.choices.get("task") == "resume" else None
    return Path(str(taken_up)).absolute() if taken_up else Path(settings.runtime.output_dir)


def _how_to_go_on(folder: Path) -> str:
    """What was finished, and the line that goes on from there, where a run was begun."""
    return _resuming(folder) or f": what was finished is in {folder}"


def _resuming(folder: Path) -> str:
    """The line that goes on with a run; empty where none was begun."""
    if standing(folder) == "interrupted" and (folder / "config.yaml").is_file():
        return f"; go on with it: python -m pruning_lab task=resume task.run={shlex.quote(str(folder))}"
    return ""


def _of_the_disk(error: OSError, folder: Path) -> str:
    """What the file system refused, the mend, and how to go on after it."""
    return disk_trouble(error, folder) + _resuming(folder)


def _leave(error: HeldError, settings: DictConfig) -> None:
    """A job that another process works on is no failure of a sweep."""
    if settings.mode == RunMode.RUN:
        sys.exit(f"error: {error}")
    print(f"job {settings.job.num} is left to the process that works on it", flush=True)


def _fail(error: Exception, config: DictConfig, settings: DictConfig) -> NoReturn:
    """End a job by a line; in a sweep it is also noted and raised, so that the sweeper marks the job and goes on."""
    if settings.mode == RunMode.RUN and isinstance(error, LabError):
        sys.exit(f"error: {error}")
    if settings.mode != RunMode.RUN:
        end = "is given up" if isinstance(error, GivenUpError) else "failed"
        print(f"job {settings.job.num} {end}: {error}", file=sys.stderr, flush=True)
        if not isinstance(error, OtherJobError):
            note_failure(config, Path(settings.runtime.output_dir), one_line(error), settings.overrides.task)
    raise error


def main() -> int:
    """Run Hydra, and say a user's mistake in one line; of processes that share a run, the first alone does."""
    place = place_here()
    if place is not None or any(argument.startswith("devices=") for argument in sys.argv):
        # Read when torch is imported: DDP warns where all weights are used, and looks for others on purpose.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if place is None:
        return _main()
    if place.rank:
        from pruning_lab.training.ranks.follower import follow

        return follow(place)
    try:
        return _main()
    finally:
        from pruning_lab.training.ranks.team import release

        release()


def _main() -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # a line that the log has no room for costs nothing but itself
    register_schema()
    register(Sweep)
    register(Search)
    listen()
    try:
        _answer()
    except OverrideParseException as error:
        print(f"error: {_quoted(error.override)}", file=sys.stderr)
        return FAILED
    except (LabError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # What reads the output, `head` or `less`, has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except OSError as error:
        print(f"error: {disk_trouble(error, _run_folder(error))}", file=sys.stderr)
        return FAILED
    except (AttributeError, TypeError, ValueError) as error:
        if not _while_composing(error):
            raise
        print(f"error: Hydra can't put the settings together ({_told(error)}); correct what they add", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{interrupt}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _while_composing(error: BaseException) -> bool:
    """Whether Hydra was still composing the config: what is wrong there is a setting."""
    return any(frame.f_code.co_name == "load_configuration" for frame, _ in traceback.walk_tb(error.__traceback__))


def _told(error: BaseException) -> str:
    """What an error of Hydra's says, with the key that it names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    return f"{key}: {lines[0]}" if key else first_line(error)


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


if __name__ == "__main__":
    sys.exit(main())
