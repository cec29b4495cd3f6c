"""`architecture.json`: how the original is built, and what is left of it. Every entry is checked when it is read.

It carries a checksum of the weights' file and one of itself, so that what was damaged or edited on the way is noticed.
Knows JSON and numbers; no module and no tensor.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pruning_lab.checkpoint.trust import DEEPEST, LARGEST_NUMBER, shown
from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.files import write_atomically

FORMAT = "pruning_lab/2"
ARCHITECTURE = "architecture.json"

MOST_BYTES = 16 * 2**20
"""Of the text: the filters of the largest networks take 1 MiB, and parsed text takes many times its size."""


def architecture_text(content: Mapping[str, Any]) -> str:
    """The text of an architecture, with its checksum.

    Raises:
        LabError: something in it can't be written as JSON, or would not be read again.
    """
    try:
        text = json.dumps(sealed(content), indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        what = first_line(error)
        raise LabError(f"the model's builder or about can't be written as JSON ({what}); use plain values") from error
    if len(text) > MOST_BYTES:
        raise LabError(f"the model's about takes more than {MOST_BYTES // 2**20} MiB as JSON; keep less in it")
    _check(json.loads(text), ARCHITECTURE)
    return text


def write_architecture(folder: Path, text: str) -> None:
    """Write what `architecture_text` gave, all of it or nothing."""
    write_atomically(folder / ARCHITECTURE, text)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the checksum of all else in it."""
    return {**content, "sha256": _checksum(content)}


def read_architecture(folder: str | Path) -> dict[str, Any]:
    """The content of `architecture.json`, checked.

    Raises:
        LabError: it is missing, is not JSON, has another format, was changed since it was saved, or an entry is no
            number or name of the kind that stands there.
    """
    path = inside(folder, ARCHITECTURE)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise LabError(f"{path} is larger than {MOST_BYTES // 2**20} MiB; it was written by something else")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except FileNotFoundError as error:
        raise LabError(f"{path} does not exist; give the folder that save() wrote (a run's is <run>/model)") from error
    except (OSError, ValueError, RecursionError) as error:
        what = first_line(error)
        raise LabError(f"{path} can't be read as JSON ({what}); it is damaged, save the model again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LabError(f"{path} is not of format {FORMAT}; it was written by something else, or by another version")
    try:
        intact = content.get("sha256") == _checksum(content)
    except RecursionError:
        intact = False
    if not intact:
        raise LabError(f"{path} was changed since it was saved (its checksum is another); save the model again")
    _check(content, str(path))
    return content


def inside(folder: str | Path, name: str) -> Path:
    """The path of a file of the folder.

    Raises:
        LabError: it is a link out of the folder, or no file.
    """
    path = Path(folder) / name
    if not path.exists() and not path.is_symlink():
        return path
    if Path(folder).resolve() not in path.resolve().parents:
        raise LabError(f"{path} is a link out of its folder; put the file itself there")
    if path.exists() and not path.is_file():
        raise LabError(f"{path} is no file; it is damaged, save the model again")
    return path


def _checksum(content: Mapping[str, Any]) -> str:
    rest = {key: item for key, item in content.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check(content: Mapping[str, Any], path: str) -> None:
    """Raises LabError for the first entry that no saved model has."""

    def need(fits: bool, where: str, wanted: str) -> None:
        if not fits:
            raise LabError(f"{path}: {shown(where)} is not {wanted}; it is damaged, save the model again")

    builder = content.get("builder")
    need(isinstance(builder, dict) and isinstance(builder.get("target"), str), "builder", "a target and its arguments")
    need(isinstance(content["builder"].get("arguments"), dict), "builder.arguments", "a mapping")
    weights = content.get("weights")
    need(isinstance(weights, dict) and isinstance(weights.get("sha256"), str), "weights", "a checksum of the weights")
    for part in ("layers", "groups", "attributes"):
        need(isinstance(content.get(part), dict), part, "a mapping")
    for name, layer in content["layers"].items():
        _check_layer(f"layers.{name}", layer, need)
    for name, groups in content["groups"].items():
        need(_is_count(groups), f"groups.{name}", "a number of groups of at least 1")
    dropped = content.get("dropped")
    need(isinstance(dropped, list) and all(_is_name(name) for name in dropped), "dropped", "a list of modules' names")
    for name, entries in content["attributes"].items():
        need(isinstance(entries, dict) and all(entries), f"attributes.{name}", "a mapping of names to widths")
    about = content.get("about")
    need(isinstance(about, dict) and _is_shallow(about), "about", f"a mapping nested at most {DEEPEST} deep")


def _check_layer(where: str, layer: Any, need: Any) -> None:
    need(isinstance(layer, dict), where, "a mapping")
    for key in ("original", "current"):
        need(_is_count(layer.get(key)), f"{where}.{key}", f"a number of filters from 1 to {LARGEST_NUMBER:,}")
    kept = layer.get("kept")
    need(isinstance(kept, list) and all(type(index) is int for index in kept), f"{where}.kept", "a list of filters")
    rises = all(one < other for one, other in itertools.pairwise(kept))
    fits = len(kept) == layer["current"] and rises and kept[0] >= 0 and kept[-1] < layer["original"]
    need(fits, f"{where}.kept", "as many of the original's filters as are left, in order")


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LARGEST_NUMBER


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return True
    return False
