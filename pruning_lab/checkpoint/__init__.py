"""A pruned model as a folder, and back: no pickle, and no code from the folder."""

from pruning_lab.checkpoint.folder import Builder, load, read_architecture, restore_origin, save

__all__ = [
    "Builder",
    "load",
    "read_architecture",
    "restore_origin",
    "save",
]
