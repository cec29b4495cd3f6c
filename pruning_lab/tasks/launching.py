"""Hands jobs to a launcher of Hydra, and once more where a process of the launcher was killed. Knows no job."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher

from pruning_lab.common.errors import LabError, one_line

TRIES = 2


def launched(launcher: Launcher, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
    """What each job ended with. Jobs see to it themselves that none is done twice.

    A worker that is killed, for its memory or by hand, takes the others of some launchers with it, so that they get
    another try.

    Args:
        jobs: overrides of each.
        first: number of the first one.

    Raises:
        LabError: the launcher failed again.
    """
    for attempt in range(TRIES):
        try:
            return list(launcher.launch(jobs, initial_job_idx=first))
        except (LabError, HydraException):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            if attempt + 1 == TRIES:
                raise LabError(
                    f"the launcher failed {TRIES} times ({reason}); give it fewer jobs at once, the same line goes on"
                ) from error
            print(f"the launcher failed ({reason}); what is not done goes on", flush=True)
    return []
