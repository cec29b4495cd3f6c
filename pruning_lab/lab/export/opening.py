"""Exported files, opened and run as those who get them would. Knows file formats; no network and no data."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.lab.export.options import Format
from pruning_lab.lab.export.writing import needs_onnx


class Opened(nn.Module):
    """An exported file as a module: images [N, C, *size] -> its outputs, on the CPU."""

    def __init__(self, run: Callable[[Tensor], Any]) -> None:
        super().__init__()
        # In a list, so that it is no submodule: exported programs refuse to change their mode.
        self._run = [run]

    def forward(self, image: Tensor) -> list[Tensor]:
        with torch.no_grad():
            found = self._run[0](image)
        return [found] if isinstance(found, Tensor) else list(found)


def opened(path: Path, form: Format) -> Opened:
    """A file of a format, by the runtime that it is for; ONNX by onnxruntime, on as many threads as torch has.

    A pt2 or TorchScript file runs what it says: open none that comes from a stranger.

    Raises:
        LabError: the file can't be opened.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the formats' own future
            if form == "onnx":
                return Opened(_onnx(path))
            return Opened(torch.export.load(path).module() if form == "pt2" else torch.jit.load(str(path)))
    except LabError:
        raise
    except Exception as error:  # of any kind, as runtimes please
        raise LabError(f"{path} can't be opened: {first_line(error)}") from error


def _onnx(path: Path) -> Callable[[Tensor], list[Tensor]]:
    needs_onnx()
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(image: Tensor) -> list[Tensor]:
        return [torch.from_numpy(found) for found in session.run(None, {name: image.numpy()})]

    return run
