"""From a live model to a tape of its forward pass, leaving the model as it was. Knows nothing of channels."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from pruning_lab.common.copies import light_copy_of
from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import every_path, random_kept, tensors_in, told
from pruning_lab.graph.tracing.recorder import Recorder
from pruning_lab.graph.tracing.rules import recorded_whole
from pruning_lab.graph.tracing.size_reads import SizeReads
from pruning_lab.graph.tracing.tape import Tape


class TraceError(LabError):
    """The model's graph can't be read; the message says what in the model stopped it."""


Inputs = Tensor | tuple[Tensor, ...]


def as_inputs(example_input: Inputs) -> tuple[Tensor, ...]:
    """The model's positional arguments."""
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    if not inputs or not all(isinstance(item, Tensor) for item in inputs):
        raise TraceError("example_input must be a tensor or a tuple of tensors; pass e.g. torch.zeros(1, 3, 64, 64)")
    return inputs


def record(model: nn.Module, inputs: tuple[Tensor, ...], training: bool = False) -> Tape:
    """Run a copy of a model once, in evaluation or in training mode, and record its operators.

    Whatever its forward does to it, it does to the copy: parameters, buffers, attributes, lists and random states of
    the model are not touched.

    Args:
        training: convolutions compute one filter only, and give it out for all: training is for what runs then.

    Raises:
        TraceError: the model can't be copied, or does not run on these inputs without gradients.
    """
    try:
        copied = light_copy_of(model).train(training)
    except Exception as error:
        raise _told(model, training, error, "a copy of the model is what is run") from error
    given = tuple(item.detach().clone() for item in inputs)
    recorder = Recorder(recorded_whole, _names(model, copied), _one_filter if training else None)
    _follow_modules(copied, recorder)
    with _plainly(inputs):
        for tensor in given:
            recorder.add_input(tensor)
        try:
            with recorder, SizeReads(recorder.note_sizes):
                answer = copied(*given)
        except Exception as error:
            mend = "it must run on example_input, without gradients; else pass connections=, see ChannelGraph.trace"
            raise _told(model, training, error, mend) from error
        finally:
            recorder.put_back()
        recorder.tape.outputs = [recorder.step_of(tensor) for tensor in tensors_in(answer)]
    return recorder.tape


def _one_filter(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What an operator gives; of a convolution the first filter on the first channel, in place of all filters."""
    if func not in _CONVOLUTIONS or kwargs or args[0].dim() < args[1].dim():
        return func(*args, **kwargs)
    image, weight = args[:2]
    one = func(image[:, :1], weight[:1, :1], None, *args[3:6])  # stride, padding and dilation, and no groups
    return one.expand(-1, weight.shape[0], *one.shape[2:]).contiguous()


def _told(model: nn.Module, training: bool, error: Exception, mend: str) -> TraceError:
    mode = " in training mode, in which alone some of its layers run" if training else ""
    return TraceError(f"{type(model).__name__} can't be traced{mode}: {told(error)} ({mend})")


def _names(model: nn.Module, copied: nn.Module) -> dict[int, str]:
    """Identity of a parameter or buffer, of the copy or (where a closure holds it) of the model -> its first name."""
    names: dict[int, str] = {}
    for one in (copied, model):
        for path, module in every_path(one):
            prefix = f"{path}." if path else ""
            for name, tensor in itertools.chain(module._parameters.items(), module._buffers.items()):
                if tensor is not None:
                    names.setdefault(id(tensor), prefix + name)
    return names


def _follow_modules(copied: nn.Module, recorder: Recorder) -> None:
    """Keep the recorder told which module's forward is running, and of what it is given and gives."""
    followed: set[nn.Module] = set()
    for path, module in every_path(copied):
        if module not in followed and not isinstance(module, torch.jit.ScriptModule):
            followed.add(module)
            if isinstance(module, _InstanceNorm) and type(module).__module__ == _InstanceNorm.__module__:
                recorder.trusted.add(path)
            if module._forward_pre_hooks or module._forward_hooks:  # the module's affair as well
                _follow_by_hooks(module, path, recorder)
            else:
                vars(module)["forward"] = _followed(module.forward, path, recorder)


def _followed(forward: Callable[..., Any], path: str, recorder: Recorder) -> Callable[..., Any]:
    """A hook costs torch the short way through a module, which takes more than most operators of small networks."""

    def followed(*args: Any, **kwargs: Any) -> Any:
        outside = recorder.module
        recorder.module = path
        try:
            called = recorder.called(args, kwargs)
            result = forward(*args, **kwargs)
            recorder.returned(called, result)
            return result
        finally:
            recorder.module = outside

    followed.__wrapped__ = forward  # type: ignore[attr-defined]  # whoever asks for its signature gets the model's own
    return followed


def _follow_by_hooks(module: nn.Module, path: str, recorder: Recorder) -> None:
    running: list[str] = []

    def entering(module: nn.Module, args: Any) -> None:
        running.append(recorder.module)
        recorder.module = path

    def left(module: nn.Module, args: Any, output: Any) -> None:
        recorder.module = running.pop()

    module.register_forward_pre_hook(entering, prepend=True)
    module.register_forward_hook(left, prepend=True, always_call=True)


@contextmanager
def _plainly(inputs: tuple[Tensor, ...]) -> Iterator[None]:
    """Without gradients, compilers, fused layers and warnings; random states are put back at the end."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.clear_autocast_cache()
    try:
        with ExitStack() as stack:
            stack.enter_context(random_kept())
            stack.enter_context(torch.inference_mode())
            stack.enter_context(warnings.catch_warnings())
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


_CONVOLUTIONS = {
    getattr(getattr(torch.ops.aten, f"conv{sides}d"), kind) for sides in (1, 2, 3) for kind in ("default", "padding")
}
