"""Two networks that run side by side and wait for each other at every reader, over many batches at once.

A reader can be given new weights while both wait, and everything behind it then sees what it hands on: one forward pass
is enough for a network in which every layer answers to what the layers before it have become. Each forward pass is a
thread that runs only while it is told to, so nothing ever runs at the same time as anything else.

Knows modules and tensors; not what is done where the networks wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.modules import in_mode
from pruning_lab.compensation.patches import channels_of


@dataclass(frozen=True)
class Meeting:
    """One call of a reader, in all batches.

    Attributes:
        name: of the module.
        inputs: what the small network hands it, one tensor per batch.
        targets: what the same module gave in the network before, one tensor per batch.
    """

    name: str
    inputs: list[Tensor]
    targets: list[Tensor]


class _Given(Exception):  # noqa: N818 - no error: it ends a forward pass that is not gone on with
    """Raised inside a forward pass that is given up."""


class _Walk(threading.Thread):
    """A forward pass that waits at every call of the hooked modules until it is sent on."""

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__(daemon=True)
        self.model, self.image = model, image
        self.answer: Any = None
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._at: tuple[str, Tensor] | None = None
        self._error: BaseException | None = None
        self._given_up = False
        self.start()

    def run(self) -> None:
        self._go.acquire()
        try:
            if not self._given_up:
                with torch.no_grad():
                    self.answer = self.model(self.image)
        except _Given:
            pass
        except BaseException as error:  # it is raised again by whom the pass is run for
            self._error = error
        self._at = None
        self._stands.release()

    def wait(self, name: str, tensor: Tensor) -> None:
        """Called in the pass itself."""
        self._at = (name, tensor)
        self._stands.release()
        self._go.acquire()
        if self._given_up:
            raise _Given

    def to_next(self) -> tuple[str, Tensor] | None:
        """Where the pass stands next; None at its end. Raises what the pass raised."""
        self._go.release()
        self._stands.acquire()
        if self._error is not None:
            raise self._error
        return self._at

    def give_up(self) -> None:
        if self.is_alive():
            self._given_up = True
            self._go.release()
            self.join()


class InStep:
    """Walks both networks through the same images.

    Args:
        before: the network before the cut.
        small: the network after it.
        names: the modules of both at which they wait.
        images: one tensor per batch, on the networks' device.

    After `meetings` has ended, `answers` and `targets` hold what both networks returned, one item per batch.
    """

    def __init__(self, before: nn.Module, small: nn.Module, names: list[str], images: list[Tensor]) -> None:
        self.before, self.small, self.names, self.images = before, small, names, images
        self.answers: list[Any] = []
        self.targets: list[Any] = []

    def meetings(self) -> Iterator[Meeting]:
        """Every call of every reader in turn; between two, a reader's weights may be changed.

        Raises:
            LabError: the two networks run their layers in different orders.
        """
        walks: list[_Walk] = []
        with ExitStack() as stack:
            stack.enter_context(in_mode(self.before, training=False))
            stack.enter_context(in_mode(self.small, training=False))
            stack.enter_context(_waits(self.before, self.names, at_output=True))
            stack.enter_context(_waits(self.small, self.names, at_output=False))
            stack.callback(_give_up, walks)
            olds = [_Walk(self.before, image) for image in self.images]
            news = [_Walk(self.small, image) for image in self.images]
            walks += [*olds, *news]
            while True:
                targets, inputs = [walk.to_next() for walk in olds], [walk.to_next() for walk in news]
                stands = {None if place is None else place[0] for place in (*targets, *inputs)}
                if len(stands) != 1:
                    raise LabError(
                        f"compensation: the network runs its layers in another order than before the cut "
                        f"({', '.join(map(str, stands))}); set compensation=none"
                    )
                name = stands.pop()
                if name is None:
                    break
                yield Meeting(name, [place[1] for place in inputs if place], [place[1] for place in targets if place])
            self.answers, self.targets = [walk.answer for walk in news], [walk.answer for walk in olds]


def _give_up(walks: list[_Walk]) -> None:
    for walk in walks:
        walk.give_up()


@contextmanager
def _waits(model: nn.Module, names: list[str], at_output: bool) -> Iterator[None]:
    handles = []

    def attach(name: str) -> Any:
        def before(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            _here(name, inputs[0])

        def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
            _here(name, output)

        module = model.get_submodule(name)
        return module.register_forward_hook(after) if at_output else module.register_forward_pre_hook(before)

    try:
        handles += [attach(name) for name in names]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _here(name: str, tensor: Tensor) -> None:
    walk = threading.current_thread()
    if isinstance(walk, _Walk):
        walk.wait(name, tensor)


@dataclass(frozen=True)
class Survey:
    """What one forward pass tells of a network's modules.

    Attributes:
        calls: module -> how often it ran.
        followed_by: module -> the batch norm that took its output as it came.
        places: module -> how often its whole weight was multiplied with something, for one image.
    """

    calls: Mapping[str, int]
    followed_by: Mapping[str, str]
    places: Mapping[str, int]


def survey(model: nn.Module, names: list[str], image: Tensor) -> Survey:
    """Run a network on one image, and see how often modules run and which batch norm takes their output."""
    calls: dict[str, int] = {}
    places: dict[str, int] = {}
    followed_by: dict[str, str] = {}
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def at_reader(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            transposed = getattr(module, "transposed", False)
            spread = channels_of(module, inputs[0] if transposed else output)
            places[name] = places.get(name, 0) + spread[:, 0].numel()
            output._given_by = (name, output._version)

        return hook

    def at_norm(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            calls[name] = calls.get(name, 0) + 1
            source, version = getattr(inputs[0], "_given_by", ("", 0))
            if version == inputs[0]._version:  # nothing has changed it in place on the way
                followed_by[source] = name

        return hook

    handles = [model.get_submodule(name).register_forward_hook(at_reader(name)) for name in names]
    handles += [model.get_submodule(name).register_forward_pre_hook(at_norm(name)) for name in norms]
    try:
        with in_mode(model, training=False), torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    alone = {name: norm for name, norm in followed_by.items() if calls[norm] == calls.get(name) == 1}
    return Survey(calls, alone, places)
