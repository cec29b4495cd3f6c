"""NIfTI and DICOM, slice by slice. The only module that imports nibabel and pydicom, which are an extra."""

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.formats.contract import AXES, Axis, Header, Stored

WHITE_IS_LOW, INDEXED = "MONOCHROME1", "PALETTE COLOR"
"""PhotometricInterpretation of DICOM: low is white; or a number of a color, which means nothing as brightness."""

VOLUMES_KEPT = 4
"""Slices are asked for one after the other; a compressed volume must not be unpacked for each of them."""


@dataclass(frozen=True)
class Nifti:
    """Volumes [X, Y, Z] or [X, Y, Z, channels], in the file's own order: page z is the slice [Y, X].

    Along another `axis`, a page is the slice [Z, X] of a y, or [Z, Y] of an x.
    """

    axis: Axis = "z"

    def header(self, path: Path) -> Header:
        """Return what the header says; values with a slope become float32."""
        image = _library("nibabel", path).load(path)
        shape = (*image.shape, 1, 1)[:4] if image.ndim <= 4 else None
        if shape is None or image.ndim < 2:
            raise LabError(f"{path} has {image.ndim} dimensions: give volumes [X, Y, Z] or [X, Y, Z, channels]")
        kind = image.get_data_dtype().newbyteorder("=")
        slope, inter = image.dataobj.slope, image.dataobj.inter
        scaled = (slope, inter) != (1.0, 0.0)
        along = AXES.index(self.axis)
        width, height = (side for axis, side in enumerate(shape[:3]) if axis != along)
        return Header(np.dtype(np.float32) if scaled else kind, height, width, shape[3], shape[along], slices=True)

    def page(self, path: Path, number: int) -> Stored:
        """Return slice `number` [H, W, channels]."""
        volume = _nifti(path, path.stat().st_mtime_ns)
        return np.ascontiguousarray(volume.take(number, AXES.index(self.axis)).transpose(1, 0, 2))

    def values(self, path: Path, number: int) -> Stored:
        """Return slice `number` of a mask; whole numbers saved as floats, as many tools do, are whole numbers."""
        values = self.page(path, number)
        whole = np.issubdtype(values.dtype, np.floating) and np.array_equal(values, np.rint(values))
        return values.astype(np.int64) if whole else values


class Dicom:
    """One image a file, or frames. Slope and intercept are applied, so that CT is in Hounsfield units; dark is low."""

    def header(self, path: Path) -> Header:
        """Return what the tags say."""
        tags = _library("pydicom", path).dcmread(path, stop_before_pixels=True)
        frames, samples = int(tags.get("NumberOfFrames", 1)), int(tags.get("SamplesPerPixel", 1))
        if str(tags.get("PhotometricInterpretation", "")) == INDEXED:
            raise LabError(f"{path} holds numbers of colors (PALETTE COLOR): save it as RGB or MONOCHROME2")
        letter = "i" if tags.get("PixelRepresentation", 0) else "u"
        kind = np.dtype(np.float32) if _rescaled(tags) else np.dtype(f"{letter}{int(tags.BitsAllocated) // 8}")
        return Header(kind, int(tags.Rows), int(tags.Columns), samples, frames)

    def page(self, path: Path, number: int) -> Stored:
        """Return frame `number` [H, W, C]."""
        tags = _library("pydicom", path).dcmread(path)
        try:
            pixels = np.asarray(tags.pixel_array)
        except (RuntimeError, AttributeError, NotImplementedError) as problem:
            raise LabError(f"can't decode {path}: {' '.join(str(problem).split())[:160]}") from problem
        frames, samples = int(tags.get("NumberOfFrames", 1)), int(tags.get("SamplesPerPixel", 1))
        frame = _black_is_low(pixels.reshape(frames, int(tags.Rows), int(tags.Columns), samples)[number], tags)
        if _rescaled(tags):
            return (frame * float(tags.RescaleSlope) + float(tags.RescaleIntercept)).astype(np.float32)
        return np.ascontiguousarray(frame)

    def values(self, path: Path, number: int) -> Stored:
        """Return frame `number` of a mask, as stored."""
        tags = _library("pydicom", path).dcmread(path)
        frames = int(tags.get("NumberOfFrames", 1))
        return np.asarray(tags.pixel_array).reshape(frames, int(tags.Rows), int(tags.Columns), -1)[number]


def _black_is_low(frame: Stored, tags: Any) -> Stored:
    """The frame with low values for what is dark, as in all other formats (DICOM PS3.3, C.7.6.3.1.2)."""
    if str(tags.get("PhotometricInterpretation", "")) != WHITE_IS_LOW:
        return frame
    bits = int(tags.get("BitsStored", tags.BitsAllocated))
    ends = -1 if tags.get("PixelRepresentation", 0) else 2**bits - 1  # lowest and highest value together
    return (ends - frame.astype(np.int64)).astype(frame.dtype)


def _rescaled(tags: Any) -> bool:
    slope, intercept = float(tags.get("RescaleSlope", 1)), float(tags.get("RescaleIntercept", 0))
    return (slope, intercept) != (1.0, 0.0)


@functools.lru_cache(maxsize=VOLUMES_KEPT)
def _nifti(path: Path, changed_ns: int) -> Stored:
    """Return the whole volume [X, Y, Z, channels]; `changed_ns` tells a file that was written anew."""
    image = _library("nibabel", path).load(path)
    values = np.asanyarray(image.dataobj)
    if (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0):
        values = values.astype(np.float32)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return values.reshape((*values.shape, 1, 1)[:4]) if values.ndim < 4 else values


def _library(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise LabError(f"{path} needs {name}: install it with pip install 'pruning_lab[medical]'") from problem
