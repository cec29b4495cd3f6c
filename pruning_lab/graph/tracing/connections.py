"""Connections that a user gives by hand: who reads which filter, in the original model's indices.

They override what the trace found for the layers that they answer for. Where a model can't be recorded at all, they
are all there is: one forward pass then tells which layers run, and which normalizations follow which layer directly.
Knows modules and the interpreter, and nothing of surgery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.modules import in_mode, random_kept, told
from pruning_lab.graph.tracing.interpreter import Interpreter, Links
from pruning_lab.graph.tracing.labelled import Labelled
from pruning_lab.graph.tracing.recording import TraceError
from pruning_lab.graph.tracing.tape import Facts, Step

aten = torch.ops.aten

Connections = Callable[[str, int, str], "int | Iterable[int] | None"]
"""(layer, filter, consumer layer) -> the consumer's input channel, or several, or None where it reads none of it."""


def ask(connections: Connections, widths: Mapping[str, int], inputs: Mapping[str, int]) -> Links:
    """Call the user's function for every filter and every consumer.

    Args:
        widths: layer -> number of its filters.
        inputs: consumer -> number of its input channels.

    Raises:
        LabError: the function raises, or names a channel that the consumer does not have.
    """
    links: Links = {}
    for layer, width in widths.items():
        for consumer, channels in inputs.items():
            for index in range(width):
                for channel in _answer(connections, layer, index, consumer):
                    if not 0 <= channel < channels:
                        raise LabError(
                            f"connections gives channel {channel} of {consumer} for filter {index} of {layer}, but "
                            f"{consumer} reads {channels} channels; count from 0 in the original model"
                        )
                    links.setdefault(consumer, []).append((channel, layer, index))
    return links


def _answer(connections: Connections, layer: str, index: int, consumer: str) -> list[int]:
    try:
        answer = connections(layer, index, consumer)
    except Exception as error:
        raise LabError(
            f"connections raises {type(error).__name__} for filter {index} of {layer} and consumer {consumer}: "
            f"{first_line(error)}; return None where there is nothing to say"
        ) from error
    if answer is None:
        return []
    return [int(answer)] if isinstance(answer, int) else [int(item) for item in answer]


def answered(links: Links) -> set[str]:
    """The layers for which the user said anything."""
    return {layer for told in links.values() for _, layer, _ in told}


def interpret_by_hand(
    interpreter: Interpreter, model: nn.Module, inputs: tuple[Tensor, ...], connections: Connections
) -> None:
    """Let the interpreter read a model that can't be recorded: its layers one by one, joined by the user's word.

    Raises:
        TraceError: the model does not run on `inputs`.
        LabError: see `ask`; or there is a layer that none of the answers concern.
    """
    calls = _record(model, inputs)
    layers = {call.name: call.width for call in calls if call.is_layer}
    links = ask(connections, layers, {call.name: call.channels for call in calls})
    interpreter.links = links
    for call in calls:
        _interpret(interpreter, call)
    told = {(layer, index) for link in links.values() for _, layer, index in link}
    for name, filters in interpreter.layers.items():
        silent = [index for index in range(len(filters)) if (name, index) not in told]
        interpreter.space.freeze(filters[silent], "connections names no consumer of it")


class _Call:
    """One layer or normalization as it ran: its sizes, and the layer whose output it took directly, if any."""

    def __init__(self, name: str, module: nn.Module, image: Tensor, producer: str | None) -> None:
        self.name, self.module, self.producer = name, module, producer
        self.shape = tuple(image.shape)
        self.result: tuple[int, ...] = ()
        self.is_layer = isinstance(module, _LAYERS)
        self.channels = self.shape[-1 if isinstance(module, nn.Linear) else 1]

    @property
    def width(self) -> int:
        return self.result[-1 if isinstance(self.module, nn.Linear) else 1]


_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_PER_CHANNEL = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.PReLU,
)
_PASSING = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SiLU,
    nn.GELU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.Upsample,
)


def _record(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[_Call]:
    """Run the model once in evaluation mode and note its layers and normalizations in the order of their first call."""
    calls: dict[str, _Call] = {}
    producers: dict[int, str] = {}
    kept_alive: list[Tensor] = []

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any, name: str) -> None:
        if not args or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            return
        producer = producers.get(id(args[0]))
        if isinstance(module, (*_LAYERS, *_PER_CHANNEL)) and name not in calls:
            calls[name] = _Call(name, module, args[0], producer)
            calls[name].result = tuple(output.shape)
        if isinstance(module, _LAYERS):
            producer = name
        if producer is not None and isinstance(module, (*_LAYERS, *_PER_CHANNEL, *_PASSING)):
            producers[id(output)] = producer
            kept_alive.append(output)

    handles = [
        module.register_forward_hook(lambda module, args, output, name=name: hook(module, args, output, name))
        for name, module in model.named_modules()
    ]
    try:
        with in_mode(model, training=False), random_kept(), torch.no_grad():
            model(*inputs)
    except Exception as error:
        raise TraceError(
            f"{type(model).__name__} does not run on example_input: {told(error)} "
            "(give it an input of the shape that the model takes)"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return list(calls.values())


def _interpret(interpreter: Interpreter, call: _Call) -> None:
    """Apply the rule of the operator that the module runs."""
    operator, arguments = _operator(interpreter, call)
    interpreter.place, interpreter.module_path = f"{type(call.module).__name__} {call.name}", call.name
    row = torch.zeros(call.channels, dtype=torch.int64)
    if not call.is_layer and call.name in interpreter.links:  # a layer's rule asks for the links itself
        row = interpreter.connected(call.name, row)
    elif not call.is_layer and call.producer is not None:
        row = interpreter.layers[call.producer]
    dim = len(call.shape) - 1 if isinstance(call.module, nn.Linear) else 1
    step = Step(operator, result=Facts(call.result, torch.float32, 0, 0))
    interpreter.rules[operator](interpreter, step, Labelled(call.shape, {dim: row}), *arguments)


def _operator(interpreter: Interpreter, call: _Call) -> tuple[Any, list[Any]]:
    """The ATen operator of a module, and its arguments after the image."""
    module: Any = call.module
    held = {key: interpreter.parameter(f"{call.name}.{key}", tensor.shape) for key, tensor in _own_tensors(module)}
    weight, bias = held.get("weight"), held.get("bias")
    if isinstance(module, nn.Linear):
        return aten.linear.default, [weight, bias]
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        settings = [module.stride, module.padding, module.output_padding, module.groups, module.dilation]
        return aten.conv_transpose2d.input, [weight, bias, *settings]
    if isinstance(module, nn.modules.conv._ConvNd):
        return aten.conv2d.default, [weight, bias, module.stride, module.padding, module.dilation, module.groups]
    if isinstance(module, nn.PReLU):
        return aten.prelu.default, [weight]
    if isinstance(module, nn.GroupNorm):
        return aten.group_norm.default, [module.num_groups, weight, bias]
    return aten.batch_norm.default, [weight, bias, held.get("running_mean"), held.get("running_var"), False]


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)
