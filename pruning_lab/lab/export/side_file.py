"""What those need to know who run an exported file, as JSON beside it. Knows files; no network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pruning_lab import __version__
from pruning_lab.common.files import write_atomically
from pruning_lab.lab.export.deployed import FULL_BYTE, input_type
from pruning_lab.lab.export.options import ExportOptions, Format, Precision
from pruning_lab.lab.export.sizes import TakenSizes
from pruning_lab.lab.export.writing import INPUT, SIDES, SIDES_OF_VOLUMES
from pruning_lab.lab.input_facts import InputFacts

ENDING = ".json"


def write_side_file(
    path: Path,
    form: Format,
    precision: Precision,
    facts: InputFacts,
    options: ExportOptions,
    sizes: TakenSizes,
    dimensions: int,
    outputs: Sequence[str],
    more: Mapping[str, Any],
) -> Path:
    """Write `model.onnx.json` beside `model.onnx`, and so on.

    Args:
        path: of the exported file.
        sizes: of the images that it takes.
        dimensions: of an image, 2 or 3.
        outputs: names, in their order.
        more: whatever else is worth telling.
    """
    content = {
        "file": path.name,
        "sha256": sha256(path),
        "format": form,
        "precision": precision,
        "input": {
            "name": INPUT,
            "dtype": str(input_type(facts, options)).removeprefix("torch."),
            "layout": f"[N, {len(facts.mean)}, {', '.join(SIDES if dimensions == 2 else SIDES_OF_VOLUMES)}]",
            "pixels": options.pixels,
            "channels": len(facts.mean),
            "any_batch": sizes.any_batch,
            "size": None if sizes.fixed is None else list(sizes.fixed),
            "multiple": sizes.multiple if sizes.fixed is None else None,
            "least": sizes.least if sizes.fixed is None else None,
            "sizes": sizes.in_words(),
        },
        "outputs": list(outputs),
        "head": options.head,
        "classes": list(facts.class_names),
        "ignore_index": facts.ignore_index,
        "normalization": {
            "in_the_file": options.pixels != "normalized",
            "mean": list(facts.mean),
            "std": list(facts.std),
            "scale": _scale(facts),
        },
        "training": {
            "size": None if facts.size is None else list(facts.size),
            "resized": facts.resized,
            "file_size": None if facts.file_size is None else list(facts.file_size),
        },
        "made_by": {"pruning_lab": __version__, "torch": torch.__version__},
        **more,
    }
    side = path.with_name(path.name + ENDING)
    write_atomically(side, json.dumps(content, indent=2) + "\n")
    return side


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _scale(facts: InputFacts) -> dict[str, Any]:
    """From stored numbers to 0..1, before mean and std."""
    if facts.scale is None:
        return {"low": [0.0] * len(facts.mean), "high": [FULL_BYTE] * len(facts.mean), "clip": False}
    return {"low": list(facts.scale.low), "high": list(facts.scale.high), "clip": facts.scale.clip}
