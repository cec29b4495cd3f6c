"""What a masked network would give if its normalizations saw only the channels that are left. Knows no rule's details.

A mask leaves all channels in place, and so a softmax or a norm over channels still sees them; a cut takes them away.
Here the exported graph itself is run: where an operator mixes channels, its operands are cut to what is left, the
operator runs on these, and its result is spread out again with zeros. Everything else runs as it stands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from pruning_lab.common.modules import tensors_in
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.rules import MIXING

aten = torch.ops.aten


def run_without(
    program: ExportedProgram,
    values: dict[fx.Node, Any],
    gone: Tensor,
    masked: nn.Module,
    inputs: tuple[Tensor, ...],
) -> list[Tensor]:
    """Outputs of `program` on `inputs`, with the tensors of a masked model, as a flat list.

    Args:
        values: what the interpreter found for every node of the program.
        gone: bool [labels], the labels that a cut would remove.
        masked: the traced model (or a copy of it) after `mask`.
    """
    tensors = dict(masked.named_parameters(remove_duplicate=False)) | dict(masked.named_buffers(remove_duplicate=False))
    kind = next(tensor.dtype for tensor in [*inputs, *tensors.values()] if tensor.is_floating_point())
    given = iter(inputs)
    arguments = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            arguments.append(next(given))
        elif spec.kind == InputKind.CONSTANT_TENSOR:
            constant = program.constants[str(spec.target)]
            arguments.append(constant.to(kind) if constant.is_floating_point() else constant)
        else:
            arguments.append(tensors[str(spec.target)])
    outputs = _Run(program, values, gone).run(*arguments, enable_io_processing=False)
    count = len(program.graph_signature.user_outputs)
    return [output for output in outputs[len(outputs) - count :] if isinstance(output, Tensor)]


class _Run(fx.Interpreter):
    def __init__(self, program: ExportedProgram, values: dict[fx.Node, Any], gone: Tensor) -> None:
        super().__init__(program.graph_module)
        self.values, self.gone = values, gone

    def run_node(self, n: fx.Node) -> Any:
        if n.target not in MIXING or not any(self._left(self.values[source]) for source in n.all_input_nodes):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if self._is_all_gone(self.values[n]):  # torch's _weight_norm of no filters ends the process
            return next(tensors_in(args)).new_zeros(self.values[n].shape)
        known_args, known_kwargs = fx.node.map_arg((n.args, n.kwargs), self.values.__getitem__)
        small = [_select(arg, known, self._left) for arg, known in zip(args, known_args, strict=True)]
        if n.target in (aten.layer_norm.default, aten.rms_norm.default):
            small[1] = list(small[0].shape[args[0].ndim - len(args[1]) :])
        options = {key: _select(kwargs[key], known_kwargs[key], self._left) for key in kwargs}
        result = n.target(*small, **options)  # type: ignore[operator]
        if isinstance(result, Tensor):
            return self._spread(result, self.values[n])
        return [self._spread(item, known) for item, known in zip(result, self.values[n], strict=True)]

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
