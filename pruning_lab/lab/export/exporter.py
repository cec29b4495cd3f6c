"""From a trained network to files that run elsewhere, each of them checked. Must not know of pruning, config, runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from pruning_lab.checkpoint.folder import load
from pruning_lab.checkpoint.trust import Trust
from pruning_lab.common.copies import copy_of
from pruning_lab.common.errors import LabError, first_line
from pruning_lab.lab.export.checking import Agreement, Outputs, agreement, as_outputs
from pruning_lab.lab.export.deployed import Deployed, as_input, input_type, main_output, named_outputs, output_names
from pruning_lab.lab.export.folding import folded
from pruning_lab.lab.export.opening import Opened, opened
from pruning_lab.lab.export.options import ALL, ExportOptions, Format, Precision, file_name
from pruning_lab.lab.export.quantizing import Calibration, quantize
from pruning_lab.lab.export.side_file import write_side_file
from pruning_lab.lab.export.sizes import TakenSizes, example_images, taken_sizes
from pruning_lab.lab.export.writing import exported_program, needs_onnx, onnx_model, write_pt2, write_torchscript
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder

TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "float16": 5e-2, "int8": 1.0}
"""Of the largest output: what a file may differ from its network and still count as the same network."""
CHECKED_IMAGES = 8


@dataclass(frozen=True)
class Exported:
    """A file that was written, opened again and run.

    Attributes:
        path: of the file; `<path>.json` stands beside it.
        sizes: of the images that it takes.
        outputs: their names.
        place: of the output that counts among them.
        agreement: with the network, on the images that were given, else on noise.
    """

    path: Path
    format: Format
    precision: Precision
    sizes: TakenSizes
    outputs: tuple[str, ...]
    place: int
    agreement: Agreement

    def open(self) -> Opened:
        """The file as a module."""
        return opened(self.path, self.format)


@dataclass
class Exporter:
    """Writes one network in every format and precision that is asked for.

    Args:
        model: stays as it is.
        facts: what its images were like in training.
        options: see `ExportOptions`.
        size: height and width (or depth, height and width) of the images with which it is exported and checked.
        images: [*size, C] each, bytes or fractions, to check files on; none: noise.
        calibration: for int8, see `Calibration`; its images are as the file reads them.
    """

    model: nn.Module
    facts: InputFacts
    options: ExportOptions
    size: tuple[int, ...]
    images: Sequence[NDArray[Any]] = ()
    calibration: Calibration | None = None
    _programs: dict[Precision, ExportedProgram] = field(init=False, default_factory=dict)
    _protos: dict[Precision, Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if any(precision == "int8" for _, precision in self.options.files()) and self.calibration is None:
            raise LabError("precision=int8 needs training images to calibrate on: export a run, or pass calibration=")
        self.model = copy_of(self.model).cpu().eval()
        self.kind = input_type(self.facts, self.options)
        self.shape = (len(self.facts.mean), *self.size)
        self._network = Deployed(self.model, self.facts, self.options, dimensions=len(self.size))
        with torch.inference_mode():
            try:
                found = named_outputs(self.model(example_images((1, *self.shape), torch.float32)))
            except (RuntimeError, ValueError, IndexError, AssertionError) as error:
                sides = " x ".join(map(str, self.size))
                raise LabError(
                    f"the network takes no image of {sides} ({first_line(error)}): give another size"
                ) from error
        self._outputs = output_names(found, self.options)
        main = main_output(found, self.options.take)
        self.place = list(found).index(main) if self.options.take == ALL else 0
        self._folded = self._as_exported()

    @property
    def expected(self) -> Outputs:
        """What files are held against: the network itself, not folded, in float32."""
        return as_outputs(self._network)

    def write(self, folder: Path, form: Format, precision: Precision) -> Exported:
        """Write a file, and what stands beside it; open it again, and check it.

        Raises:
            LabError: the format, or its runtime, can't take this network; no file is left then.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / file_name(form, precision)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as place:
            draft = Path(place) / path.name
            self._write(draft, form, precision)
            file = opened(draft, form)
            sizes = taken_sizes(file, self.expected, self.shape, self.kind, TOLERANCES[precision])
            agreed = agreement(file, self.expected, self._checked(), self.place)
            shutil.move(draft, path)
        made = Exported(path, form, precision, sizes, tuple(self._outputs), self.place, agreed)
        more = {"checked_against_network": {**asdict(agreed), "on": "images" if self.images else "noise"}}
        kinds = (form, precision, self.facts, self.options, sizes, len(self.size))
        write_side_file(path, *kinds, self._outputs, more)
        return made

    def _write(self, path: Path, form: Format, precision: Precision) -> None:
        if precision == "int8":
            assert self.calibration is not None
            quantize(self._onnx("float32"), path, self.calibration)
        elif form == "torchscript":
            write_torchscript(self._deployed(precision), self._example(), path)
        elif form == "pt2":
            write_pt2(self._program(precision), path)
        else:
            path.write_bytes(self._onnx(precision).SerializeToString())

    def _as_exported(self) -> nn.Module:
        if not self.options.fold:
            return self.model
        try:
            return folded(self.model, example_images((1, *self.shape), torch.float32))[0]
        except LabError as error:
            raise LabError(f"batch norms can't be folded, give fold=false: {error}") from error

    def _deployed(self, precision: Precision) -> nn.Module:
        half = precision == "float16"
        model = copy_of(self._folded) if half else self._folded
        return Deployed(model, self.facts, self.options, half=half, dimensions=len(self.size)).eval()

    def _program(self, precision: Precision) -> ExportedProgram:
        if precision not in self._programs:
            self._programs[precision] = exported_program(self._deployed(precision), self._example(), self.options)
        return self._programs[precision]

    def _onnx(self, precision: Precision) -> Any:
        if precision not in self._protos:
            self._protos[precision] = onnx_model(self._program(precision), self._outputs, self.options)
        return self._protos[precision]

    def _example(self) -> Tensor:
        return example_images((1, *self.shape), self.kind)

    def _checked(self) -> Iterator[Tensor]:
        if not self.images:
            yield example_images((1, *self.shape), self.kind)
        for image in self.images:
            yield as_input(torch.from_numpy(np.array(image))[None], self.facts, self.options)


def export(
    model_or_folder: nn.Module | str | Path,
    folder: str | Path,
    *,
    size: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    images: Sequence[NDArray[Any]] = (),
    calibration: Iterable[NDArray[Any]] | None = None,
    trust: Trust = (),
    **options: Any,
) -> list[Exported]:
    """Write a network as ONNX, pt2 or TorchScript, each file checked against the network.

    Args:
        model_or_folder: a network, or the folder of a run or of a saved model.
        folder: where files go.
        size: of the images with which it is exported; a run's folder knows that of the training images.
        mean, std: per channel, of training pixels in 0..1; a folder knows them.
        images: [H, W, C] each, bytes or fractions, on which files are checked; none: noise.
        calibration: training images of that kind and size, for int8.
        trust: see `checkpoint.load`.
        options: those of `ExportOptions`: formats, precisions, pixels, head, take, fold, and so on.

    Raises:
        LabError: something is missing or does not fit, or a format can't take the network.
    """
    model, facts = _network_and_facts(model_or_folder, mean, std, trust)
    chosen = ExportOptions(**options)
    sides = size or facts.size
    if sides is None:
        raise LabError("export needs size=(height, width) of an image: the model does not tell that of its training")
    exporter = Exporter(
        model,
        facts,
        chosen,
        tuple(sides),
        tuple(facts.pixels(image) if np.ndim(image) <= 3 else image for image in images),
        None if calibration is None else Calibration(_read(calibration, facts, chosen)),
    )
    if any(form == "onnx" for form, _ in chosen.files()):
        needs_onnx()
    return [exporter.write(Path(folder), form, precision) for form, precision in chosen.files()]


def _read(images: Iterable[NDArray[Any]], facts: InputFacts, options: ExportOptions) -> Iterator[Tensor]:
    for image in images:
        yield as_input(torch.from_numpy(np.array(facts.pixels(image)))[None], facts, options)


def _network_and_facts(
    given: nn.Module | str | Path, mean: Sequence[float] | None, std: Sequence[float] | None, trust: Trust
) -> tuple[nn.Module, InputFacts]:
    if isinstance(given, nn.Module):
        if mean is None or std is None:
            raise LabError("export(model, ...) needs mean and std of the training images; a saved folder knows them")
        return given, InputFacts(tuple(mean), tuple(std))
    if mean is not None or std is not None:
        raise LabError("export(folder, ...) takes mean and std from the folder: leave them out")
    place = checkpoint_folder(given)
    return load(place, trust), InputFacts.of_checkpoint(place)
