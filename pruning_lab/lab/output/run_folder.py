"""Reads run folders back: config, history and cards. Knows the files of a run, not how they came to be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pruning_lab.common.errors import LabError
from pruning_lab.lab.output import units
from pruning_lab.lab.output.card import Cards, read_cards
from pruning_lab.lab.output.history import History
from pruning_lab.resources.table import RESOURCES, spelled

HYDRA_FOLDER = "hydra"

SNAPSHOTS = "snapshots"
"""Folder of a run for the models of its last steps, where they are saved."""

UNKNOWN = "unknown"
"""Stands for a choice that nothing tells any more."""

RANDOM_CONTROLS = ("random", "uniform", "largest_layer_random", "random_at_widths")
"""Options of `importance` that are there to be beaten."""


@dataclass(frozen=True)
class Run:
    """A finished run as its folder holds it. `history` has a row for the base and at least one more."""

    folder: Path
    config: Mapping[str, Any]
    history: History
    cards: Cards

    @cached_property
    def choices(self) -> Mapping[str, Any]:
        """The option that Hydra chose in every config group, see `choices_of`."""
        return choices_of(self.folder)


def read_run(folder: Path) -> Run:
    """Read `config.yaml`, `history.csv` and `card.json`. Raises LabError naming a missing or broken file."""
    folder = Path(folder)
    history = History.read(folder / "history.csv")
    if len(history) < 2:
        raise LabError(f"{folder / 'history.csv'}: no pruning step was done; give the folder of a finished run")
    return Run(folder, read_config(folder / "config.yaml"), history, read_cards(folder))


def choices_of(folder: Path) -> Mapping[str, Any]:
    """The option that Hydra chose in every group, as the run's own record has it; empty where there is none."""
    path = Path(folder) / HYDRA_FOLDER / "hydra.yaml"
    if not path.is_file():
        return {}
    node: Any = read_config(path)
    for key in ("hydra", "runtime", "choices"):
        node = node.get(key) if isinstance(node, Mapping) else None
    return {str(group): choice for group, choice in node.items()} if isinstance(node, Mapping) else {}


def choice_of(run: Run, group: str) -> str:
    """The option chosen in a config group; where no record is left, the last word of its `_target_`."""
    return _chosen(run.config, run.choices, group)


def data_name(run: Run) -> str:
    """`eyes`; for a folder of images, that folder's name."""
    return _data_name(run.config, run.choices)


def about_run(folder: Path) -> str:
    """Data, model, method and seed in a line, as figures name a run; empty where its folder holds no config."""
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        return ""
    config, choices = read_config(path), choices_of(folder)
    names = [_data_name(config, choices), *(_chosen(config, choices, group) for group in ("model", "importance"))]
    return ", ".join([*(name for name in names if name != UNKNOWN), f"seed {config.get('seed', 0)}"])


def shortest(folder: Path) -> Path:
    """Relative to where we are, if it is below; pages should not tell where a machine keeps its files."""
    here, folder = Path.cwd().resolve(), Path(folder).resolve()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _chosen(config: Mapping[str, Any], choices: Mapping[str, Any], group: str) -> str:
    if choices.get(group) is not None:
        return str(choices[group])
    node = config.get(group)
    target = node.get("_target_") if isinstance(node, Mapping) else None
    return str(target).rpartition(".")[2] if target else UNKNOWN


def _data_name(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    node = config.get("data", {})
    if isinstance(node, Mapping) and str(node.get("_target_")).endswith(".Folder") and node.get("root"):
        return Path(str(node["root"])).name
    return _chosen(config, choices, "data")


def budget_of(run: Run) -> dict[str, float]:
    """Resource -> fraction of the base's that the run was to reach; empty where its config's `stop` names none."""
    stop = run.config.get("stop", {})
    wanted = dict(_limits(stop)) if isinstance(stop, Mapping) else {}
    return {name: wanted[name] for name in RESOURCES if name in wanted}


def budget_text(run: Run) -> str:
    """What the run was to reach, as its config's `stop` says: "25 % FLOPs"; else what it did reach."""
    parts = [f"{_short(limit)} {spelled(name)}" for name, limit in budget_of(run).items()]
    if not parts:
        return f"{units.percent(run.cards.left['flops'])} {spelled('flops')} reached"
    return ", ".join(parts)


def read_config(path: Path) -> Mapping[str, Any]:
    """A config as plain dicts, interpolations as they are written. Raises LabError naming a broken file."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"{path}: can't be read ({error.strerror}); give the folder of a finished run") from error
    except yaml.YAMLError as error:
        raise LabError(f"{path}: not YAML ({' '.join(str(error).split())}); correct the file") from error
    if not isinstance(config, dict):
        raise LabError(f"{path}: not a config; give the folder of a finished run")
    return {str(key): value for key, value in config.items()}


def _limits(node: Mapping[Any, Any]) -> Iterator[tuple[str, float]]:
    """Every resource with a number, at any depth: stop rules may be made of others."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _limits(value)
        elif key in RESOURCES and isinstance(value, int | float):
            yield str(key), float(value)


def _short(fraction: float) -> str:
    return f"{100 * fraction:g} %"
