"""Bytes are read, changed and normalized exactly as before other depths were read: golden hashes of the tensors.

The hashes were taken before images could be anything but uint8 [H, W, 3]. They hold for x86-64; elsewhere the drawing
of eyes and the resizing round differently.
"""

import hashlib
import os
import platform
from collections.abc import Iterable

import pytest
from torch import Tensor

from pruning_lab.data import Augmentation, Eyes, Folder, Loaders
from pruning_lab.data.contract import SegmentationData

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the hashes were taken on x86-64")
NUCLEI = os.environ.get("PRUNING_LAB_DATA")
STEPS = [
    {"name": "HorizontalFlip", "p": 0.5},
    {"name": "Affine", "scale": [0.9, 1.1], "rotate": [-8, 8], "p": 0.5},
    {"name": "RandomBrightnessContrast", "p": 0.5},
    {"name": "HueSaturationValue", "p": 0.5},
]

EYES_STATISTICS = ((0.439, 0.3551, 0.3192), (0.2122, 0.1888, 0.1888))
EYES_HASHES = ["990bb526376265f6", "3cfaed91f29a891a", "2498804bcf22b1c3"]
NUCLEI_STATISTICS = {
    (128, 128): ((0.0511, 0.0511, 0.0511), (0.0707, 0.0707, 0.0707)),
    (256, 256): ((0.0506, 0.0506, 0.0506), (0.0716, 0.0716, 0.0716)),
}
NUCLEI_HASHES = {
    (128, 128): ["10fe101d4a31a85a", "587f63fe4a492fdb", "caf7887f6e37b71e"],
    (256, 256): ["faef455269647c39", "6c8b9813f3faadab", "65ff040bf674f1ef"],
}


def digest(batches: Iterable[tuple[Tensor, Tensor]]) -> str:
    found = hashlib.sha256()
    for images, masks in batches:
        found.update(images.numpy().tobytes() + masks.numpy().tobytes())
    return found.hexdigest()[:16]


def hashes(data: SegmentationData) -> list[str]:
    made = Loaders(data, Augmentation(STEPS), batch_size=4)
    return [digest(made.train_loader(1)), digest(made.eval_loader("val")), digest(made.score_batches(6))]


def test_eyes_give_the_same_tensors():
    data = Eyes(size=(48, 64), train=12, val=5, test=2)
    assert (data.mean, data.std) == EYES_STATISTICS
    assert hashes(data) == EYES_HASHES


@pytest.mark.skipif(NUCLEI is None, reason="PRUNING_LAB_DATA names no folder of nuclei images")
@pytest.mark.parametrize("size", [(128, 128), (256, 256)])
def test_nuclei_give_the_same_tensors(size):
    data = Folder(str(NUCLEI), size)
    assert (data.mean, data.std) == NUCLEI_STATISTICS[size]
    assert hashes(data) == NUCLEI_HASHES[size]
