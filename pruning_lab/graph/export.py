"""From a live model to exported graphs, leaving the model as it was. Knows torch.export and nothing of channels."""

from __future__ import annotations

import copy
import functools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from pruning_lab.errors import LabError


class TraceError(LabError):
    """The model's graph can't be read; the message says what in the model stopped it."""


Inputs = Tensor | tuple[Tensor, ...]


def as_inputs(example_input: Inputs) -> tuple[Tensor, ...]:
    """The model's positional arguments."""
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    if not inputs or not all(isinstance(item, Tensor) for item in inputs):
        raise TraceError("example_input must be a tensor or a tuple of tensors; pass e.g. torch.zeros(1, 3, 64, 64)")
    return inputs


def tensors_in(output: object) -> Iterator[Tensor]:
    """All tensors of a model's output: itself, or nested in mappings, sequences and dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from tensors_in(item)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for item in output:
            yield from tensors_in(item)
    elif is_dataclass(output):
        for item in fields(output):
            yield from tensors_in(getattr(output, item.name))


def export(model: nn.Module, inputs: tuple[Tensor, ...], training: bool = False) -> ExportedProgram:
    """Export a model's ATen graph in evaluation or in training mode, its outputs as a flat list of tensors.

    Modes, gradients and the model itself are left as they were.

    Raises:
        TraceError: torch.export refuses; the first line of its reason is passed on.
    """
    with modes_kept(model), _flat_outputs(model), warnings.catch_warnings(), _quiet_logs():
        warnings.simplefilter("ignore")
        model.train(training)
        try:
            return torch.export.export(model, inputs, strict=False)
        except Exception as error:
            mode = " in training mode, in which alone some of its layers run" if training else ""
            what = f"{type(error).__name__}: {first_line(error)}"
            raise TraceError(
                f"{type(model).__name__} can't be traced{mode}: {what} (forward must run on tensors alone, with no "
                "branch on their values; else pass connections=, see ChannelGraph.trace)"
            ) from error


def first_line(error: BaseException) -> str:
    """What an exception says, in one line of at most 160 characters."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:160]


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy, also of models whose hooks leave computed weights behind (the old weight_norm and spectral_norm)."""
    computed = [
        tensor
        for module in model.modules()
        for tensor in vars(module).values()
        if isinstance(tensor, Tensor) and tensor.grad_fn is not None
    ]
    return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in computed})


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put every module's training flag and plain tensors back at the end."""
    modes = {module: module.training for module in model.modules()}
    plain = {module: _plain_tensors(module) for module in modes}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            module.__dict__.update(plain[module])


@contextmanager
def _flat_outputs(model: nn.Module) -> Iterator[None]:
    """Let the model return a list of tensors: export takes only such classes around them as it knows."""
    forward = model.forward

    @functools.wraps(forward)
    def flat(*args: Any, **kwargs: Any) -> list[Tensor]:
        return list(tensors_in(forward(*args, **kwargs)))

    before = vars(model).get("forward")
    vars(model)["forward"] = flat
    try:
        yield
    finally:
        del vars(model)["forward"]
        if before is not None:
            vars(model)["forward"] = before


@contextmanager
def random_kept() -> Iterator[None]:
    """Put the random state of the CPU and of every device in use back at the end."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield


def _plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Tensors that are attributes only, as hooks leave them; tracing would put its own in their place."""
    return {key: item for key, item in vars(module).items() if isinstance(item, Tensor)}


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """An export that fails tells its whole story to the log; the exception says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
