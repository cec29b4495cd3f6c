"""What a job of a sweep is called: what the sweep changes, and a hash of all that its numbers depend on.

The name is the job's folder below that of its sweeps, so that the same settings are the same folder, whatever the line
that they come from. Imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

APART = (
    "hydra",
    "name",
    "output_root",
    "bases",
    "tracking",
    "threads",
    "devices",
    "returns",
    "rerun",
    "save_every",
    "longest_pass",
    "pictures",
    "check",
    "verify",
    "may_lack",
    "loader.workers",
    "base.reuse",
    "target.cache",
)
"""Keys that change where and how fast a run works, or what is told of it, and none of its numbers."""

RESOLVER = "job_name"
LONGEST, HASH_DIGITS = 60, 12


def job_hash(config: DictConfig) -> str:
    """12 hex digits that stand for all settings of a job that its numbers depend on, filled in and in any order."""
    try:
        filled: Any = OmegaConf.to_container(
            OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), resolve=True
        )
    except OmegaConfBaseException:  # the task will say what is wrong with it
        filled = OmegaConf.to_container(config, resolve=False)
    for key in APART:
        *parents, leaf = key.split(".")
        node = filled
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(leaf, None)
    return hashlib.sha256(json.dumps(filled, sort_keys=True, default=str).encode()).hexdigest()[:HASH_DIGITS]


def changed_text(overrides: Iterable[str], left_out: Iterable[str] = ()) -> str:
    """What a job's overrides say, fit for a folder's name: `importance_l1-share_0.2`.

    Args:
        overrides: `key=value`.
        left_out: keys and groups that are not told.
    """
    parts, silent = [], {*left_out, *APART}
    for override in sorted(overrides):
        key, _, value = override.partition("=")
        key = key.lstrip("+~").partition("@")[0]
        if key not in silent:
            parts.append(f"{re.split(r'[./]', key)[-1]}_{_last_part(value)}")
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))[:LONGEST].strip("_-.")


def _last_part(value: str) -> str:
    """A path is told by its end."""
    return value.strip("\"'").rstrip("/").rpartition("/")[2]


def job_name(whole: DictConfig) -> str:
    """The folder of a job below that of its sweeps; the same settings keep the one that an earlier line gave them.

    Args:
        whole: the job's config with its `hydra` node.
    """
    digest, hydra = job_hash(whole), whole.hydra
    earlier = sorted(Path(hydra.sweep.dir).glob(f"*{digest}"))
    if earlier:
        return earlier[0].name
    text = changed_text(list(hydra.overrides.task), list(hydra.job.config.override_dirname.exclude_keys))
    return f"{text}-{digest}" if text else digest


def name_of(folder: Path) -> str:
    """What a job is called, by its folder: what its sweep changes, and the hash alone where that is nothing."""
    return folder.name.rpartition("-")[0] or folder.name


def register_names() -> None:
    """Make `${job_name:}` known to Hydra."""
    OmegaConf.register_new_resolver(RESOLVER, lambda *, _root_: job_name(_root_), replace=True)
