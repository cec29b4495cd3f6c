"""What a masked network would give if its normalizations saw only the channels that are left. Knows no rule's details.

A mask leaves all channels in place, and so a softmax or a norm over channels still sees them; a cut takes them away.
Here the recorded tape itself is run: where an operator mixes channels, its operands are cut to what is left, the
operator runs on these, and its result is spread out again with zeros. Everything else runs as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.modules import tensors_in
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.rules import MIXING
from pruning_lab.graph.tracing.tape import Step, replaced

aten = torch.ops.aten


def run_without(
    steps: Sequence[Step],
    given: dict[Step, Tensor],
    outputs: list[Step],
    values: dict[Step, Any],
    gone: Tensor,
    masked: nn.Module,
) -> list[Tensor]:
    """Outputs of a recorded pass, or of a stretch of one, with the tensors of a masked model, as a flat list.

    Args:
        given: the tensors from which it starts, the model's own and constants aside.
        values: what the interpreter found for every step.
        gone: bool [labels], the labels that a cut would remove.
        masked: the traced model (or a copy of it, or of the part that runs in the stretch) after `mask`.
    """
    tensors = dict(masked.named_parameters(remove_duplicate=False)) | dict(masked.named_buffers(remove_duplicate=False))
    kind = next(tensor.dtype for tensor in [*given.values(), *tensors.values()] if tensor.is_floating_point())
    run = _Run(values, gone)
    known: dict[Step, Any] = {}

    def value(step: Step) -> Any:
        if step in given:
            return given[step]
        if step not in known and step.name:
            return tensors[step.name].detach()
        if step not in known and step.constant is not None:
            return step.constant.to(kind) if step.constant.is_floating_point() else step.constant
        return known[step]

    last = {source: step for step in steps for source in step.sources if source not in outputs}
    for step in steps:
        if step.target is not None:
            known[step] = run(step, {source: value(source) for source in step.sources})
        for source in step.sources:
            if last.get(source) is step:
                known.pop(source, None)
    return [value(step) for step in outputs]


class _Run:
    """Runs steps as they stand, or, where one mixes channels, on the channels that are left."""

    def __init__(self, values: dict[Step, Any], gone: Tensor) -> None:
        self.values, self.gone = values, gone

    def __call__(self, step: Step, known: dict[Step, Any]) -> Any:
        args, kwargs = _arguments(step, known)
        if step.target not in MIXING or not any(self._left(self.values[source]) for source in step.sources):
            return step.target(*args, **kwargs)
        if self._is_all_gone(self.values[step]):  # torch's _weight_norm of no filters ends the process
            return next(tensors_in(args)).new_zeros(self.values[step].shape)
        known_args, known_kwargs = _arguments(step, self.values)
        small = [_select(arg, other, self._left) for arg, other in zip(args, known_args, strict=True)]
        if step.target in (aten.layer_norm.default, aten.rms_norm.default):
            small[1] = list(small[0].shape[args[0].ndim - len(args[1]) :])
        if step.target is aten.group_norm.default and args[1] == args[0].shape[1]:  # each channel is a group
            small[1] = small[0].shape[1]
        options = {key: _select(kwargs[key], known_kwargs[key], self._left) for key in kwargs}
        result = step.target(*small, **options)
        if isinstance(result, Tensor):
            return self._spread(result, self.values[step])
        return [self._spread(one, other) for one, other in zip(result, self.values[step], strict=True)]

    def _left(self, value: Any) -> dict[int, Tensor]:
        """Dimension -> indices that are left, for the dimensions that lose any."""
        if not isinstance(value, Labelled):
            return {}
        left = {dim: (~self.gone[row]).nonzero().squeeze(1) for dim, row in value.axes.items()}
        return {dim: index for dim, index in left.items() if len(index) < value.shape[dim]}

    def _is_all_gone(self, value: Any) -> bool:
        return any(len(index) == 0 for index in self._left(value).values())

    def _spread(self, result: Tensor, value: Labelled) -> Tensor:
        for dim, index in self._left(value).items():
            shape = [*result.shape]
            shape[dim] = value.shape[dim]
            result = result.new_zeros(shape).index_copy(dim, index.to(result.device), result)
        return result


def _select(item: Any, known: Any, left: Any) -> Any:
    """Cut a tensor, or every tensor of a list, to the channels that are left."""
    if isinstance(item, (list, tuple)):
        return [_select(one, other, left) for one, other in zip(item, known, strict=True)]
    if isinstance(item, Tensor):
        for dim, index in left(known).items():
            item = item.index_select(dim, index.to(item.device))
    return item


def _arguments(step: Step, values: dict[Step, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    kwargs = {key: replaced(arg, values.__getitem__) for key, arg in step.kwargs.items()}
    return replaced(step.args, values.__getitem__), kwargs
