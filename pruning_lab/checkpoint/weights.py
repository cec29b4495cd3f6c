"""`weights.safetensors`: every parameter and buffer, written and read without pickle, and put into a model.

Knows modules and tensors, and nothing of how a model is built.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pruning_lab.checkpoint.architecture import inside
from pruning_lab.checkpoint.trust import shown
from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.files import replacing
from pruning_lab.common.modules import check_has_values
from pruning_lab.graph.cutting.held_tensors import holders_of

WEIGHTS = "weights.safetensors"


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, on the CPU, also buffers that a state dict leaves out.

    Raises:
        LabError: one of them has no values, or none of a kind that can be written.
    """
    check_has_values(model)
    found: dict[str, Tensor] = {}
    stored: set[int] = set()
    for name, tensor in named_tensors(model):
        if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
            kind = "complex" if tensor.is_complex() else "sparse or quantized"
            raise LabError(f"{name} of {type(model).__name__} is {kind}; save a model of plain tensors")
        given = tensor.detach().cpu().contiguous()
        # The format takes no two tensors that share memory, which views of one another do.
        storage = given.untyped_storage().data_ptr()
        found[name] = given.clone() if storage and storage in stored else given
        stored.add(storage)
    return found


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer once, by the first of its names."""
    return [*model.named_parameters(), *model.named_buffers()]


@contextmanager
def new_weights(folder: Path, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Write tensors beside the folder's weights, whose place they take when the block ends without an error.

    Yields:
        the file's checksum.
    """
    with replacing(folder / WEIGHTS) as draft:
        save_file(dict(tensors), draft)
        with open(draft, "rb") as stream:
            os.fsync(stream.fileno())
        yield _checksum(draft)


def read_weights(folder: str | Path, checksum: str) -> dict[str, Tensor]:
    """The tensors by their names.

    Raises:
        LabError: the file is missing, damaged, or not the one that was saved.
    """
    path = inside(folder, WEIGHTS)
    try:
        if _checksum(path) != checksum:
            raise LabError(f"{path} is damaged or another model's (its checksum is another); save the model again")
        return load_file(path)
    except FileNotFoundError as error:
        raise LabError(f"{path} does not exist; the checkpoint is incomplete, save the model again") from error
    except (OSError, SafetensorError) as error:
        what = first_line(error)
        raise LabError(f"{path} can't be read ({what}); it is damaged, save the model again") from error


def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors of at most the original's sizes in place of the original's.

    Raises:
        LabError: they are not those of the model.
    """
    named = named_tensors(model)
    known = {name for name, _ in named}
    missing = [name for name, _ in named if name not in tensors]
    if missing:
        raise LabError(f"the weights have no {missing[0]}, which the original has")
    if unknown := sorted(set(tensors) - known):
        raise LabError(f"the weights have {shown(unknown[0])}, which the original has not")
    for name, old in named:
        new = tensors[name]
        if new.dim() != old.dim() or any(n > o for n, o in zip(new.shape, old.shape, strict=True)):
            raise LabError(f"{name} has shape {tuple(new.shape)}, the original's is {tuple(old.shape)}")
        if new.is_floating_point() != old.is_floating_point():
            raise LabError(f"{name} holds {new.dtype}, the original's holds {old.dtype}")
    modules = dict(model.named_modules())
    places = holders_of(modules, [tensor for _, tensor in named])
    replaced: dict[int, Tensor] = {}
    for name, old in named:
        new = tensors[name]
        replaced[id(old)] = nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new
        for held, key in places[id(old)]:
            held[key] = replaced[id(old)]
    for module in modules.values():
        _replace_in_lists(module.__dict__, replaced)


def _replace_in_lists(attributes: dict[str, Any], replaced: Mapping[int, Tensor]) -> None:
    """Recurrent layers keep their parameters in a list as well, which is what they run with."""
    for value in attributes.values():
        if isinstance(value, list):
            value[:] = [replaced.get(id(item), item) if isinstance(item, Tensor) else item for item in value]


def _checksum(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
