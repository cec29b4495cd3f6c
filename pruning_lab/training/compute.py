"""Where and how precisely a network runs, and what makes a run repeatable. Must not know of pruning."""

import contextlib
import math
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError

_AUTOCAST_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = ("float32", *_AUTOCAST_TYPES)


@runtime_checkable
class Travels(Protocol):
    """Batches that know a faster way to a device than being moved there one by one."""

    def on(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches on the device, image float [N, C, H, W] and mask int64 [N, H, W]."""


def resolve_device(name: str | torch.device) -> torch.device:
    """`auto` is the first of CUDA, MPS and CPU that this machine has; any other name must be one it has.

    Raises LabError for a name torch does not know and for a device that is not there.
    """
    if name == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LabError(f"device={name} is not a device: use auto, cpu, cuda, cuda:<index> or mps") from None
    if not _is_available(device):
        raise LabError(f"device={name} is not available on this machine: use device=auto or device=cpu")
    return device


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _is_available(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


@dataclass(frozen=True)
class ComputeSettings:
    """How a network is run: device, precision, memory layout, and the bound on the gradient while training.

    `precision` is that of the forward pass (autocast); weights and losses stay float32. `clip_norm` bounds
    the gradient's L2 norm over all weights; None leaves it as it is. `device` also takes `auto`. With several
    `devices` each batch of a training is split over as many processes, with a GPU each, or on the CPU.
    """

    device: str | torch.device = "cpu"
    precision: str = "float32"
    channels_last: bool = False
    clip_norm: float | None = None
    devices: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", resolve_device(self.device))
        if self.precision not in PRECISIONS:
            raise LabError(f"precision={self.precision} is unknown: use one of {', '.join(PRECISIONS)}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise LabError(f"clip_norm={self.clip_norm} must be a positive number, or null for no clipping")
        _check_devices(self.devices, torch.device(self.device))

    @property
    def device_type(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return torch.device(self.device).type

    def place(self, model: nn.Module) -> nn.Module:
        """Moves the model, in place, to this device and memory layout; returns it."""
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        return model

    def move(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A batch, image [N, C, H, W] and mask [N, H, W], on this device and in this layout."""
        layout = torch.channels_last if self.channels_last else torch.preserve_format
        image = image.to(self.device, non_blocking=True, memory_format=layout)
        return image, mask.to(self.device, non_blocking=True)

    def bring(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """All the batches, one after another, on this device and in this layout."""
        for image, mask in batches.on(torch.device(self.device)) if isinstance(batches, Travels) else batches:
            yield self.move(image, mask)

    def logits(self, model: nn.Module, image: Tensor) -> Tensor:
        """The model's logits [N, classes, H, W] for an image [N, C, H, W] that `move` has placed.

        They come back in float32 where the forward pass was run in less, so that losses never round.
        Raises LabError when what the model returns is not logits of the image's height and width.
        """
        with self._autocast():
            logits = model(image)
        if not isinstance(logits, Tensor):
            raise LabError(
                f"model {type(model).__name__} returns a {type(logits).__name__}: "
                "wrap it in a module whose forward returns the logits tensor alone"
            )
        if logits.dim() != 4 or logits.shape[-2:] != image.shape[-2:]:
            raise LabError(
                f"model {type(model).__name__} gives {list(logits.shape)} for images {list(image.shape)}: "
                "its output must be logits [N, classes, H, W] of the image's own height and width"
            )
        return logits if self.precision == "float32" else logits.float()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=_AUTOCAST_TYPES[self.precision])


def _check_devices(count: int, device: torch.device) -> None:
    if not isinstance(count, int) or count < 1:
        raise LabError(f"devices={count} must be a number from 1 on, or null for as many as were started")
    if count > 1 and (device.type == "mps" or device.index is not None):
        raise LabError(f"devices={count} takes the GPUs by itself: use device=cuda, or device=cpu")


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, numpy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def deterministic(on: bool) -> None:
    """Asks torch for the deterministic form of every operation; it warns at those that have none."""
    if on:
        # cuBLAS reads this when its handle is made, before the first matrix product on a GPU.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(on, warn_only=True)
    torch.backends.cudnn.benchmark = False


def random_state() -> dict[str, Any]:
    """The state of all global generators as plain data that JSON can hold."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": [version, list(words), gauss],
        "numpy": [name, np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": _to_hex(torch.get_rng_state()),
        "cuda": [_to_hex(state) for state in cuda],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Puts back what `random_state` gave, also after a trip through JSON.

    GPU generators are restored as far as this machine has the GPUs.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_from_hex(state["torch"]))
    for index, saved in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(_from_hex(saved), index)


def _to_hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
