"""What a latency is meant for: machine, precision, layout, batch, image size, threads and runtime. Measures nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.machine import processor

RUNTIMES = ("eager", "compile", "cuda_graphs", "onnxruntime")
"""torch operator by operator, torch.compile, a recorded CUDA graph, and onnxruntime on the CPU."""

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Target:
    """Where a network is going to run, and how. What is None is as in the run that prunes it.

    Args:
        runtime: `eager`, `compile`, `cuda_graphs` or `onnxruntime`.
        device: cpu, cuda, cuda:1.
        precision: float32, bfloat16 or float16.
        channels_last: images and kernels in channels-last order.
        batch: images at once.
        size: height and width of an image.
        threads: of the CPU.
        cache: folder where times are kept, by target and machine; None keeps none.
    """

    runtime: str = "eager"
    device: str | None = None
    precision: str | None = None
    channels_last: bool | None = None
    batch: int = 1
    size: Sequence[int] | None = None
    threads: int | None = None
    cache: str | Path | None = None

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise LabError(f"target.runtime={self.runtime} is not known; use one of {', '.join(RUNTIMES)}")
        if self.precision is not None and self.precision not in TYPES:
            raise LabError(f"target.precision={self.precision} is unknown; use one of {', '.join(TYPES)}")
        if self.batch < 1:
            raise LabError(f"target.batch={self.batch} must be at least one image")
        if self.threads is not None and self.threads < 1:
            raise LabError(f"target.threads={self.threads} must be at least 1, or null for as many as the run has")
        if self.size is not None and (len(self.size) not in (2, 3) or min(self.size) < 1):
            raise LabError(f"target.size={list(self.size)} is no size of an image; give [height, width]")

    def filled(self, device: str, precision: str, channels_last: bool, size: Sequence[int], threads: int) -> Target:
        """What was left open, as in a run.

        Raises:
            LabError: the runtime does not run there.
        """
        full = replace(
            self,
            device=self.device_in(device),
            precision=self.precision or precision,
            channels_last=channels_last if self.channels_last is None else self.channels_last,
            size=tuple(self.size or size),
            threads=self.threads or threads,
        )
        full._check()
        return full

    def device_in(self, device: str) -> str:
        """The device, where the run has this one: onnxruntime is on the CPU."""
        return self.device or ("cpu" if self.runtime == "onnxruntime" else device)

    @contextmanager
    def threads_set(self) -> Iterator[None]:
        """Inside, torch has the target's threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _check(self) -> None:
        if self.runtime == "onnxruntime" and (self.on_accelerator or self.precision != "float32"):
            raise LabError("target.runtime=onnxruntime is for device=cpu and precision=float32; choose these, or eager")
        if self.runtime == "cuda_graphs" and torch.device(str(self.device)).type != "cuda":
            raise LabError(f"target.runtime=cuda_graphs needs a CUDA device, and device={self.device}; use eager")

    @property
    def on_accelerator(self) -> bool:
        """Whether it is no CPU."""
        return torch.device(str(self.device)).type != "cpu"

    @property
    def one_thread(self) -> bool:
        """Whether all work is done by the thread that calls, so that its own time can be read."""
        return not self.on_accelerator and self.threads == 1 and self.runtime != "compile"

    def example(self, channels: int) -> Tensor:
        """Noise of an input's size, float32 [batch, channels, *size], on the device."""
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(self.batch, channels, *(self.size or ()), generator=generator).to(str(self.device))
        return image.to(memory_format=torch.channels_last) if self.channels_last and image.dim() == 4 else image

    def place(self, model: nn.Module) -> nn.Module:
        """Moves a model, in place, to the target's device and layout; returns it in evaluation mode."""
        model.to(str(self.device)).eval()
        return model.to(memory_format=torch.channels_last) if self.channels_last else model

    @property
    def about(self) -> dict[str, Any]:
        """All that times depend on besides the network, as plain data: the machine's part as well."""
        told = {key: value for key, value in asdict(self).items() if key not in ("cache", "size")}
        cuda = torch.device(str(self.device)).type == "cuda"
        chip = torch.cuda.get_device_name(str(self.device)) if cuda else processor()
        return told | {"machine": chip, "torch": torch.__version__, "kernels": torch.backends.cpu.get_cpu_capability()}

    @property
    def key(self) -> str:
        """A name for all of `about`."""
        return hashlib.sha256(repr(sorted(self.about.items())).encode()).hexdigest()[:16]

    @property
    def told(self) -> str:
        """`onnxruntime, cpu, float32, batch 1, 96x128, 1 thread`."""
        sides = "x".join(map(str, self.size or ()))
        threads = "" if self.on_accelerator else f", {self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.runtime}, {self.device}, {self.precision}, batch {self.batch}, {sides}{threads}"
