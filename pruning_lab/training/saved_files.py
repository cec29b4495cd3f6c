"""Tensors and plain data on disk: safetensors and JSON, no pickle. Must not know what they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pruning_lab.common.errors import LabError
from pruning_lab.common.files import replacing, write_atomically


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors; they are on the disk when this returns.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    with replacing(path) as draft:
        save_file(tensors, draft)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises LabError where they are missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise LabError(f"{path} can't be read ({error}); the state is damaged, start the run anew") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain data; it is on the disk when this returns.

    Raises:
        LabError: it is not plain.
    """
    try:
        text = json.dumps(content)
    except TypeError as error:
        raise LabError(f"the optimizer or its schedule keeps more than tensors and numbers ({error})") from error
    write_atomically(path, text)


def read_json(path: Path) -> dict[str, Any]:
    """Raises LabError where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{path} can't be read ({error}); the state is damaged, start the run anew") from error
    if not isinstance(content, dict):
        raise LabError(f"{path} is no saved state; start the run anew")
    return content
