"""The command line: `python -m pruning_lab +experiment=unet_ipad`. Hydra's door; nothing heavy is imported here."""

from __future__ import annotations

import os
import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pruning_lab import __version__
from pruning_lab.common.errors import LabError
from pruning_lab.tasks.config import conf_folder, register_schema, run_task

FAILED, INTERRUPTED, NO_READER = 1, 130, 141
"""Exit codes: a mistake, and 128 + the signal of Ctrl-C and of a closed pipe."""


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
def job(config: DictConfig) -> Any:
    """One job; returns the number that `returns` names, for sweepers that optimize it."""
    settings = HydraConfig.get()
    try:
        return run_task(config, settings.runtime.output_dir, dict(settings.runtime.choices))
    except LabError as error:
        if settings.mode == RunMode.RUN:
            sys.exit(f"error: {error}")
        # Raised, so that the sweeper marks this job as failed and goes on with the others.
        print(f"job {settings.job.num} failed: {error}", file=sys.stderr, flush=True)
        raise


def main() -> int:
    """Run Hydra, and say a user's mistake in one line."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register_schema()
    try:
        _answer()
    except (LabError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # What reads the output, `head` or `less`, has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except OSError as error:
        place = error.filename or "the file system"
        print(f"error: {place}: {error.strerror or error}; give folders that exist and can be written", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted: what was finished is in the run's folder", file=sys.stderr)
        return INTERRUPTED
    return 0


def _answer() -> None:
    """Run the job, or say the version; what was printed has reached its reader when this ends."""
    try:
        if "--version" in sys.argv[1:]:
            print(f"pruning_lab {__version__}")
        else:
            job()
    finally:
        sys.stdout.flush()


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
