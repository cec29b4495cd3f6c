"""A table of image files as people have them: how each is written, how it is asked for, and the pixels it must give.

The truth is the array that was written, or what another reader (OpenCV, Pillow) makes of the file; it never comes from
the code under test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SIZE = (12, 16)
RNG = np.random.default_rng(14)

Write = Callable[[Path], None]


def values(low: float, high: float, kind: Any, *channels: int) -> np.ndarray:
    """Random numbers [12, 16, *channels] between low and high, both of which occur in each channel."""
    shape = (*SIZE, *channels)
    found = low + RNG.random(shape) * (high - low)
    found = found.astype(kind) if np.issubdtype(kind, np.floating) else np.floor(found).astype(kind)
    found[0, 0], found[-1, -1] = low, high
    return found


def scaled(stored: np.ndarray, low: Any, high: Any, clip: bool = False) -> np.ndarray:
    result = (stored.astype(np.float64) - low) / (np.asarray(high, np.float64) - low)
    return (np.clip(result, 0, 1) if clip else result).astype(np.float32)


def three(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=-1)


@dataclass(frozen=True)
class Shape:
    """A row: the file's name, what writes it, options of `data`, and the pixels [H, W, C] (or a reader of them)."""

    name: str
    file: str
    write: Write
    expected: np.ndarray | Callable[[Path], np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)

    def truth(self, path: Path) -> np.ndarray:
        return self.expected(path) if callable(self.expected) else self.expected


def pillow(pixels: np.ndarray, **how: Any) -> Write:
    return lambda path: Pillow.fromarray(pixels).save(path, **how)


def opencv(pixels: np.ndarray) -> Write:
    """OpenCV writes blue first."""
    stored = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
    return lambda path: cv2.imwrite(str(path), stored)


def tiff(pixels: np.ndarray, **how: Any) -> Write:
    return lambda path: tifffile.imwrite(path, pixels, **how)


def samples(pixels: np.ndarray, **how: Any) -> Write:
    """[H, W, C] as samples of pixels of no color space, as satellite images are."""
    return tiff(pixels, photometric="minisblack", planarconfig="contig", **how)


def planes(pixels: np.ndarray, **how: Any) -> Write:
    """[H, W, C] as one plane after the other."""
    return tiff(
        np.ascontiguousarray(pixels.transpose(2, 0, 1)), photometric="minisblack", planarconfig="separate", **how
    )


def array(pixels: np.ndarray) -> Write:
    return lambda path: np.save(path, pixels)


def by_opencv(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    assert pixels is not None
    return pixels


def by_pillow(path: Path) -> np.ndarray:
    with Pillow.open(path) as picture:
        return np.array(picture.convert("RGB"))


def palette(path: Path) -> None:
    picture = Pillow.fromarray(values(0, 20, np.uint8))
    picture.putpalette([part for index in range(256) for part in (index, 255 - index, index // 2)])
    picture.save(path)


def palette_tiff(path: Path) -> None:
    colors = RNG.integers(0, 2**16, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, values(0, 255, np.uint8), photometric="palette", colormap=colors)


def mode(kind: str, **how: Any) -> Write:
    return lambda path: Pillow.fromarray(values(0, 255, np.uint8, 3)).convert(kind).save(path, **how)


def noted(orientation: int, pixels: np.ndarray) -> Write:
    note = Pillow.Exif()
    note[0x0112] = orientation
    return pillow(pixels, exif=note)


def upright(path: Path) -> np.ndarray:
    with Pillow.open(path) as picture:
        return np.array(ImageOps.exif_transpose(picture))


def with_thumbnail(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(RGB8, photometric="rgb")
        file.write(RGB8[::2, ::2], photometric="rgb", subfiletype=1)


def nifti(volume: np.ndarray, slope: float | None = None, inter: float | None = None) -> Write:
    def write(path: Path) -> None:
        image = nibabel.Nifti1Image(volume, np.eye(4))
        if slope is not None:
            image.header.set_slope_inter(slope, inter)
        nibabel.save(image, path)

    return write


def by_nibabel(axis: str) -> Callable[[Path], np.ndarray]:
    """The only slice along an axis, as nibabel cuts it, from least to largest value."""

    def read(path: Path) -> np.ndarray:
        image = nibabel.load(path)
        cut = {"x": image.slicer[0:1], "y": image.slicer[:, 0:1]}[axis].get_fdata().squeeze()
        return scaled(three(cut.T), -1024, 3071)

    return read


def dicom(pixels: np.ndarray, **tags: Any) -> Write:
    """[H, W], or [frames, H, W]."""

    def write(path: Path) -> None:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        data.Rows, data.Columns = pixels.shape[-2:]
        if pixels.ndim == 3:
            data.NumberOfFrames = pixels.shape[0]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
        for key, value in tags.items():
            setattr(data, key, value)
        data.PixelData = pixels.tobytes()
        data.save_as(path, enforce_file_format=True)

    return write


GREY8, RGB8 = values(0, 255, np.uint8), values(0, 255, np.uint8, 3)
FOUR8 = values(0, 255, np.uint8, 4)
OPAQUE = np.concatenate([RGB8, np.full((*SIZE, 1), 255, np.uint8)], axis=2)
GREY_OPAQUE = np.stack([GREY8, np.full(SIZE, 255, np.uint8)], axis=2)
GREY16, RGB16, FOUR16 = (values(0, 65535, np.uint16, *channels) for channels in ((), (3,), (4,)))
TWELVE, RGB12 = values(3, 4000, np.uint16), values(3, 4000, np.uint16, 3)
OPAQUE16 = np.concatenate([RGB16, np.full((*SIZE, 1), 65535, np.uint16)], axis=2)
SIX16 = values(100, 9000, np.uint16, 6)
BANDS = values(-0.2, 1.4, np.float32, 12)
UNIT, COUNTS = values(0, 1, np.float32), values(0, 4095, np.float32)
DOUBLE, HALF = values(-3.5, 8.25, np.float64), values(-2, 6, np.float16)
CT16, CT32 = values(-1024, 3071, np.int16), values(-1024, 3071, np.int32)
WIDE, SIGNED8 = values(7, 100_000, np.uint32), values(-100, 100, np.int8)
LONG = values(-5, 2**33, np.int64)
BILEVEL = GREY8 > 100
NIBBLES = values(0, 15, np.uint8)
STACK8 = np.stack([GREY8, GREY8[::-1], GREY8[:, ::-1]])
STACK16 = np.ascontiguousarray(SIX16.transpose(2, 0, 1))
VOLUME = np.stack([CT16.T], axis=2)
FOUR_D = values(0, 900, np.int16, 2).transpose(1, 0, 2)[:, :, None, :]
WITH_NOTE = values(0, 255, np.uint8, 3)
LEAST, MOST = np.percentile(COUNTS.astype(np.float64), (5, 90))
UNSPOKEN = {"extrasamples": ["unspecified"]}


def nibbles(path: Path) -> None:
    """A grey PNG of 4 bits, written by hand, since no library does."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (NIBBLES[:, ::2] << 4) | NIBBLES[:, 1::2]
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 4, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def grey_opaque_16(path: Path) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(np.stack([GREY16, np.full(SIZE, 65535, np.uint16)], axis=2)))


BYTES = [
    Shape("RGB PNG", "a.png", pillow(RGB8), RGB8),
    Shape("RGB PNG, by OpenCV", "a.png", opencv(RGB8), by_opencv),
    Shape("grey PNG", "a.png", pillow(GREY8), three(GREY8)),
    Shape("grey PNG, one channel asked for", "a.png", pillow(GREY8), GREY8[..., None], {"channels": 1}),
    Shape("grey PNG saved as colors, one asked for", "a.png", pillow(three(GREY8)), GREY8[..., None], {"channels": 1}),
    Shape("palette PNG", "a.png", palette, by_opencv),
    Shape("PNG of 1 bit", "a.png", pillow(BILEVEL), three(BILEVEL * np.uint8(255))),
    Shape("PNG of 4 bits", "a.png", nibbles, three(NIBBLES * np.uint8(17))),
    Shape("RGBA PNG, opaque", "a.png", pillow(OPAQUE), RGB8),
    Shape("RGBA PNG, opacity as a channel", "a.png", pillow(FOUR8), FOUR8, {"channels": 4}),
    Shape("RGBA PNG, opacity left out", "a.png", pillow(FOUR8), FOUR8[..., :3], {"channels": [0, 1, 2]}),
    Shape("RGB PNG in another order", "a.png", pillow(RGB8), RGB8[..., ::-1], {"channels": [2, 1, 0]}),
    Shape("RGB PNG, green alone", "a.png", pillow(RGB8), RGB8[..., 1:2], {"channels": [1]}),
    Shape("grey PNG with opacity, opaque", "a.png", pillow(GREY_OPAQUE), three(GREY8)),
    Shape("JPEG", "a.jpg", pillow(RGB8), by_pillow),
    Shape("grey JPEG", "a.jpeg", pillow(GREY8), by_pillow),
    Shape("CMYK JPEG", "a.jpg", mode("CMYK"), by_pillow),
    Shape("BMP", "a.bmp", pillow(RGB8), RGB8),
    Shape("WebP without loss", "a.webp", pillow(RGB8, lossless=True), RGB8),
    Shape("GIF", "a.gif", palette, by_pillow),
    Shape("an ending in capitals", "a.PNG", pillow(RGB8), RGB8),
    Shape("RGB TIFF", "a.tif", tiff(RGB8, photometric="rgb"), by_opencv),
    Shape("grey TIFF", "a.tiff", tiff(GREY8), three(GREY8)),
    Shape("RGB TIFF, LZW", "a.tif", tiff(RGB8, photometric="rgb", compression="lzw"), by_opencv),
    Shape("RGB TIFF, Deflate", "a.tif", tiff(RGB8, photometric="rgb", compression="zlib", predictor=True), by_opencv),
    Shape("RGB TIFF, JPEG inside", "a.tif", pillow(RGB8, compression="jpeg"), by_pillow),
    Shape("grey TIFF, JPEG inside", "a.tif", pillow(GREY8, compression="jpeg"), by_pillow),
    Shape("RGB TIFF, by Pillow with PackBits", "a.tif", pillow(RGB8, compression="packbits"), RGB8),
    Shape("RGB TIFF, plane by plane", "a.tif", tiff(RGB8.transpose(2, 0, 1), photometric="rgb"), RGB8),
    Shape("RGB TIFF, tiled", "a.tif", tiff(RGB8, photometric="rgb", tile=(16, 16)), by_opencv),
    Shape("RGB TIFF with a thumbnail", "a.tif", with_thumbnail, RGB8),
    *(
        Shape(
            f"TIFF turned {note}",
            "a.tif",
            tiff(WITH_NOTE, photometric="rgb", extratags=[(274, "H", 1, note, True)]),
            by_pillow,
        )
        for note in range(1, 9)
    ),
    Shape("CMYK TIFF", "a.tif", mode("CMYK"), by_pillow),
    Shape("TIFF whose white is zero", "a.tif", tiff(GREY8, photometric="miniswhite"), three(255 - GREY8)),
    Shape("palette TIFF", "a.tif", palette_tiff, by_pillow),
    Shape("TIFF of 1 bit", "a.tif", pillow(BILEVEL, compression="group4"), three(BILEVEL * np.uint8(255))),
    Shape("TIFF of 4 channels", "a.tif", samples(FOUR8, extrasamples=["unspecified"] * 3), FOUR8),
    Shape("TIFF of RGB and a fourth", "a.tif", tiff(FOUR8, photometric="rgb", **UNSPOKEN), FOUR8),
    Shape("TIFF of 2 channels", "a.tif", samples(FOUR8[..., :2], **UNSPOKEN), FOUR8[..., :2]),
    Shape(
        "TIFF pages as channels",
        "a.tif",
        tiff(STACK8, photometric="minisblack"),
        STACK8.transpose(1, 2, 0),
        {"pages": "channels"},
    ),
    Shape("TIFF, first page", "a.tif", tiff(STACK8, photometric="minisblack"), three(STACK8[0]), {"pages": "first"}),
    Shape("ImageJ, channels", "a.tif", tiff(STACK8, imagej=True, metadata={"axes": "CYX"}), STACK8.transpose(1, 2, 0)),
    Shape("OME, channels", "a.tif", tiff(STACK8, ome=True, metadata={"axes": "CYX"}), STACK8.transpose(1, 2, 0)),
    Shape("array [H, W]", "a.npy", array(GREY8), three(GREY8)),
    Shape("array [H, W, 3]", "a.npy", array(RGB8), RGB8),
    Shape("array [C, H, W]", "a.npy", array(FOUR8.transpose(2, 0, 1)), FOUR8),
    *(
        Shape(f"EXIF {note}, upright", "a.png", noted(note, WITH_NOTE), upright, {"orientation": "upright"})
        for note in range(1, 9)
    ),
    Shape("EXIF 6, as stored", "a.png", noted(6, WITH_NOTE), WITH_NOTE, {"orientation": "stored"}),
    Shape("EXIF 3, not spoken of", "a.png", noted(3, WITH_NOTE), WITH_NOTE),
]

LOWS, HIGHS = SIX16.reshape(-1, 6).min(0), SIX16.reshape(-1, 6).max(0)
BAND_LOWS, BAND_HIGHS = BANDS.reshape(-1, 12).min(0), BANDS.reshape(-1, 12).max(0)
ORDER = [[1, 2, 3], [200, 201, 202]]
DEEP = [
    Shape("grey PNG of 16 bits", "a.png", pillow(GREY16), scaled(three(GREY16), 0, 65535)),
    Shape("grey PNG of 16 bits, 12 used", "a.png", pillow(TWELVE), scaled(three(TWELVE), 3, 4000)),
    Shape("RGB PNG of 16 bits", "a.png", opencv(RGB16), scaled(RGB16, 0, 65535)),
    Shape("RGB PNG of 16 bits, 12 used", "a.png", opencv(RGB12), scaled(RGB12, 3, 4000)),
    Shape("RGBA PNG of 16 bits, opaque", "a.png", opencv(OPAQUE16), scaled(RGB16, 0, 65535)),
    Shape("RGBA PNG of 16 bits, all", "a.png", opencv(FOUR16), scaled(FOUR16, 0, 65535), {"channels": 4}),
    Shape("grey PNG of 16 bits with opacity", "a.png", grey_opaque_16, scaled(three(GREY16), 0, 65535)),
    Shape("TIFF of 16 bits", "a.tif", tiff(GREY16), scaled(three(GREY16), 0, 65535)),
    Shape("TIFF of 16 bits, 12 used", "a.tif", tiff(TWELVE), scaled(three(TWELVE), 3, 4000)),
    Shape("TIFF of 16 bits, big end first", "a.tif", tiff(TWELVE, byteorder=">"), scaled(three(TWELVE), 3, 4000)),
    Shape("BigTIFF", "a.tif", tiff(TWELVE, bigtiff=True), scaled(three(TWELVE), 3, 4000)),
    Shape("TIFF of 16 bits, LZW", "a.tif", tiff(TWELVE, compression="lzw"), scaled(three(TWELVE), 3, 4000)),
    Shape("TIFF of 16 bits, Zstandard", "a.tif", tiff(TWELVE, compression="zstd"), scaled(three(TWELVE), 3, 4000)),
    Shape("RGB TIFF of 16 bits", "a.tif", tiff(RGB16, photometric="rgb"), scaled(RGB16, 0, 65535)),
    Shape(
        "TIFF of 4 channels of 16 bits",
        "a.tif",
        samples(FOUR16, extrasamples=["unspecified"] * 3),
        scaled(FOUR16, 0, 65535),
    ),
    Shape("TIFF of 6 channels", "a.tif", samples(SIX16, extrasamples=["unspecified"] * 5), scaled(SIX16, LOWS, HIGHS)),
    Shape("TIFF of 6 channels, plane by plane", "a.tif", planes(SIX16), scaled(SIX16, LOWS, HIGHS)),
    Shape(
        "TIFF of 6 pages as channels",
        "a.tif",
        tiff(STACK16, photometric="minisblack"),
        scaled(SIX16, LOWS, HIGHS),
        {"pages": "channels"},
    ),
    Shape(
        "TIFF of 6 channels, false colors",
        "a.tif",
        planes(SIX16),
        scaled(SIX16[..., [5, 3, 0]], LOWS[[5, 3, 0]], HIGHS[[5, 3, 0]]),
        {"channels": [5, 3, 0]},
    ),
    Shape("TIFF of 12 bands of float32", "a.tif", planes(BANDS), scaled(BANDS, BAND_LOWS, BAND_HIGHS)),
    Shape("float TIFF of 0..1", "a.tif", tiff(UNIT), three(UNIT)),
    Shape("float TIFF of 0..4095", "a.tif", tiff(COUNTS), scaled(three(COUNTS), 0, 4095)),
    Shape("float TIFF by Pillow", "a.tif", pillow(COUNTS), scaled(three(COUNTS), 0, 4095)),
    Shape("TIFF of float64", "a.tif", tiff(DOUBLE), scaled(three(DOUBLE), -3.5, 8.25)),
    Shape("TIFF of float16", "a.tif", tiff(HALF), scaled(three(HALF), -2, 6)),
    Shape("CT of int16", "a.tif", tiff(CT16), scaled(three(CT16), -1024, 3071)),
    Shape("CT of int32", "a.tif", tiff(CT32), scaled(three(CT32), -1024, 3071)),
    Shape("CT of int32 by Pillow", "a.tif", pillow(CT32), scaled(three(CT32), -1024, 3071)),
    Shape("TIFF of uint32", "a.tif", tiff(WIDE), scaled(three(WIDE), 7, 100_000)),
    Shape("TIFF of int8", "a.tif", tiff(SIGNED8), scaled(three(SIGNED8), -100, 100)),
    Shape("a window on a CT", "a.tif", tiff(CT16), scaled(three(CT16), -160, 240, clip=True), {"scale": [-160, 240]}),
    Shape("CT by type", "a.tif", tiff(CT16), scaled(three(CT16), -32768, 32767), {"scale": "type"}),
    Shape("12 bits by type", "a.tif", tiff(TWELVE), scaled(three(TWELVE), 0, 65535), {"scale": "type"}),
    Shape(
        "16 bits by range", "a.tif", tiff(GREY16 // 2 + 7), scaled(three(GREY16 // 2 + 7), 7, 32774), {"scale": "range"}
    ),
    Shape("bytes by range", "a.png", pillow(GREY8 // 2 + 9), scaled(three(GREY8 // 2 + 9), 9, 136), {"scale": "range"}),
    Shape(
        "percentiles",
        "a.tif",
        tiff(COUNTS),
        scaled(three(COUNTS), LEAST, MOST, clip=True),
        {"scale": {"percentile": [5, 90]}},
    ),
    Shape(
        "ends for each channel", "a.png", pillow(RGB8), scaled(RGB8, *map(np.array, ORDER), clip=True), {"scale": ORDER}
    ),
    Shape("float array", "a.npy", array(COUNTS), scaled(three(COUNTS), 0, 4095)),
    Shape("float array [H, W, 12]", "a.npy", array(BANDS), scaled(BANDS, BAND_LOWS, BAND_HIGHS)),
    Shape("array of int64", "a.npy", array(LONG), scaled(three(LONG), -5, 2**33)),
    Shape("array of truth values", "a.npy", array(BILEVEL), three(BILEVEL).astype(np.float32)),
    Shape("NIfTI of int16", "a.nii", nifti(VOLUME), scaled(three(CT16), -1024, 3071)),
    Shape("NIfTI, compressed", "a.nii.gz", nifti(VOLUME), scaled(three(CT16), -1024, 3071)),
    Shape("NIfTI of float32", "a.nii.gz", nifti(COUNTS.T[..., None]), scaled(three(COUNTS), 0, 4095)),
    Shape("NIfTI, slices [Z, X] along y", "a.nii", nifti(CT16.T[:, None]), by_nibabel("y"), {"axis": "y"}),
    Shape("NIfTI, slices [Z, Y] along x", "a.nii.gz", nifti(CT16.T[None]), by_nibabel("x"), {"axis": "x"}),
    Shape(
        "NIfTI of 2 channels, slices along y",
        "a.nii",
        nifti(FOUR_D[:, :, 0][:, None]),
        scaled(FOUR_D[:, :, 0].transpose(1, 0, 2), [0, 0], [900, 900]),
        {"axis": "y"},
    ),
    Shape("NIfTI of one slice [X, Y]", "a.nii", nifti(CT16.T), scaled(three(CT16), -1024, 3071)),
    Shape(
        "NIfTI of 2 channels", "a.nii", nifti(FOUR_D), scaled(FOUR_D[:, :, 0].transpose(1, 0, 2), [0, 0], [900, 900])
    ),
    Shape("DICOM of uint16", "a.dcm", dicom(TWELVE), scaled(three(TWELVE), 3, 4000)),
    Shape(
        "DICOM in Hounsfield units",
        "a.dcm",
        dicom(TWELVE, RescaleSlope=2, RescaleIntercept=-1024),
        scaled(three(TWELVE * 2.0 - 1024), -1018, 6976),
    ),
    Shape(
        "DICOM whose white is low",
        "a.dcm",
        dicom(TWELVE, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11),
        scaled(three(4095 - TWELVE), 95, 4092),
    ),
    Shape(
        "DICOM of signed numbers whose white is low",
        "a.dcm",
        dicom(CT16, PhotometricInterpretation="MONOCHROME1"),
        scaled(three(-1 - CT16), -3072, 1023),
    ),
    Shape(
        "DICOM frames as channels",
        "a.dcm",
        dicom(STACK16),
        scaled(SIX16, LOWS, HIGHS),
        {"pages": "channels"},
    ),
    Shape(
        "DICOM, first frame",
        "a.dcm",
        dicom(STACK16),
        scaled(three(STACK16[0]), 100, 9000),
        {"pages": "first"},
    ),
    Shape("DICOM of int16", "a.dcm", dicom(CT16), scaled(three(CT16), -1024, 3071)),
]
