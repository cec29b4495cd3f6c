"""What is exported and how, as a user says it. Knows no network and no file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pruning_lab.common.errors import LabError

Format = Literal["onnx", "pt2", "torchscript"]
"""`pt2` is what `torch.export.save` writes."""
Precision = Literal["float32", "float16", "int8"]
Pixels = Literal["normalized", "fractions", "stored"]
"""What a file reads: `normalized` what the network itself does; `fractions` pixels in 0..1; `stored` numbers as they
stand in image files (bytes, or what the checkpoint's scale is for)."""
Head = Literal["logits", "probabilities", "mask"]
"""What a file gives: `mask` is the index of the most probable class."""

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".pt"}
ALL = "all"


@dataclass(frozen=True)
class ExportOptions:
    """How a network becomes files: one for each format and precision.

    Attributes:
        formats: see `Format`; one, or several.
        precisions: see `Precision`; one, or several; int8 is for onnx alone.
        pixels: see `Pixels`; all but `normalized` put the normalization into the file.
        head: see `Head`; `probabilities` and `mask` put softmax or argmax into the file.
        take: of a network with several outputs the one that counts, by its name or place; None: the one called out
            or logits, else the first; "all": every one, where `head` is for the one that counts.
        fold: put batch norms into the convolutions before them.
        dynamic_batch, dynamic_size: take any number of images, and any size that the network takes.
        opset: of ONNX; None: what torch writes.
    """

    formats: Sequence[Format] | Format = ("onnx",)
    precisions: Sequence[Precision] | Precision = ("float32",)
    pixels: Pixels = "normalized"
    head: Head = "logits"
    take: str | int | None = None
    fold: bool = True
    dynamic_batch: bool = True
    dynamic_size: bool = True
    opset: int | None = None

    def __post_init__(self) -> None:
        _one_of("pixels", [self.pixels], Pixels)
        _one_of("head", [self.head], Head)
        for name in ("formats", "precisions"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        for name, given, known in (("format", self.formats, Format), ("precision", self.precisions, Precision)):
            if not given:
                raise LabError(f"{name} is an empty list: give one or more of {', '.join(get_args(known))}")
            _one_of(name, given, known)
        if not self.files():
            raise LabError("precision=int8 is for format=onnx: add onnx to the formats, or another precision")

    def files(self) -> list[tuple[Format, Precision]]:
        """Each file's format and precision, ONNX and float32 first."""
        asked = [precision for precision in get_args(Precision) if precision in self.precisions]
        forms = [form for form in get_args(Format) if form in self.formats]
        return [(form, precision) for form in forms for precision in asked if precision != "int8" or form == "onnx"]


def file_name(form: Format, precision: Precision) -> str:
    """`model.onnx`, `model_int8.onnx`, `model.pt2`, `model.pt`."""
    return f"model{'' if precision == 'float32' else f'_{precision}'}{SUFFIXES[form]}"


def _one_of(name: str, given: Sequence[Any], known: Any) -> None:
    for item in given:
        if item not in get_args(known):
            raise LabError(f"{name}={item} is unknown: use one of {', '.join(get_args(known))}")
