"""A network as a file of each format. Knows torch's exporters and onnx, which is imported late; no data.

Sizes stay free where the exporter can keep them so; what a file really takes is found out by running it.
"""

from __future__ import annotations

import importlib
import logging
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.lab.export.options import ExportOptions
from pruning_lab.lab.export.sizes import example_images

EXTRA = ("onnx", "onnxscript", "onnxruntime")
INPUT = "image"
SIDES = ("height", "width")
SIDES_OF_VOLUMES = ("depth", *SIDES)
MOST_BYTES = 2**31
"""Of an ONNX file: it is one message of protocol buffers."""
STRIDE, MOST_SHRUNK = 64, 128
"""What sides are enlarged by multiples of, and the times that a network may shrink an image."""
BATCH = 2
"""Images in the example: of one, exporters take it that there is never more."""


def needs_onnx() -> None:
    """Raises LabError where the libraries of the extra `export` are missing."""
    for name in EXTRA:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise LabError(
                f"format=onnx needs {name} ({first_line(error)}); install it: pip install 'pruning_lab[export]'"
            ) from error


def exported_program(model: nn.Module, example: Tensor, options: ExportOptions) -> ExportedProgram:
    """The network as `torch.export` sees it, with as many free dimensions as it allows.

    Args:
        example: [1, C, *size].

    Raises:
        LabError: it can't be exported even for this one shape.
    """
    problem: Exception | None = None
    for dims, sides in _ladder(tuple(example.shape[2:]), options):
        images = example_images((BATCH if 0 in dims else 1, example.shape[1], *sides), example.dtype)
        with _quietly(), torch.no_grad():
            try:
                program = torch.export.export(model, (images,), dynamic_shapes=(dims or None,), strict=False)
                return _for_single_pixels(program)
            except Exception as error:  # of any kind, as models and exporters please
                problem = error
    assert problem is not None
    if isinstance(problem, LabError):
        raise problem
    raise LabError(f"torch.export can't take the network: {first_line(problem)}") from problem


def _ladder(size: tuple[int, ...], options: ExportOptions) -> Iterator[tuple[dict[int, Any], tuple[int, ...]]]:
    """Which dimensions may vary, and the size of the example: all that are asked for, then fewer, then none.

    Where features are one pixel wide in the example, the exporter takes it that they always are, and holds the size. So
    it sees a larger image first, which costs nothing, as it computes with sizes alone.
    """
    sides = range(2, 2 + len(size)) if options.dynamic_size else ()
    batch = (0,) if options.dynamic_batch else ()
    tried = [((*batch, *sides), size), (tuple(batch), size), ((), size)]
    if sides:
        tried.insert(0, ((*batch, *sides), tuple(map(_enlarged, size))))
    for free, seen in dict.fromkeys(tried):
        yield dict.fromkeys(free, Dim.AUTO), seen


def _enlarged(side: int) -> int:
    """The side, or so many times `STRIDE` more that a network may shrink it by `MOST_SHRUNK` to more than one pixel."""
    return side + STRIDE * max(0, math.ceil((MOST_SHRUNK + 1 - side) / STRIDE))


def _for_single_pixels(program: ExportedProgram) -> ExportedProgram:
    """Without the conditions that no features be a single pixel wide.

    The exporter notes them where it asks whether something is stretched or lies in one piece, which makes no difference
    to a result. What the file gives for small images is compared with the network all the same, see `taken_sizes`.
    """
    conditions = getattr(program, "_guards_code", None)
    if conditions is not None:  # torch has no public name for them
        program._guards_code = [one for one in conditions if not one.rstrip().endswith("!= 1")]
    return program


def write_pt2(program: ExportedProgram, path: Path) -> None:
    """What `torch.export.load` reads."""
    for node in program.graph.nodes:
        # Where in the source each operator stands, on the machine that made it.
        node.meta.pop("stack_trace", None)
    with _quietly():
        torch.export.save(program, path)


def write_torchscript(model: nn.Module, example: Tensor, path: Path) -> None:
    """What `torch.jit.load` reads: a recorded pass of the network.

    A network that can't be recorded is recorded by way of its exported program, for the example's shape alone.

    Raises:
        LabError: neither works.
    """
    with _quietly(), torch.no_grad():
        try:
            with _Recordable():
                script = torch.jit.trace(model, (example,), check_trace=False)
        except Exception:  # of any kind, as models please
            try:
                fixed = torch.export.export(model, (example,), strict=False).run_decompositions({}).module()
                script = torch.jit.trace(fixed, (example,), check_trace=False)
            except Exception as error:
                raise LabError(f"TorchScript can't take the network: {first_line(error)}") from error
        torch.jit.save(script, str(path))


class _Recordable(TorchFunctionMode):
    """Leaves out checks in Python that recorded sizes, which are tensors meanwhile, do not get through."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is functional.max_unpool2d and given.get("output_size") is not None:
            return torch._C._nn.max_unpool2d(args[0], args[1], list(given["output_size"])[-2:])
        return func(*args, **given)


def onnx_model(program: ExportedProgram, names: Sequence[str], options: ExportOptions) -> Any:
    """An ONNX model, checked by onnx.

    Args:
        names: of the outputs.

    Raises:
        LabError: an operator has no ONNX form, or the file would have 2 GB or more.
    """
    needs_onnx()
    import onnx

    if sum(tensor.nbytes for tensor in program.state_dict.values()) >= MOST_BYTES:
        raise LabError("an ONNX file holds less than 2 GB: export this network as pt2")
    with _quietly():
        try:
            made = torch.onnx.export(
                program,
                input_names=[INPUT],
                output_names=list(names),
                opset_version=options.opset,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # of any kind, as exporters please
            raise LabError(f"ONNX can't take the network: {first_line(error.__cause__ or error)}") from error
        assert made is not None
        proto = made.model_proto
    _name_sides(proto.graph)
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        # Where in the source each operator stands, on the machine that made it.
        part.ClearField("metadata_props")
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _name_sides(graph: Any) -> None:
    """Call free dimensions batch, height and width, in place of torch's symbols."""
    dims = graph.input[0].type.tensor_type.shape.dim
    sides = SIDES if len(dims) == 4 else SIDES_OF_VOLUMES[-(len(dims) - 2) :]
    named = {dim.dim_param: name for name, dim in zip(("batch", "", *sides), dims, strict=False) if dim.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\bs\d+\b", lambda found: named.get(found[0], found[0]), dim.dim_param)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what exporters say of themselves and of their own future; what matters is found by running the file."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "torch")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
