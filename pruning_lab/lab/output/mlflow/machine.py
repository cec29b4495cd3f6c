"""How busy the machine is while a run goes on: processors, memory, disk, network, GPUs. Knows no run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Self

from pruning_lab.common.errors import LabError, first_line


class Machine:
    """Samples the machine in a thread, by MLflow's own monitors, and names what it finds as MLflow does: `system/...`.

    Args:
        seconds: between two samples.
        tell: is called with a sample's number and its metrics.

    Raises:
        LabError: what reads the machine is not installed.
    """

    def __init__(self, seconds: float, tell: Callable[[int, Mapping[str, float]], None]) -> None:
        if seconds <= 0:
            raise LabError(f"tracking.system_metrics={seconds} must be seconds between two samples; null for none")
        self._seconds, self._tell = seconds, tell
        self._monitors = _monitors()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="system metrics")

    def start(self, first: int) -> Self:
        """Begin with a sample of this number."""
        self._number = first
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, with no sample after this."""
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                found = self._look()
            except Exception as error:  # of a device that went away, say: the run goes on without
                logging.getLogger(__name__).warning("tracking: no more system metrics (%s)", first_line(error))
                return
            self._tell(self._number, found)
            self._number += 1

    def _look(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            found |= {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return found


def _monitors() -> list[Any]:
    """MLflow's monitors; that of GPUs where there is one that tells."""
    if find_spec("psutil") is None:
        raise LabError("tracking.system_metrics needs psutil: pip install 'pruning_lab[system]'")
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except Exception:  # no such library, or no such device: MLflow raises whatever it met
        return monitors
    return monitors
