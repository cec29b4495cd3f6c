"""The network as it is exported: pixels in, one tensor (or several by name) out. Knows torch; no file format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.lab.export.options import ALL, ExportOptions
from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.lab.prediction import MOST_CLASSES

MAIN = ("out", "logits")
"""What the output that counts is called in the libraries' networks with several outputs."""
FULL_BYTE = 255.0


class Deployed(nn.Module):
    """Images [N, C, *size] as `pixels` says -> what `head` says, in float32; a mask is uint8 [N, *size].

    Args:
        model: gives logits [N, classes, ...], alone or among other outputs.
        facts: mean, std and scale of its images.
        half: run the network in float16; normalization and head stay in float32.
        dimensions: of an image: 2, or 3 for a volume.

    Raises:
        LabError: when it runs, where the outputs do not fit the options.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    width: Tensor

    def __init__(
        self, model: nn.Module, facts: InputFacts, options: ExportOptions, *, half: bool = False, dimensions: int = 2
    ) -> None:
        super().__init__()
        self.model = model.half() if half else model
        self._options, self._half, self._bytes = options, half, facts.scale is None
        self._clip = facts.scale is not None and facts.scale.clip
        shape = (1, -1, *[1] * dimensions)
        for name, numbers in _constants(facts).items():
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float32).view(shape), persistent=True)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        pixels = self._normalized(image.to(torch.float32))
        found = named_outputs(self.model(pixels.to(torch.float16) if self._half else pixels))
        main = main_output(found, self._options.take)
        outputs = {name: tensor.to(torch.float32) for name, tensor in found.items()}
        outputs[main] = self._headed(outputs[main])
        return tuple(outputs.values()) if self._options.take == ALL else outputs[main]

    def _normalized(self, pixels: Tensor) -> Tensor:
        if self._options.pixels == "normalized":
            return pixels
        if self._options.pixels == "stored" and not self._bytes:
            pixels = (pixels - self.low) / self.width
            pixels = pixels.clamp(0, 1) if self._clip else pixels
        elif self._options.pixels == "stored":
            return (pixels - self.mean * FULL_BYTE) / (self.std * FULL_BYTE)
        return (pixels - self.mean) / self.std

    def _headed(self, logits: Tensor) -> Tensor:
        if self._options.head == "logits":
            return logits
        if logits.shape[1] < 2:
            raise LabError(f"head={self._options.head} needs 2 classes or more, the network gives {logits.shape[1]}")
        if self._options.head == "probabilities":
            return logits.softmax(1)
        mask = logits.argmax(1)
        return mask.to(torch.uint8) if logits.shape[1] <= MOST_CLASSES else mask


def named_outputs(output: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor of an output by its name: keys joined by dots, or places; one tensor alone has the empty name.

    Raises:
        LabError: it holds something else as well.
    """
    if isinstance(output, Tensor):
        return {name: output}
    if is_dataclass(output):
        output = {item.name: getattr(output, item.name) for item in fields(output)}
    if isinstance(output, Mapping):
        parts = [(str(key), value) for key, value in output.items() if value is not None]
    elif isinstance(output, Sequence) and not isinstance(output, str):
        parts = [(str(place), value) for place, value in enumerate(output) if value is not None]
    else:
        raise LabError(f"the network gives a {type(output).__name__}: export takes tensors, also in dicts and tuples")
    found: dict[str, Tensor] = {}
    for key, value in parts:
        found |= named_outputs(value, f"{name}.{key}".lstrip("."))
    if not found:
        raise LabError("the network gives no tensor: there is nothing to export")
    return found


def main_output(found: Mapping[str, Tensor], wanted: str | int | None) -> str:
    """The name of the output that counts. Raises LabError where there is none of that name."""
    if wanted is None or wanted == ALL:
        return next((name for name in MAIN if name in found), next(iter(found)))
    if str(wanted) not in found:
        names = ", ".join(found) if list(found) != [""] else "one tensor without a name: leave it out"
        raise LabError(f"take={wanted} is no output of the network; it gives {names}")
    return str(wanted)


def output_names(found: Mapping[str, Tensor], options: ExportOptions) -> list[str]:
    """What the outputs are called in a file: the one that counts by the head, others by their own names."""
    main = main_output(found, options.take)
    if options.take != ALL:
        return [options.head]
    return [options.head if name == main else name.replace(".", "_") or "output" for name in found]


def as_input(stored: Tensor, facts: InputFacts, options: ExportOptions) -> Tensor:
    """Images [N, *size, C], bytes or fractions as data sets give them, as a file reads them: [N, C, *size].

    Raises:
        LabError: `pixels=stored`, and stored numbers can't be told from these.
    """
    pixels = stored.movedim(-1, 1).contiguous()
    bytes_given = pixels.dtype == torch.uint8
    shape = (1, -1, *[1] * (pixels.dim() - 2))
    values = {name: torch.tensor(numbers).view(shape) for name, numbers in _constants(facts).items()}
    if options.pixels == "stored":
        if bytes_given and facts.scale is None:
            return pixels
        if bytes_given or facts.scale is None:
            raise LabError("pixels=stored: the images are fractions already, without a scale; use pixels=fractions")
        return pixels.float() * values["width"] + values["low"]
    full = FULL_BYTE if bytes_given else 1.0
    if options.pixels == "fractions":
        return pixels.float() / full
    return (pixels.float() - values["mean"] * full) / (values["std"] * full)


def input_type(facts: InputFacts, options: ExportOptions) -> torch.dtype:
    """What a file reads: bytes where pixels go in as they are stored, else float32."""
    return torch.uint8 if options.pixels == "stored" and facts.scale is None else torch.float32


def _constants(facts: InputFacts) -> dict[str, list[float]]:
    low = facts.scale.low if facts.scale else (0.0,) * len(facts.mean)
    high = facts.scale.high if facts.scale else (1.0,) * len(facts.mean)
    width = [end - start for start, end in zip(low, high, strict=True)]
    return {"mean": list(facts.mean), "std": list(facts.std), "low": list(low), "width": width}
