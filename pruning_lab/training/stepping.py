"""One optimizer step after another, each taken back where it gave no finite number. Must not know epochs and loaders.

On a CPU the numbers of a step are at hand, and are looked at before the weights move. A GPU works through what it was
told while Python goes on; looking at a number means to wait until it is there, and then the GPU waits for Python. So
its numbers are looked at one step later, and what the step changed is kept until then.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pruning_lab.training.compute import ComputeSettings
from pruning_lab.training.undo import BeforeUpdate, Copies

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, image [N, C, H, W], mask int64 [N, H, W]) -> scalar to make small; image and mask are on the device."""


class NonFiniteError(Exception):
    """Says what is not finite. Model and optimizer are as they were before the first step of unknown loss."""


@dataclass(frozen=True)
class Trainee:
    """What is trained, and how."""

    model: nn.Module
    objective: Objective
    optimizer: Optimizer
    schedule: LRScheduler | None
    settings: ComputeSettings


class Stepper(Protocol):
    """Trains on one batch at a time. Both return the losses that have become known, in the order of the steps."""

    def step(self, image: Tensor, mask: Tensor) -> list[float]:
        """One step on a batch that is on the device. Raises NonFiniteError."""

    def finish(self) -> list[float]:
        """To be called after the last step, and before the state is saved. Raises NonFiniteError."""

    def scaler_state(self) -> dict[str, Any]:
        """What scales gradients, as plain data; empty where nothing does."""

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        """Put back what `scaler_state` gave."""


def stepper_for(trainee: Trainee) -> Stepper:
    """The fastest way to step on the device of the settings."""
    scaled = needs_scaler(trainee.settings)
    return LookingLater(trainee) if looks_later(trainee.settings) else LookingAtOnce(trainee, scaled)


def needs_scaler(settings: ComputeSettings) -> bool:
    """Whether gradients would fall below what the precision can hold."""
    return settings.precision == "float16" and settings.device_type == "cuda"


def looks_later(settings: ComputeSettings) -> bool:
    """Whether looking at each step's numbers would cost time; a scaler waits for them in any case."""
    return settings.device_type == "cuda" and not needs_scaler(settings)


class LookingAtOnce:
    """Knows that all is finite before the weights move."""

    def __init__(self, trainee: Trainee, scaled: bool = False) -> None:
        self._trainee = trainee
        self._scaler = torch.amp.GradScaler(trainee.settings.device_type, enabled=scaled)
        self._buffers = Copies()

    def step(self, image: Tensor, mask: Tensor) -> list[float]:
        trainee, scaler = self._trainee, self._scaler
        # The forward pass alone already moves batch norm's running statistics.
        self._buffers.take(trainee.model.buffers())
        try:
            value = self._backward(image, mask)
        except NonFiniteError:
            self._buffers.put_back(trainee.model.buffers())
            raise
        scale = scaler.get_scale()
        scaler.step(trainee.optimizer)
        scaler.update()
        skipped = scaler.get_scale() < scale
        if trainee.schedule is not None and not skipped:
            trainee.schedule.step()
        return [value]

    def finish(self) -> list[float]:
        return []

    def scaler_state(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def load_scaler_state(self, state: dict[str, Any]) -> None:
        if state:
            self._scaler.load_state_dict(state)

    def _backward(self, image: Tensor, mask: Tensor) -> float:
        trainee, scaler = self._trainee, self._scaler
        trainee.optimizer.zero_grad(set_to_none=True)
        loss = trainee.objective(trainee.model, image, mask)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss is {value}")
        scaler.scale(loss).backward()
        scaler.unscale_(trainee.optimizer)
        norm = _bounded_gradient(trainee)
        # The scaler skips a step whose gradient is not finite, and tries a smaller scale.
        if not scaler.is_enabled() and not math.isfinite(norm.item()):
            raise NonFiniteError(f"the gradient's norm is {norm.item()}")
        return value


class LookingLater:
    """Looks at a step's numbers when the next step has been handed to the device, which so never runs dry.

    The next step's update is held back until then. So only one update is ever to be taken back, but two forward
    passes, each of which may have moved buffers. It takes memory on the device: as much as the weights and the
    optimizer's memory of them once more.
    """

    def __init__(self, trainee: Trainee) -> None:
        self._trainee = trainee
        self._before_update = BeforeUpdate(trainee.optimizer)
        self._spare = Copies()
        self._unseen: _Unseen | None = None

    def step(self, image: Tensor, mask: Tensor) -> list[float]:
        trainee = self._trainee
        buffers, earlier = self._spare, self._unseen
        buffers.take(trainee.model.buffers())
        trainee.optimizer.zero_grad(set_to_none=True)
        loss = trainee.objective(trainee.model, image, mask)
        loss.backward()
        numbers = _Numbers(loss, _bounded_gradient(trainee))
        known = self.finish()
        self._before_update.take()
        trainee.optimizer.step()
        if trainee.schedule is not None:
            trainee.schedule.step()
        self._spare = Copies() if earlier is None else earlier.buffers
        self._unseen = _Unseen(numbers, buffers)
        return known

    def finish(self) -> list[float]:
        unseen, self._unseen = self._unseen, None
        if unseen is None:
            return []
        loss, norm = unseen.numbers.read()
        if math.isfinite(loss) and math.isfinite(norm):
            return [loss]
        self._before_update.put_back()
        unseen.buffers.put_back(self._trainee.model.buffers())
        self._trainee.optimizer.zero_grad(set_to_none=True)
        what = f"gradient's norm is {norm}" if math.isfinite(loss) else f"loss is {loss}"
        raise NonFiniteError(f"the {what}")

    def scaler_state(self) -> dict[str, Any]:
        return {}

    def load_scaler_state(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class _Unseen:
    """A step whose numbers have not been looked at, and the model's buffers from before it."""

    numbers: "_Numbers"
    buffers: Copies


class _Numbers:
    """Loss and norm of a step, on their way from the device."""

    def __init__(self, loss: Tensor, norm: Tensor) -> None:
        both = torch.stack([loss.detach().double().reshape(()), norm.double()])
        self._here = both.to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if both.is_cuda else None
        if self._arrived is not None:
            self._arrived.record(torch.cuda.current_stream(both.device))

    def read(self) -> tuple[float, float]:
        """Wait for the two, and for nothing that was handed to the device after them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        loss, norm = self._here.tolist()
        return loss, norm


def _bounded_gradient(trainee: Trainee) -> Tensor:
    """The gradient's norm over all weights, as it was before it is clipped here; no number leaves the device."""
    trained = [parameter for parameter in trainee.model.parameters() if parameter.grad is not None]
    norm = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
    if trainee.settings.clip_norm is not None:
        clip_grads_with_norm_(trained, trainee.settings.clip_norm, norm)
    return norm
