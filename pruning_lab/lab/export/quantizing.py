"""An ONNX file in int8, by onnxruntime's static quantization. Knows ONNX files and images; no network."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.lab.export.writing import INPUT, needs_onnx

Method = Literal["minmax", "percentile", "entropy"]
OPERATORS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Concat", "MaxPool", "Relu", "Resize", "Clip")
"""What is computed in int8; the rest, the normalization of pixels among it, stays in float32."""


@dataclass(frozen=True)
class Calibration:
    """How the range of every activation is found.

    Attributes:
        images: [1, C, *size] each, as the file reads them; training images.
        method: what becomes of the values seen: their least and largest, percentiles, or least loss of entropy.
        float_ends: leave the first and the last convolution in float32.
    """

    images: Iterable[Tensor]
    method: Method = "minmax"
    float_ends: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise LabError(f"calibration={self.method} is unknown: use one of {', '.join(get_args(Method))}")


def quantize(source: Any, target: Path, calibration: Calibration) -> None:
    """Write a file in int8: weights by channel, symmetric; activations by tensor.

    Args:
        source: an ONNX model in float32.

    Raises:
        LabError: there are no images, or onnxruntime refuses the network.
    """
    needs_onnx()
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    reader = _reader(calibration.images)
    with tempfile.TemporaryDirectory() as folder, _quietly():
        given, prepared = (Path(folder) / name for name in ("given.onnx", "prepared.onnx"))
        given.write_bytes(source.SerializeToString())
        try:
            quant_pre_process(given, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_ends(prepared) if calibration.float_ends else [],
                calibrate_method=methods[calibration.method],
            )
        except Exception as error:  # of any kind, as the library pleases
            raise LabError(f"onnxruntime can't quantize the network: {first_line(error)}") from error


def _reader(images: Iterable[Tensor]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._images: Iterator[Tensor] = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._images, None)
            return None if image is None else {INPUT: image.numpy()}

    return Reader()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without advice that the library logs, and progress that it prints."""
    logger = logging.getLogger()
    level = logger.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            logger.setLevel(logging.ERROR)
            yield
        finally:
            logger.setLevel(level)


def _ends(path: Path) -> list[str]:
    import onnx

    convolutions = [node.name for node in onnx.load(path).graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return [convolutions[0], convolutions[-1]]
