"""Which runs of a study are the same method, what to call it, and which other settings differ. Reads configs only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning_lab.lab.output.run_folder import Run, choice_of, choices_of
from pruning_lab.resources.table import RESOURCES
from pruning_lab.tasks.config import leaves

VARIED = ("importance", "seed", "stop", "task", *(f"validation.promise.{name}" for name in (*RESOURCES, "either")))
"""Settings that are what a study varies, or follow from them."""

OF_THE_BASE = ("model", "data", "augmentation", "loss", "base", "drop_unused", "connections")
"""Settings that the hash of the base stands for, or that lead to the same base on another machine."""

OF_THE_PLACE = ("name", "output_root", "bases", "returns", "tracking", "verify", "target.cache")
"""Settings that no result depends on."""

OF_THE_MACHINE = ("device", "threads", "deterministic", "latency", "loader.workers", "precision", "channels_last")
"""Settings that may change seconds; they are told, but do not make another method."""

ABSENT = "not set"

Settings = Mapping[str, Hashable]
"""Dotted key -> value."""


@dataclass(frozen=True)
class Described:
    """A run beside the others of its base.

    Attributes:
        method: its name in tables, the same for all seeds and budgets.
        differing: setting -> value of those that are not the same in all runs of its base, apart from what a study
            varies.
    """

    run: Run
    method: str
    differing: Mapping[str, Any]


def describe(runs: Sequence[Run]) -> list[Described]:
    """Name the method of every run.

    A name is the option of `importance` that Hydra recorded, else the class; where two methods from one base would
    have the same name, the settings in which they differ are added. Seeds never make a method of their own.
    """
    bases = [run.cards.base_hash for run in runs]
    titles = [_title(run) for run in runs]
    differing = _apart([_common_settings(run) for run in runs], bases)
    splitting = [
        {key: value for key, value in settings.items() if not _under(key, OF_THE_MACHINE)} for settings in differing
    ]
    namesakes = list(zip(bases, titles, strict=True))
    settings = [{**_own_settings(run), **others} for run, others in zip(runs, splitting, strict=True)]
    told = _fewest(_apart(settings, namesakes), namesakes)
    names = [", ".join([title, *map(_spell, own.items())]) for title, own in zip(titles, told, strict=True)]
    return [Described(*parts) for parts in zip(runs, names, differing, strict=True)]


def changed_settings(runs: Sequence[Run]) -> list[dict[str, Hashable]]:
    """Of runs from one base, what each has of the settings that all have and that are not the same in all of them.

    Method, budget and seed are left out, and which class an option is of.
    """
    apart = _apart([{**_own_settings(run), **_common_settings(run)} for run in runs], [""] * len(runs))
    everywhere = [
        key
        for key in (apart[0] if apart else {})
        if all(own[key] != ABSENT for own in apart) and not key.endswith("._target_")
    ]
    return [{key: own[key] for key in everywhere} for own in apart]


def task_of(run: Run) -> str:
    """`prune`, or the control that the run is."""
    return choice_of(run, "task") if run.config.get("task") else "prune"


def _title(run: Run) -> str:
    importance = choice_of(run, "importance")
    if importance == "random_at_widths":
        importance += f" of {_compared_with(run.config['importance'])}"
    task = task_of(run)
    if task in ("prune", "unknown"):
        return importance
    same = run.config["task"].get("same")
    return f"{task} of {importance}" + (f", same {same}" if same else "")


def _compared_with(node: Mapping[str, Any]) -> str:
    """The method of the run that a control was made for; its folder's name where that is gone."""
    folder = Path(str(node.get("run")))
    return str(choices_of(folder).get("importance") or folder.name)


def _own_settings(run: Run) -> Settings:
    """The importance's settings without seeds and without the folder of a run to compare with."""
    flat = _flat(run.config.get("importance"), "importance")
    return {key: value for key, value in flat.items() if key.rpartition(".")[2] != "seed" and key != "importance.run"}


def _common_settings(run: Run) -> Settings:
    """What should be the same in all runs of a comparison."""
    ignored = (*VARIED, *OF_THE_BASE, *OF_THE_PLACE)
    return {key: value for key, value in _flat(run.config).items() if not _under(key, ignored) and value is not None}


def _apart(settings: Sequence[Settings], kinds: Sequence[Hashable]) -> list[dict[str, Hashable]]:
    """For every item, the settings that are not the same in all items of its kind."""
    result: list[dict[str, Hashable]] = []
    for own, kind in zip(settings, kinds, strict=True):
        alike = [other for other, its_kind in zip(settings, kinds, strict=True) if its_kind == kind]
        keys = dict.fromkeys(key for other in alike for key in other)
        differing = [key for key in keys if len({other.get(key, ABSENT) for other in alike}) > 1]
        result.append({key: own.get(key, ABSENT) for key in differing})
    return result


def _fewest(settings: Sequence[Settings], kinds: Sequence[Hashable]) -> list[Settings]:
    """Of every item's settings, as few as tell it apart from the other items of its kind."""
    result: dict[int, Settings] = {}
    for kind in dict.fromkeys(kinds):
        members = [index for index, its_kind in enumerate(kinds) if its_kind == kind]
        alike = [settings[index] for index in members]
        chosen: list[str] = []
        while _classes(alike, chosen) < _classes(alike, list(alike[0])):
            chosen.append(max(alike[0], key=lambda key: _classes(alike, [*chosen, key])))
        result |= {index: {key: settings[index][key] for key in chosen} for index in members}
    return [result[index] for index in range(len(settings))]


def _classes(settings: Sequence[Settings], keys: Sequence[str]) -> int:
    """How many different items there are, if one looks at these keys only."""
    return len({tuple(own[key] for key in keys) for own in settings})


def _flat(tree: Any, path: str = "") -> dict[str, Hashable]:
    """Dotted path -> value; lists as text, so that they can be compared."""
    return {key: str(value) if isinstance(value, (list, dict)) else value for key, value in leaves(tree, path)}


def _under(key: str, places: Sequence[str]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)


def _spell(setting: tuple[str, Any]) -> str:
    """importance.own._target_ -> "own=WeightNorm"."""
    key, value = setting
    if key.endswith("._target_"):
        key, value = key.removesuffix("._target_"), str(value).rpartition(".")[2]
    return f"{key.removeprefix('importance.')}={value}"
