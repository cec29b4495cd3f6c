"""What is exported, as a user says it."""

from typing import Any

import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.lab.export.options import ExportOptions, file_name


def test_each_format_in_each_precision_that_it_has() -> None:
    options = ExportOptions(formats=("onnx", "pt2", "torchscript"), precisions=("int8", "float32"))
    names = [file_name(*pair) for pair in options.files()]
    assert names == ["model.onnx", "model_int8.onnx", "model.pt2", "model.pt"]
    assert ExportOptions(formats="pt2").files() == [("pt2", "float32")]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"formats": ["tflite"]}, "format=tflite is unknown: use one of onnx, pt2, torchscript"),
        ({"formats": []}, "empty list"),
        ({"formats": "tflite"}, "format=tflite"),
        ({"precisions": ["int4"]}, "precision=int4"),
        ({"formats": ["pt2"], "precisions": ["int8"]}, "precision=int8 is for format=onnx"),
        ({"pixels": "raw"}, "pixels=raw"),
        ({"head": "sigmoid"}, "head=sigmoid"),
    ],
)
def test_an_option_that_can_not_be_is_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        ExportOptions(**options)
    assert "\n" not in str(caught.value)
