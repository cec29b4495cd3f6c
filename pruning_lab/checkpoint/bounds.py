"""Builds a network from a folder's word within bounds: no network, no files, little memory, few steps.

The original may be far larger than what is left of it, and a stranger may ask for any size. So large tensors are built
without memory, on the meta device, and what is counted stops a constructor that builds without end. Knows torch; not
what a checkpoint says, nor whom it trusts.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import random_kept

SMALL = 4096
"""Bytes up to which a tensor is real at first: constructors compute with short lists of numbers, as of depths."""

LARGEST_REAL = 64 * 2**20
"""Bytes that a constructor may compute with in all, beside what the weights' size allows."""

READS_A_NUMBER = (torch.ops.aten._local_scalar_dense.default,)


class OutOfBoundsError(LabError):
    """A constructor that asks for more than the checkpoint's weights can fill, or for something outside the folder."""


@dataclass(frozen=True)
class Bounds:
    """How much a constructor may ask for.

    Attributes:
        parts: modules, parameters and buffers that it registers.
        operators: operators that it runs.
        real_bytes: memory of the tensors that it makes.
        seconds: of computing; a loop may do none of the above.
    """

    parts: int
    operators: int
    real_bytes: int
    seconds: float

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> Bounds:
        """What a network of these tensors may need, with room for parts that were dropped or hold no tensor."""
        known = len(tensors) + 64
        size = sum(tensor.nbytes for tensor in tensors.values())
        return Bounds(8 * known, 128 * known, LARGEST_REAL + 16 * size, 0.5 + 0.005 * len(tensors))


def build_within(bounds: Bounds, build: Callable[[], nn.Module], *, isolated: bool) -> nn.Module:
    """What `build` gives, whose large tensors may lie on the meta device. Random states stay as they were.

    Args:
        isolated: stop also whatever takes long, or opens a file outside the installed libraries, a connection or a
            process.

    Raises:
        OutOfBoundsError: it asks for too much, or for something outside.
    """
    with ExitStack() as stack:
        stack.enter_context(random_kept())
        if isolated:
            _warm_up()
            stack.enter_context(_isolated())
            stack.enter_context(_timed(bounds.seconds))
        with suppress(_NeedsValuesError):
            return _built_lazily(bounds, build)
        with _counted_parts(bounds.parts), _Sized(bounds, lazy=False):
            return build()


def build_without_memory(build: Callable[[], nn.Module]) -> nn.Module | None:
    """What `build` gives, whose large tensors lie on the meta device; None where its constructor computes with them.

    Raises:
        OutOfBoundsError: it asks for a tensor whose size is beyond what can be counted.
    """
    with random_kept():
        try:
            return _built_lazily(Bounds(2**62, 2**62, 2**62, 0), build)
        except _NeedsValuesError as error:
            if "overflow" in str(error.__cause__):
                raise OutOfBoundsError("it asks for a tensor of more bytes than can be counted") from error
            return None


class _NeedsValuesError(Exception):
    """A constructor computes with values of large tensors, or keeps some that are neither parameter nor buffer."""


def _built_lazily(bounds: Bounds, build: Callable[[], nn.Module]) -> nn.Module:
    try:
        with _counted_parts(bounds.parts), _Sized(bounds, lazy=True):
            model = build()
    except OutOfBoundsError:
        raise
    except Exception as error:  # whatever a constructor says that can't work without values
        raise _NeedsValuesError from error
    if isinstance(model, nn.Module) and _plain_on_meta(model):
        raise _NeedsValuesError
    return model


@functools.cache
def _warm_up() -> None:
    """Let torch import what it computes sizes with, which takes longer than building a network."""
    with _Sized(Bounds(parts=4, operators=64, real_bytes=SMALL, seconds=0), lazy=True):
        nn.Linear(SMALL, 2, dtype=torch.float32)


class _OutOfTime(BaseException):
    """Raised in the middle of a constructor; no `except Exception` there takes it."""


@contextmanager
def _timed(seconds: float) -> Iterator[None]:
    """Stop this thread when it has computed for so long; waiting for other processes does not count.

    Python's garbage collector is paused meanwhile: in a process that holds much it takes seconds of its own, and an
    exception that reaches one of its callbacks is lost.

    Raises:
        OutOfBoundsError: it has.
    """
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()
    clock = time.process_time
    if hasattr(time, "pthread_getcpuclockid"):
        clock = functools.partial(time.clock_gettime, time.pthread_getcpuclockid(thread))
    end = clock() + seconds

    def watch() -> None:
        while not over.wait(0.02):
            with lock:
                if not over.is_set() and clock() > end:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_OutOfTime))
                    return

    watcher, collecting = threading.Thread(target=watch, daemon=True), gc.isenabled()
    gc.disable()
    try:
        watcher.start()
        try:
            yield
        finally:
            with lock:
                over.set()
            watcher.join()
    except _OutOfTime:
        raise OutOfBoundsError(f"it computes for more than {seconds:.1f} s") from None
    finally:
        if collecting:
            gc.enable()


def _plain_on_meta(model: nn.Module) -> bool:
    """Whether a module keeps a tensor without memory that no weights file fills."""
    return any(
        isinstance(leaf, Tensor) and leaf.is_meta
        for module in model.modules()
        for key, value in vars(module).items()
        if key not in ("_parameters", "_buffers", "_modules", "_flat_weights")
        for leaf in pytree.tree_leaves(value)
    )


class _Sized(TorchDispatchMode):
    """Counts operators and the memory of their results before they run.

    Args:
        lazy: a result that is not small, or that is made of one that was not, gets no memory.
    """

    def __init__(self, bounds: Bounds, lazy: bool) -> None:
        super().__init__()
        self.bounds, self.lazy = bounds, lazy
        self.operators = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.operators += 1
        if self.operators > self.bounds.operators:
            raise OutOfBoundsError(f"it runs more than {self.bounds.operators:,} operators")
        schema = func._schema
        if schema.name.startswith("aten::resize"):
            raise OutOfBoundsError(f"it runs {schema.name}, whose memory can't be foreseen")
        shares = schema.is_mutable or any(given.alias_info is not None for given in schema.returns)
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        without_memory = any(tensor.is_meta for tensor in tensors)
        if func in READS_A_NUMBER or (shares and not without_memory):
            return func(*args, **kwargs)
        if without_memory and schema.is_mutable:
            return func(*_arguments_on_meta(schema, args, kwargs)[0], **kwargs)
        try:
            args_on_meta, kwargs_on_meta = _arguments_on_meta(schema, args, kwargs)
            foreseen = func(*args_on_meta, **kwargs_on_meta)
        except NotImplementedError:  # its size depends on values
            if without_memory:
                raise
            return func(*args, **kwargs)
        size = sum(leaf.nbytes for leaf in pytree.tree_leaves(foreseen) if isinstance(leaf, Tensor))
        if without_memory or (self.lazy and size > SMALL):
            return foreseen
        self.bytes += size
        if self.bytes > self.bounds.real_bytes:
            raise OutOfBoundsError(f"it computes with more than {self.bounds.real_bytes // 2**20:,} MiB of tensors")
        return func(*args, **kwargs)


def _arguments_on_meta(schema: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.is_meta:
            return leaf
        return torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device="meta")

    args, kwargs = pytree.tree_map(moved, (args, kwargs))
    if any(argument.name == "device" for argument in schema.arguments):
        kwargs = {**kwargs, "device": torch.device("meta"), **({"pin_memory": False} if "pin_memory" in kwargs else {})}
    return args, kwargs


@contextmanager
def _counted_parts(most: int) -> Iterator[None]:
    """Stop this thread when it registers more modules, parameters and buffers than that."""
    thread, count = threading.get_ident(), 0

    def counts(module: nn.Module, name: str, part: Any) -> None:
        nonlocal count
        if threading.get_ident() != thread:
            return
        count += 1
        if count > most:
            raise OutOfBoundsError(f"it has more than {most:,} parts")

    with ExitStack() as stack:
        for register in (
            register_module_module_registration_hook,
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        ):
            stack.callback(register(counts).remove)
        yield


_watched = threading.local()
_OUTSIDE = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "urllib.",
    "http.",
)
_ON_FILES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.")


@contextmanager
def _isolated() -> Iterator[None]:
    """Stop what this thread does to files, connections and processes; what a library swallows is told at the end."""
    _audit()
    _watched.breach = ""
    _watched.roots = _library_folders()
    try:
        yield
    finally:
        breach, _watched.roots = _watched.breach, None
        if breach:
            raise OutOfBoundsError(breach)


def _library_folders() -> tuple[str, ...]:
    """Where code is imported from, which a constructor may do late."""
    paths = sysconfig.get_paths()
    named = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders = (*named, str(Path(__file__).parents[1]), str(Path(torch.__file__).parent))
    return tuple(f"{Path(folder).resolve()}{os.sep}" for folder in folders)


def _watch(event: str, args: Any) -> None:
    roots = getattr(_watched, "roots", None)
    if roots is None:
        return
    if event.startswith(_OUTSIDE):
        _stop(f"it asks for {event}, which no network needs")
    if (event == "open" or event.startswith(_ON_FILES)) and args and isinstance(args[0], (str, bytes, os.PathLike)):
        _watched.roots = None  # resolving a path must not be watched
        try:
            path = str(Path(os.fsdecode(args[0])).resolve())
        finally:
            _watched.roots = roots
        if not path.startswith(roots):
            _stop(f"it reaches for the file {path!a}")


def _stop(what: str) -> None:
    _watched.breach = what
    raise OutOfBoundsError(what)


@functools.cache
def _audit() -> None:
    """Watch from the first untrusted folder on. An audit hook can't be taken back; it looks at no other thread."""
    sys.addaudithook(_watch)
