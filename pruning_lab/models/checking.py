"""What every network's constructor checks of its arguments. Knows the keys of configs, and no network."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pruning_lab.common.errors import LabError

FORBIDDEN = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")
"""Arguments that could make a library read a file or an address of the folder's choosing."""


def at_least_one(**values: int) -> None:
    """Raises LabError for the first value that is below 1, by its config key."""
    for key, value in values.items():
        if value < 1:
            raise LabError(f"model.{key}={value} must be at least 1")


def one_of(key: str, value: str, known: Iterable[str]) -> None:
    """Raises LabError when a value is none of the known ones; it names those that are near, or all if they are few."""
    names = list(known)
    if value not in names:
        raise LabError(f"model.{key}={value} is unknown: use {_offer(value, names)}")


def own_options(options: Mapping[str, Any] | None, reserved: Iterable[str]) -> dict[str, Any]:
    """A library's further arguments, as a plain dict.

    Args:
        reserved: arguments that keys of their own set, or that would make the library read files or addresses.

    Raises:
        LabError: one of the reserved ones is among them.
    """
    taken = sorted(set(options or {}) & set(reserved))
    if taken:
        raise LabError(f"model.options.{taken[0]} is not taken from options; leave it out")
    return dict(options or {})


def _offer(value: str, names: list[str]) -> str:
    if len(names) <= 20:
        return f"one of {', '.join(names)}"
    near = difflib.get_close_matches(value, names, n=5, cutoff=0.5)
    return f"one of the library's {len(names)} names" + (f", e.g. {', '.join(near)}" if near else "")
