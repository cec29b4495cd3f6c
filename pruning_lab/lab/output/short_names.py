"""Dotted keys by as few of their last parts as tell them apart. Knows no config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """A short name for each key: `selection.amount.share` is `share`, unless another key ends so as well."""
    result = {}
    for key in keys:
        parts = key.split(".")
        shorter = (".".join(parts[-count:]) for count in range(1, len(parts)))
        only = (name for name in shorter if sum(f".{other}".endswith(f".{name}") for other in keys) == 1)
        result[key] = next(only, key)
    return result


def with_short_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values under their short names."""
    short = short_names(list(values))
    return {short[key]: value for key, value in values.items()}
