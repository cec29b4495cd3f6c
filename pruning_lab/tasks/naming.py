"""What tells a run from others: the settings that its sweep changes, or that were typed. Reads Hydra's records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output.run_folder import HYDRA_FOLDER, read_config
from pruning_lab.lab.output.short_names import short_names
from pruning_lab.lab.output.tracker import Sweep
from pruning_lab.tasks.config import plain

SWEEP_RECORDS = "multirun*.yaml"
"""What sweepers leave in a sweep's folder: the line as it was typed; the last one counts."""

SAY_NOTHING = re.compile(
    r"^(hydra|tracking|latency|target\.cache|loader|output_root|bases|name|device|threads|pictures|verify|check|may_lack|returns|data\.root|task)\b"
)
"""Settings that do not tell one run's result from another's."""

LONGEST_NAME = 100
LONGEST_VALUE = 24


@dataclass(frozen=True)
class Typed:
    """The settings that were typed for one job, and the line of the sweep that it is one of.

    Attributes:
        own: `key=value` as Hydra gave it to the job.
        sweep: the sweep's folder; None for a job of its own.
        asked: the sweep's own settings, with all their values.
    """

    own: Sequence[str] = ()
    sweep: Path | None = None
    asked: Sequence[str] = ()

    @property
    def changed(self) -> dict[str, str]:
        """What the sweep sets otherwise for other jobs, as it is set for this one."""
        return _settings(each for each in self.own if each not in self.asked) if self.sweep else {}

    @property
    def telling(self) -> dict[str, str]:
        """What was typed and tells this run from others."""
        typed = _settings(each for each in self.own if not each.startswith(("+", "~")))
        return {key: value for key, value in typed.items() if not SAY_NOTHING.match(key)}


def typed_for(folder: Path) -> Typed:
    """What Hydra's record in a job's folder says was typed for it; nothing where there is no record."""
    record = _hydra_record(folder / HYDRA_FOLDER / "hydra.yaml")
    own = _strings(record, "overrides", "task")
    if _value(record, "mode") != "MULTIRUN":
        return Typed(own)
    place = Path(str(_value(record, "runtime", "output_dir") or folder))
    sweep = next((above for above in place.parents if any(above.glob(SWEEP_RECORDS))), place.parent)
    lines = sorted(sweep.glob(SWEEP_RECORDS), key=lambda path: path.stat().st_mtime)
    return Typed(own, sweep, _strings(_hydra_record(lines[-1]), "overrides", "task") if lines else ())


def sweep_of(folder: Path, name: str) -> Sweep | None:
    """The sweep whose job works in a folder; None where it is none.

    Args:
        name: what the user calls these runs.
    """
    typed = typed_for(folder)
    if typed.sweep is None:
        return None
    what = ", ".join(short_names(list(typed.changed)).values())
    called = f"{name}: {what}" if what else name
    return Sweep(typed.sweep, _cut(called, LONGEST_NAME), typed.changed, typed.asked)


def ordered(parameters: Mapping[str, Any], typed: Typed) -> dict[str, Any]:
    """All parameters; what was typed leads, then what comparisons are mostly about."""
    usual = [key for key in parameters if key.partition(".")[0] in ("importance", "stop", "seed")]
    return {key: parameters[key] for key in [*typed.telling, *usual] if key in parameters} | dict(parameters)


def run_name(config: DictConfig, choices: Mapping[str, Any], typed: Typed) -> str:
    """What a run is called: in a sweep by what that changes, `l1 share 0.2`, and else `ipad flops 0.25 seed 1`.

    A setting that was typed and is not in there follows; a control leads with its task.
    """
    task = str(choices.get("task", "prune"))
    lead = "" if task == "prune" else f"{task} {config.task.get('same', '')} ".replace("  ", " ")
    if typed.changed:
        return _cut(lead + _words(typed.changed, config, choices), LONGEST_NAME)
    budget = {f"stop.{key}": str(value) for key, value in plain(config.stop).items() if not key.startswith("_")}
    usual = {"importance": str(choices.get("importance", "")), **budget, "seed": str(config.seed)}
    if lead:
        usual = {"seed": str(config.seed)}
    more = {key: value for key, value in typed.telling.items() if key not in usual and key != "stop"}
    return _cut(lead + _words({**usual, **more}, config, choices), LONGEST_NAME)


def _words(settings: Mapping[str, str], config: DictConfig, choices: Mapping[str, Any]) -> str:
    """Settings as words: of a group its option alone, of a value its key as well."""
    short = short_names(list(settings))
    words = []
    for key, value in settings.items():
        value = _cut(value.strip("'\"").rstrip("/").rpartition("/")[2], LONGEST_VALUE)
        words.append(value if key.replace(".", "/") in choices or key in choices else f"{short[key]} {value}")
    return " ".join(word for word in words if word)


def _settings(overrides: Iterator[str]) -> dict[str, str]:
    pairs = (each.lstrip("+").partition("=") for each in overrides)
    return {key.partition("@")[2] or key: value for key, equals, value in pairs if equals}


def _hydra_record(path: Path) -> Mapping[str, Any]:
    try:
        record = read_config(path).get("hydra", {})
    except LabError:
        return {}
    return record if isinstance(record, Mapping) else {}


def _value(record: Any, *keys: str) -> Any:
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _strings(record: Any, *keys: str) -> tuple[str, ...]:
    found = _value(record, *keys)
    return tuple(str(each) for each in found) if isinstance(found, list) else ()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
