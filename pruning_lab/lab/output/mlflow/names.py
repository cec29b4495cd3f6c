"""Names, texts and sizes that MLflow takes. Makes no call."""

import csv
import getpass
import io
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")

# Limits of MLflow's REST interface.
LONGEST_PARAMETER = 6000
LONGEST_TAG = 8000
MOST_PARAMETERS_PER_CALL = 100
MOST_METRICS_PER_CALL = 1000


def with_safe_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` under names that MLflow accepts: one odd character would have the whole call refused."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        safe = posixpath.normpath(re.sub(r"[^\w\-. /:]", "_", name)).lstrip("/.")[:250] or "_"
        while safe in result:
            safe += "_"
        result[safe] = value
    return result


def parameter_text(value: Any) -> str:
    """The value as a config or a command line would spell it, cut where MLflow's limit is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return shortened(str(value), LONGEST_PARAMETER)


def tag_text(text: str) -> str:
    """The text, cut where MLflow's limit is; in bytes, as it counts."""
    while len(text.encode()) > LONGEST_TAG:
        text = shortened(text, len(text) * LONGEST_TAG // (len(text.encode()) + 3))
    return text


def shortened(text: str, longest: int) -> str:
    """The text, or its beginning and a dot-dot-dot."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; the header is the union of their names."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, at most `size` of them at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def user() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "unknown"
