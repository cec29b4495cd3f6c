"""Data sets, augmentation and batches: each option of `data` and `augmentation` is a name from here."""

from pruning_lab.data.augmentation import Augmentation, Augments
from pruning_lab.data.contract import Image, Mask, SegmentationData, Split
from pruning_lab.data.eyes import Eyes
from pruning_lab.data.fields import Fields
from pruning_lab.data.folder import Folder
from pruning_lab.data.function import AugmentBy, augmentation_of
from pruning_lab.data.loading import Batch, Loaders, TrainEpoch
from pruning_lab.data.public import OxfordPet, Voc

__all__ = [
    "AugmentBy",
    "Augmentation",
    "Augments",
    "Batch",
    "Eyes",
    "Fields",
    "Folder",
    "Image",
    "Loaders",
    "Mask",
    "OxfordPet",
    "SegmentationData",
    "Split",
    "TrainEpoch",
    "Voc",
    "augmentation_of",
]
