"""A pruned model as a folder, and back: no pickle, and no code from the folder."""

from pruning_lab.checkpoint.architecture import read_architecture
from pruning_lab.checkpoint.builder import Builder
from pruning_lab.checkpoint.folder import checkpoint_bytes, load, restore_origin, save

__all__ = [
    "Builder",
    "checkpoint_bytes",
    "load",
    "read_architecture",
    "restore_origin",
    "save",
]
