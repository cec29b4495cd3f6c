"""From YAML to objects: the schema, the check of every key, and the parts that an experiment is made of.

Besides `__main__` the only module that knows Hydra. It imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import get_method, instantiate
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.files import write_atomically
from pruning_lab.tasks.job_names import register_names
from pruning_lab.tasks.mistakes import own_frame
from pruning_lab.tasks.outcome import Outcome
from pruning_lab.tasks.plugins import PLUGINS
from pruning_lab.tasks.values import annotations_of, check_known, check_ranges, check_value

BUILT_EARLY = (
    "loader",
    "loss",
    "base",
    "selection",
    "floors",
    "stop",
    "recovery",
    "distillation",
    "validation",
    "latency",
    "target",
    "tracking",
)
"""Groups that are built once before any data is read, so that an impossible value is said at once."""

HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


@dataclass
class LabConfig:
    """Every top-level key. A group's own keys are the parameters of its `_target_`."""

    task: Any = MISSING
    model: Any = MISSING
    data: Any = MISSING
    loader: Any = MISSING
    augmentation: Any = MISSING
    loss: Any = MISSING
    base: Any = MISSING
    importance: Any = MISSING
    selection: Any = MISSING
    floors: Any = MISSING
    stop: Any = MISSING
    compensation: Any = MISSING
    recovery: Any = MISSING
    distillation: Any = MISSING
    validation: Any = MISSING
    latency: Any = MISSING
    target: Any = None
    tracking: Any = MISSING
    name: str = MISSING
    seed: int = MISSING
    device: str = MISSING
    devices: int | None = None
    threads: int | None = None
    save_every: Any = "auto"
    rerun: bool = False
    precision: str = MISSING
    channels_last: bool = MISSING
    clip_norm: float | None = None
    deterministic: bool = MISSING
    pictures: bool = MISSING
    verify: bool = MISSING
    check: bool = MISSING
    longest_pass: float | None = None
    drop_unused: bool = MISSING
    connections: str | None = None
    max_steps: int | None = None
    output_root: str = MISSING
    bases: str = MISSING
    may_lack: list[str] = field(default_factory=list)
    returns: Any = MISSING


SWEEP = {"_target_": f"{PLUGINS}.Sweep", "max_batch_size": None, "params": None}
"""What the sweep of `sweeper.py` takes: the same as Hydra's own plain one. It has no type, so that presets of searches
can put a search in its place: Hydra lets no preset choose what config.yaml has chosen."""


@dataclass
class SearchConfig:
    """What the search of `search/sweeper.py` takes."""

    _target_: str = f"{PLUGINS}.Search"
    _recursive_: bool = False
    study_name: str = "${name}"
    n_trials: int = 20
    directions: Any = None
    seed: int = 0
    max_batch_size: int | None = None
    sampler: Any = None
    pruner: Any = None
    prune_by: str = "val/iou"
    params: dict[str, str] | None = None


def register_schema() -> None:
    """Make known to Hydra what conf/config.yaml speaks of: the schema, the sweep, and the names of jobs."""
    store = ConfigStore.instance()
    store.store(name="lab_schema", node=LabConfig)
    store.store(group="hydra/sweeper", name="resumable", node=SWEEP, provider="pruning_lab")
    for group in ("hydra/sweeper", "hydra/search"):  # by the second one presets of searches speak of it
        store.store(group=group, name="optuna", node=SearchConfig, provider="pruning_lab")
    register_names()


def conf_folder() -> Path:
    """The tree of choices: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def check_keys(config: DictConfig) -> None:
    """Hold every key beside a `_target_` against the parameters of what it names.

    Those that `may_lack` lists are taken out where they are no parameters.

    Raises:
        LabError: a key is no parameter, a parameter without a default is missing, or the target can't be found.
    """
    _leave_out(config)
    for path, node in _targets(config, ""):
        target = OmegaConf.to_container(node, resolve=False)["_target_"]  # type: ignore[index, call-overload]
        signature = signature_of(path, str(target))
        if signature is not None:
            _check_node(path, node, str(target), signature)
            _check_values(path, node, find(f"{path}._target_", str(target)))


def _leave_out(config: DictConfig) -> None:
    for path in config.get("may_lack", ()):
        parent, _, key = path.rpartition(".")
        node = OmegaConf.select(config, parent)
        if not OmegaConf.is_dict(node) or key not in node or OmegaConf.is_missing(node, "_target_"):
            continue
        signature = signature_of(parent, str(node.get("_target_")))
        if signature is not None and key not in signature.parameters:
            with open_dict(node):
                del node[key]
    if config.get("may_lack"):
        config.may_lack = []


def _targets(node: Any, path: str) -> Iterator[tuple[str, DictConfig]]:
    if OmegaConf.is_dict(node):
        if "_target_" in node.keys():  # noqa: SIM118 - `in node` is False where the value is missing
            if OmegaConf.is_missing(node, "_target_"):
                raise LabError(f"{path}._target_ is not set; give the dotted path of a class or function")
            yield path, node
        for key in node:
            if not OmegaConf.is_missing(node, key):
                yield from _targets(node._get_node(key), f"{path}.{key}".lstrip("."))
    elif OmegaConf.is_list(node):
        for index in range(len(node)):
            yield from _targets(node._get_node(index), f"{path}[{index}]")


def find(key: str, path: str) -> Callable[..., Any]:
    """The callable behind a dotted path.

    Raises:
        LabError: naming `key`, if there is none.
    """
    # Hydra logs what goes wrong, over several lines, before it raises it.
    log = logging.getLogger(hydra.utils.__name__)
    before, log.disabled = log.disabled, True
    try:
        return get_method(path)
    except Exception as error:
        reason = str(error).splitlines()[-1] if str(error) else type(error).__name__
        raise LabError(f"{key}={path} can't be imported: {reason}") from error
    finally:
        log.disabled = before


def signature_of(path: str, target: str) -> inspect.Signature | None:
    """The parameters of a target; None for the few built-in callables that tell none."""
    try:
        return inspect.signature(find(f"{path}._target_", target))
    except ValueError:
        return None


def _check_node(path: str, node: DictConfig, target: str, signature: inspect.Signature) -> None:
    parameters = signature.parameters.values()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in node:
        if key in HYDRA_KEYS or key in known or takes_any:
            if OmegaConf.is_missing(node, key):
                raise LabError(f"{path}.{key!s} is not set; give it on the command line: {path}.{key!s}=...")
            continue
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f"did you mean {path}.{near[0]}?" if near else f"it takes {', '.join(known) or 'no parameters'}"
        raise LabError(f"{path}.{key!s} is not a parameter of {target}; {hint}")
    if node.get("_partial_", False):
        return
    for parameter in parameters:
        required = parameter.default is parameter.empty and parameter.name in known
        if required and parameter.name not in node:
            raise LabError(f"{path}.{parameter.name} is missing; {target} needs it")


def _check_values(path: str, node: DictConfig, target: Callable[..., Any]) -> None:
    """Hold plain values against the target's annotations; null may still be filled in from the data."""
    annotations = annotations_of(target)
    for key in node:
        annotation = annotations.get(str(key), annotations.get("**"))
        if key in HYDRA_KEYS or annotation is None or OmegaConf.is_missing(node, key) or node[key] is None:
            continue
        value = plain(node[key])
        if not _holds_target(value):
            check_value(f"{path}.{key!s}", value, annotation)


def _holds_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list) and any(map(_holds_target, value))


def build(node: Any, **more: Any) -> Any:
    """What a node describes: its `_target_` called with its keys, nested nodes first.

    Raises:
        LabError: a target's own complaint, without Hydra's words around it.
    """
    try:
        return instantiate(node, **more, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, LabError):
            raise cause from None
        if cause is not None and own_frame(cause) is not None:
            raise cause from None  # a user's own class, whose line is told where all such are
        key = str(error).rpartition("full_key: ")[2].strip() or "a group"
        if isinstance(cause, OSError) and cause.strerror and cause.filename:
            raise LabError(f"{cause.filename}: {cause.strerror}; let it be read, or correct {key}.*") from error
        what = " ".join(str(error).split()) if cause is None else f"{type(cause).__name__}: {first_line(cause)}"
        raise LabError(f"{key} can't be built ({what}); correct the values of {key}.*") from error


def fill_null(node: Any, **values: Any) -> None:
    """Set keys that a node has and leaves null: facts that come from the data or from another group."""
    for key, value in values.items():
        if OmegaConf.is_dict(node) and key in node and node._get_node(key)._is_none():
            OmegaConf.update(node, key, value)


def plain(node: Any) -> Any:
    """A node as plain dicts and lists, resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def write_config(config: DictConfig, folder: Path) -> None:
    """Write the resolved config into a run's folder."""
    write_atomically(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))


def flat_parameters(config: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Short, grouped names for the tracking store: `importance: ipad`, `importance.omega: 0.5`, ..."""
    flat: dict[str, Any] = {}
    for group, choice in choices.items():
        name = group.rpartition("@")[2].strip("/").replace("/", ".")
        if (choice is not None and not name.startswith("hydra") and name in config) or "." in name:
            flat[name] = choice
    for key, value in leaves(plain(config)):
        leaf = key.rpartition(".")[2]
        if leaf in HYDRA_KEYS - {"_target_"}:
            continue
        if leaf == "_target_":
            flat.setdefault(key.removesuffix("._target_"), value)
        else:
            flat[key] = value
    return flat


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dicts and lists under its dotted path; a list of plain values is one value."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(tree, list) and any(isinstance(item, (dict, list)) for item in tree):
        for index, value in enumerate(tree):
            yield from leaves(value, f"{path}.{index}")
    else:
        yield path, tree


def run_task(config: DictConfig, folder: str, choices: Mapping[str, Any]) -> Outcome:
    """Check a config, and hand it to its task.

    Args:
        folder: the run's own folder.
        choices: the option chosen in every group.
    """
    for key in LabConfig.__dataclass_fields__:
        if OmegaConf.is_missing(config, key):
            raise LabError(f"{key} is not set; choose an option, e.g. on the command line: {key}=...")
    check_known(config, list(LabConfig.__dataclass_fields__))
    check_keys(config)
    check_ranges(config)
    for group in BUILT_EARLY:
        build(config[group])
    task = build(config.task)
    return task(config, Path(folder), choices) or Outcome()
