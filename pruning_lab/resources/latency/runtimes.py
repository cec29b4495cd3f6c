"""A network made ready to run as its target runs it. Knows torch and onnxruntime, which is imported late; no times."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.modules import in_mode
from pruning_lab.resources.latency.clock import Clock, Reading
from pruning_lab.resources.latency.profiles import Profile, eager_profile, onnx_profiles, quickest
from pruning_lab.resources.latency.target import TYPES, Target


class Ready(Protocol):
    """A network that can be run, and may be able to tell what each of its operators takes."""

    def run(self) -> Any:
        """One pass."""

    def profile(self, clock: Clock) -> tuple[Reading, Profile | None]:
        """The time of a pass, and the operators' shares of it; both in units of the clock's reference."""


def prepare(model: nn.Module, example: Tensor, target: Target, template: OnnxTemplate | None = None) -> Ready:
    """Make a network ready.

    Args:
        model: on any device; it is copied where it must be moved.
        example: on the target's device.
        template: of a network of the same operators, which spares an export.

    Raises:
        LabError: the runtime is not installed, or does not take the network.
    """
    if target.runtime == "onnxruntime":
        made = template.filled(model) if template is not None else None
        return OnnxReady(made or exported(model, example), example, target)
    model = target.place(copy_of(model))
    if target.runtime == "compile":
        return WholeReady(_runner(torch.compile(model, dynamic=False), example, target))  # type: ignore[arg-type]
    if target.runtime == "cuda_graphs":
        return WholeReady(_graphed(_runner(model, example, target)))
    return EagerReady(_runner(model, example, target))


PROFILED = 4
"""Passes in which torch's operators are timed, at most; each counts by the shortest of its times."""


class WholeReady:
    """A network that is seen as a whole only."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run

    def profile(self, clock: Clock) -> tuple[Reading, Profile | None]:
        return Reading.of(clock.visit(self.run)), None


class EagerReady(WholeReady):
    """A network in torch: each operator can be timed as it runs."""

    def profile(self, clock: Clock) -> tuple[Reading, Profile | None]:
        reading = Reading.of(clock.visit(self.run))
        return reading, quickest([eager_profile(self.run, clock) for _ in range(min(reading.runs, PROFILED))])


class OnnxReady:
    """A network in onnxruntime, on the CPU."""

    def __init__(self, proto: bytes, example: Tensor, target: Target) -> None:
        self._proto, self._image, self._target = proto, example.numpy(), target
        self._session: Any = None

    def run(self) -> Any:
        if self._session is None:
            self._session = self._opened()
        return self._session.run(None, {self._session.get_inputs()[0].name: self._image})

    def profile(self, clock: Clock) -> tuple[Reading, Profile | None]:
        """It writes times of the wall, in a slower session of its own; a plain one is timed as a whole."""
        reading = Reading.of(clock.visit(self.run))
        with tempfile.TemporaryDirectory() as folder:
            session = self._opened(Path(folder) / "profile")
            feed = {session.get_inputs()[0].name: self._image}
            for _ in range(1 + PROFILED):
                session.run(None, feed)
            written = session.end_profiling()
            events = json.loads(Path(written).read_text(encoding="utf-8"))
        return reading, quickest(onnx_profiles(events))

    def _opened(self, profile: Path | None = None) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self._target.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        if profile is not None:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(profile)
        try:
            return onnxruntime.InferenceSession(self._proto, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # of any kind, as runtimes please
            raise LabError(f"target.runtime=onnxruntime can't take the network: {first_line(error)}") from error


GROUPED = ("Conv", "ConvTranspose")
"""ONNX operators that hold a number of groups."""


class OnnxTemplate:
    """A network exported once, into which the weights of others are put that have the same operators."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self._proto = exported(_with_distinct_values(model), example)

    def filled(self, model: nn.Module) -> bytes | None:
        """The network with another's weights; None where the file names weights in its own way."""
        import onnx

        state = model.state_dict()
        proto = onnx.load_from_string(self._proto)
        for one in proto.graph.initializer:
            if one.name in state:
                one.CopyFrom(onnx.numpy_helper.from_array(state[one.name].detach().float().cpu().numpy(), one.name))
            elif len(one.dims) > 1:
                return None  # made of weights, whose sizes are not known here
        modules = dict(model.named_modules())
        for node in proto.graph.node:
            owner = modules.get(node.input[1].rpartition(".")[0]) if node.op_type in GROUPED else None
            for attribute in node.attribute:
                if attribute.name == "group" and owner is not None:
                    attribute.i = owner.groups
        del proto.graph.value_info[:]
        for result in proto.graph.output:
            result.type.tensor_type.ClearField("shape")
        return bytes(proto.SerializeToString())


def exported(model: nn.Module, example: Tensor) -> bytes:
    """A network as an ONNX file, with its weights by their names and nothing folded: the runtime does that itself.

    Raises:
        LabError: a library is missing, or the network has no ONNX form.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise LabError(
            f"target.runtime=onnxruntime needs {error.name}; install it: pip install 'pruning_lab[export]'"
        ) from error
    model = copy_of(model).cpu()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), in_mode(model, training=False):
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        try:
            torch.onnx.export(model, (example.cpu(),), path, dynamo=False, do_constant_folding=False)
        except Exception as error:  # of any kind, as exporters please
            raise LabError(f"target.runtime=onnxruntime: ONNX can't take the network: {first_line(error)}") from error
        return path.read_bytes()


def _with_distinct_values(model: nn.Module) -> nn.Module:
    """A copy in which no two tensors are equal, so that the exporter keeps each under its own name."""
    copied = copy_of(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*copied.parameters(), *copied.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return copied


def _runner(model: nn.Module, example: Tensor, target: Target) -> Callable[[], Any]:
    def run() -> Any:
        with torch.inference_mode(), _precision(target):
            return model(example)

    return run


def _precision(target: Target) -> AbstractContextManager[Any]:
    if target.precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(str(target.device)).type, TYPES[str(target.precision)])


def _graphed(run: Callable[[], Any]) -> Callable[[], Any]:
    """The same work as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
