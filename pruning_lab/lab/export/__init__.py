"""A network as a file that runs without this package: ONNX, pt2 or TorchScript, checked against the network."""

from pruning_lab.lab.export.exporter import Exported, Exporter, export
from pruning_lab.lab.export.options import ExportOptions
from pruning_lab.lab.export.quantizing import Calibration

__all__ = ["Calibration", "ExportOptions", "Exported", "Exporter", "export"]
