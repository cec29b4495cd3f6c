"""Values of a config held against the annotations of what takes them, before anything is built. Knows no Hydra.

Names of keys are checked elsewhere. Here a value that has the wrong type gets one line that says which it must have.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from pruning_lab.common.errors import LabError
from pruning_lab.common.machine import memory_bytes, most_threads

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
"""Types that a config file can spell -> what to call them."""

LISTS = (list, tuple, Sequence)
MAPPINGS = (dict, Mapping)


def check_value(key: str, value: Any, annotation: Any) -> None:
    """Hold a plain value against an annotation; what a config can't spell (a callable, a tensor) is not looked at.

    Raises:
        LabError: naming the key, the value and what it must be.
    """
    wanted = _spellable(annotation)
    if wanted is None:
        return
    try:
        TypeAdapter(wanted, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value, strict=True)
    except ValidationError as error:
        place, found = _innermost(key, value, error)
        where = "" if place == key else f"{key} "
        raise LabError(f"{place}={found} does not fit; {where}must be {described(wanted)}") from None
    except PydanticUserError:  # an annotation that pydantic can't hold values against
        return


def annotations_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Parameter -> its annotation, of a function or of a class's constructor; empty where they can't be resolved.

    `**` stands for any other parameter, where such are taken.
    """
    function: Any = target.__init__ if inspect.isclass(target) else target
    try:
        found = typing.get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, AttributeError, ValueError):
        return {}
    others = [found[each.name] for each in parameters if each.kind is each.VAR_KEYWORD and each.name in found]
    return found | {"**": others[0]} if others else found


def described(annotation: Any) -> str:
    """An annotation in words: `a number or null`."""
    return " or ".join(dict.fromkeys(_words(one) for one in _alternatives(annotation)))


def _words(annotation: Any) -> str:
    if annotation in PLAIN:
        return PLAIN[annotation]
    origin, inner = get_origin(annotation) or annotation, get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(map(str, inner))
    if origin in LISTS:
        return f"a list of ({described(inner[0])})" if inner else "a list"
    return f"a mapping to ({described(inner[1])})" if len(inner) > 1 else "a mapping"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _spellable(annotation: Any) -> Any:
    """The annotation with tuples as lists, as YAML has no tuples; None if any part of it can't be spelled in YAML."""
    if annotation in PLAIN:
        return annotation
    origin, inner = get_origin(annotation) or annotation, get_args(annotation)
    if origin in (Union, types.UnionType):
        parts = [part for part in map(_spellable, inner) if part is not None]
        # What can't be spelled comes as a node with a target, and is not looked at here.
        return None if set(parts) <= {type(None)} else Union[tuple(parts)]  # noqa: UP007 - made at run time
    if origin is typing.Literal:
        return annotation
    if origin in LISTS:
        parts = [_spellable(one) for one in inner if one is not ...]
        return None if None in parts else list[parts[0]] if len(set(parts)) == 1 else list  # type: ignore[valid-type]
    if origin in MAPPINGS:
        value = _spellable(inner[1]) if len(inner) > 1 else None
        return None if value is None else dict[Any, value]  # type: ignore[valid-type]
    return None


def _innermost(key: str, value: Any, error: ValidationError) -> tuple[str, Any]:
    """Where in a nested value the fault lies, and what stands there."""
    found: Any = value
    for part in error.errors()[0]["loc"]:
        if isinstance(found, Mapping) and part in found:
            key, found = f"{key}.{part}", found[part]
        elif isinstance(found, Sequence) and not isinstance(found, str) and isinstance(part, int):
            key, found = f"{key}[{part}]", found[part]
    return key, found


def check_known(config: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises LabError for the first top-level key that there is not."""
    for key in config:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else "groups and keys are listed in conf/config.yaml"
            raise LabError(f"{key} is not a key of the lab; {hint}")


def check_ranges(config: Mapping[str, Any]) -> None:
    """Raises LabError for the first value of the right type that is impossible all the same."""
    _check_image_size(config)
    for key, (fits, wanted) in RANGES.items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if not fits(value):
            raise LabError(f"{key}={value} must be {wanted}")


def _check_image_size(config: Mapping[str, Any]) -> None:
    """Raises LabError for images of which one alone does not fit the memory, with what a single filter makes of it."""
    data = config.get("data")
    sides = data.get("size") if isinstance(data, Mapping) else None
    if sides is None:
        return
    if len(sides) != 2 or min(sides) < 1:
        raise LabError(f"data.size={list(sides)} is no size; give [height, width] in pixels, each 1 or more")
    needed = 2 * BYTES_PER_NUMBER * math.prod(sides)
    if needed > memory_bytes():
        raise LabError(
            f"data.size={list(sides)}: one image takes {needed / 1e9:.3g} GB, and this machine has "
            f"{memory_bytes() / 1e9:.3g} GB of memory; give [height, width] in pixels that fit"
        )


BYTES_PER_NUMBER = 4

RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "devices": (
        lambda value: value is None or 1 <= value <= most_threads(),
        f"at least 1 and at most {most_threads()} on this machine, or null for as many as were started",
    ),
    "threads": (
        lambda value: value is None or 1 <= value <= most_threads(),
        f"at least 1 and at most {most_threads()} on this machine, or null for a share of the machine",
    ),
    "max_steps": (lambda value: value is None or value >= 0, "at least 0, or null for as many as the budget takes"),
    "longest_pass": (lambda value: value is None or value > 0, "seconds, more than 0, or null for any"),
    "seed": (lambda value: 0 <= value < 2**32, "at least 0 and below 2**32"),
    "loader.batch_size": (lambda value: value is None or value >= 1, "at least 1"),
    "loader.workers": (
        lambda value: not isinstance(value, int) or 0 <= value <= most_threads(),
        f"at least 0 and at most {most_threads()} on this machine",
    ),
    "loader.score_images": (lambda value: value is None or value >= 1, "at least 1"),
    "base.seed": (lambda value: value is None or 0 <= value < 2**32, "at least 0 and below 2**32"),
    "loss.ignore_index": (lambda value: value is None or 0 <= value < 256, "a value of masks, 0 to 255, or null"),
    "loss.dice_weight": (lambda value: value is None or 0 <= value < math.inf, "a number that is not negative"),
    "tracking.experiment": (lambda value: value is None or bool(str(value).strip()), "a name, and not empty"),
    "name": (
        lambda value: re.fullmatch(r"[^\s./\\][^/\\]*", value) is not None,
        "a plain word, with neither slashes nor a leading dot: it is part of the run's folder",
    ),
}
"""Key -> whether a value is possible, and what it must be; for values that no class sees before the data is read."""
