"""What was timed, on disk: one file for each target and machine, which all networks share. Knows plain data only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from pruning_lab.common.files import write_atomically
from pruning_lab.resources.latency.profiles import LayerTime

FORMAT = 3
"""Files of another format are not read, but written anew."""


@dataclass(frozen=True)
class Pass:
    """One network, timed. Times in units of the reference.

    Attributes:
        network: the digest of the operators of the network that it was cut from.
        lengths: of every row of groups, see `Operators.rows`.
        total: of a whole pass.
        elements: kind -> elements that went through its operators; `counts`: how many these are.
        rest: kind -> time of its operators; the empty kind where the runtime does not tell which.
    """

    network: str
    lengths: list[int]
    total: float
    elements: dict[str, float]
    counts: dict[str, int]
    rest: dict[str, float]


@dataclass
class Times:
    """All that was timed on one target.

    Attributes:
        step: the multiple of channels at which time jumps; None: not looked for yet.
        unit: seconds that the reference takes.
        layers: shape of a layer -> (channels in, channels out, time), in the order in which they were timed.
        passes: whole networks.
    """

    step: int | None = None
    unit: float | None = None
    layers: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    passes: list[Pass] = field(default_factory=list)

    def add(self, layers: Iterable[LayerTime], whole: Pass) -> None:
        """One network more."""
        for one in layers:
            self.layers.setdefault(one.shape, []).append((one.reads, one.gives, one.time))
        self.passes.append(whole)

    def of(self, network: str) -> list[Pass]:
        """The passes of one network, and of what was cut from it."""
        return [one for one in self.passes if one.network == network]


class Store:
    """A folder of times. Without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None, key: str, about: dict[str, Any]) -> None:
        self.path = None if folder is None else Path(folder) / f"{key}.json"
        self._about = about

    def read(self) -> Times:
        """What is there; nothing where the file is missing, or is not one of these."""
        if self.path is None or not self.path.is_file():
            return Times()
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                return Times()
            layers = {shape: [tuple(one) for one in times] for shape, times in found["layers"].items()}
            return Times(found["step"], found["unit"], layers, [Pass(**one) for one in found["passes"]])
        except (OSError, ValueError, KeyError, TypeError):
            return Times()  # it is only measured anew

    def add(self, new: Times) -> Times:
        """Write more down, beside what other processes wrote meanwhile; returns all."""
        if self.path is None:
            return new
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            old = self.read()
            for shape, times in new.layers.items():
                old.layers.setdefault(shape, []).extend(times)
            old.passes.extend(new.passes)
            old.step = new.step if old.step is None else old.step
            old.unit = new.unit if old.unit is None else old.unit
            content = {"format": FORMAT, "about": self._about, **asdict(old)}
            write_atomically(self.path, json.dumps(content))
        return old
