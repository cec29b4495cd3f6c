"""From a live model to exported graphs, leaving the model as it was. Knows torch.export and nothing of channels."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode, tensors_in, told


class TraceError(LabError):
    """The model's graph can't be read; the message says what in the model stopped it."""


Inputs = Tensor | tuple[Tensor, ...]


def as_inputs(example_input: Inputs) -> tuple[Tensor, ...]:
    """The model's positional arguments."""
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    if not inputs or not all(isinstance(item, Tensor) for item in inputs):
        raise TraceError("example_input must be a tensor or a tuple of tensors; pass e.g. torch.zeros(1, 3, 64, 64)")
    return inputs


def export(model: nn.Module, inputs: tuple[Tensor, ...], training: bool = False) -> ExportedProgram:
    """Export a model's ATen graph in evaluation or in training mode, its outputs as a flat list of tensors.

    Modes, gradients and the model itself are left as they were.

    Raises:
        TraceError: torch.export refuses; the first line of its reason is passed on.
    """
    with in_mode(model, training), _flat_outputs(model), warnings.catch_warnings(), _quiet_logs():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(model, inputs, strict=False)
        except Exception as error:
            mode = " in training mode, in which alone some of its layers run" if training else ""
            raise TraceError(
                f"{type(model).__name__} can't be traced{mode}: {told(error)} (forward must run on tensors alone, with "
                "no branch on their values; else pass connections=, see ChannelGraph.trace)"
            ) from error


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
def _quiet_logs() -> Iterator[None]:
    """An export that fails tells its whole story to the log; the exception says enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
