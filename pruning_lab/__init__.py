"""Iterative structured filter pruning of segmentation CNNs: a library and a Hydra-configured lab."""

__version__ = "0.1.0"
