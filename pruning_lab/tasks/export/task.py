"""The task `export`: a run's model as files, checked, scored and timed beside its base. Knows no pruning."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from pruning_lab.checkpoint.folder import load
from pruning_lab.checkpoint.trust import Trust
from pruning_lab.common.errors import LabError
from pruning_lab.data import SegmentationData
from pruning_lab.data.contract import Image, checked_size
from pruning_lab.data.files import resized_image
from pruning_lab.lab.export import Calibration, Exported, Exporter, ExportOptions
from pruning_lab.lab.export.deployed import as_input
from pruning_lab.lab.export.writing import needs_onnx
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.output.console import ConsoleReporter, Reporter
from pruning_lab.tasks.config import build
from pruning_lab.tasks.evaluate.sources import base_of, config_of, data_of_run, trusted
from pruning_lab.tasks.export.measuring import evenly, measured
from pruning_lab.tasks.export.tables import rows_table, write_rows

CONFIG = "config.yaml"


def export(
    config: DictConfig,
    folder: Path,
    choices: Mapping[str, Any],
    run: str,
    output: str | None = None,
    size: Sequence[int] | None = None,
    images: int = 8,
    calibration_images: int = 100,
    calibration: str = "minmax",
    float_ends: bool = False,
    score_images: int = 64,
    base: bool = True,
    trust: bool = False,
    **options: Any,
) -> None:
    """Export a run's model; each argument is a key of conf/task/export.yaml, which says what it means.

    Raises:
        LabError: nothing can be exported, or some formats can't take the network; each of these is told in a line of
            its own, and the others are written.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    chosen = ExportOptions(formats=options.pop("format"), precisions=options.pop("precision"), **options)
    if any(form == "onnx" for form, _ in chosen.files()):
        needs_onnx()
    source = _Source.of(run, config, trust, base)
    sides = checked_size(size, "task.size") if size is not None else source.facts.size
    if sides is None:
        raise LabError("the model tells no size of its training images: give task.size=[height,width]")
    reporter, place = ConsoleReporter(), Path(output) if output else source.folder / "export"
    calibrating = source.calibration(chosen, sides, calibration_images, calibration, float_ends)
    some = tuple(source.images("val", sides, images))
    exporter = Exporter(source.model, source.facts, chosen, sides, some, calibrating)
    made, refused = _write_all("export", exporter, place, reporter)
    with tempfile.TemporaryDirectory() as spare:
        beside = source.exporter_of_base(exporter)
        of_base = _write_all("export the base", beside, Path(spare), reporter)[0] if beside else []
        pairs = (exporter, made), None if beside is None else (beside, of_base)
        rows = measured(*pairs, source.data, score_images, build(config.latency), reporter)
    write_rows(place, rows, {"run": str(source.folder), "threads": torch.get_num_threads(), "size": list(sides)})
    reporter.show(rows_table(rows))
    _tell(reporter, source, base, len(some), place, made)
    if refused:
        raise LabError(f"{refused} of {refused + len(made)} files could not be made, see the lines above")


@dataclass(frozen=True)
class _Source:
    """What is exported, and the data that it was trained on, where they are known."""

    folder: Path
    model: nn.Module
    facts: InputFacts
    data: SegmentationData | None
    base: nn.Module | None

    @staticmethod
    def of(run: str, config: DictConfig, trust: bool, base: bool) -> _Source:
        checkpoint = checkpoint_folder(run)
        facts, place = InputFacts.of_checkpoint(checkpoint), checkpoint.parent
        if not (place / CONFIG).is_file():
            return _Source(checkpoint, load(checkpoint, trust), facts, None, None)
        own = config_of(place)
        allowed: Trust = trusted(own, trust)
        found = base_of(place, checkpoint, own, config.bases, allowed) if base else None
        return _Source(place, load(checkpoint, allowed), facts, data_of_run(own, facts), found)

    def images(self, split: str, size: tuple[int, int], count: int) -> Iterator[Image]:
        """Images of a split, evenly spread over it; none where the data are not known."""
        if self.data is None:
            return
        pairs = self.data.split(split)
        for index in evenly(len(pairs), count):
            yield resized_image(pairs[index][0], size)

    def calibration(
        self, options: ExportOptions, size: tuple[int, int], count: int, method: str, float_ends: bool
    ) -> Calibration | None:
        """What int8 is calibrated on; None without data."""
        if self.data is None:
            return None
        return Calibration(_Inputs(self, options, size, count), method, float_ends)  # type: ignore[arg-type]

    def exporter_of_base(self, own: Exporter) -> Exporter | None:
        """The base as the model itself is exported; None where there is none."""
        return None if self.base is None else replace(own, model=self.base, images=())


@dataclass(frozen=True)
class _Inputs:
    """Training images as files read them, as often as they are asked for."""

    source: _Source
    options: ExportOptions
    size: tuple[int, int]
    count: int

    def __iter__(self) -> Iterator[Tensor]:
        for image in self.source.images("train", self.size, self.count):
            yield as_input(torch.from_numpy(np.array(image))[None], self.source.facts, self.options)


def _write_all(name: str, exporter: Exporter, folder: Path, reporter: Reporter) -> tuple[list[Exported], int]:
    """Every file that can be made, and how many can't, each of which is told."""
    made: list[Exported] = []
    refused, files = 0, exporter.options.files()
    with reporter.task(name, len(files)) as task:
        for form, precision in files:
            try:
                made.append(exporter.write(folder, form, precision))
            except LabError as problem:
                refused += 1
                reporter.warn(f"{form} in {precision}: {problem}")
            task.advance()
    return made, refused


def _tell(reporter: Reporter, source: _Source, base: bool, images: int, place: Path, made: Sequence[Exported]) -> None:
    if base and source.base is None:
        reporter.say("the base is in no folder of bases: give it by bases=FOLDER")
    what = f"{images} validation images" if images else "noise"
    count = f"{len(made)} file{'s' if len(made) != 1 else ''}"
    reporter.say(f"wrote {count}, checked on {what}, each with what it needs to be run in a .json, to {place}")
