"""MONAI's segmentation networks in two and three dimensions, as small as their constructors allow. Measures nothing.

A case names the class and its arguments, so that the same words build the network and its checkpoint's original.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from torch import nn

MODULE = "monai.networks.nets"


class MonaiCase(NamedTuple):
    """A class of MONAI, what it is built with (plain values, as a checkpoint holds them), and its images' side."""

    network: str
    dims: int
    side: int
    arguments: dict[str, Any]

    def build(self) -> nn.Module:
        """The network with random weights."""
        network: nn.Module = getattr(importlib.import_module(MODULE), self.network)(**self.arguments)
        return network


WIDTHS = [8, 16, 32, 64]
STRIDES = [2, 2, 2]


def _cases(dims: int) -> dict[str, MonaiCase]:
    side = {2: 64, 3: 32}[dims]
    plain = {"spatial_dims": dims, "in_channels": 1, "out_channels": 3}
    dynamic = {
        **plain,
        "kernel_size": [3] * 4,
        "strides": [1, *STRIDES],
        "upsample_kernel_size": STRIDES,
        "filters": WIDTHS,
    }
    told: dict[str, tuple[str, int, dict[str, Any]]] = {
        "BasicUNet": ("BasicUNet", side, {**plain, "features": [8, 8, 16, 32, 64, 8]}),
        "UNet": ("UNet", side, {**plain, "channels": WIDTHS, "strides": STRIDES, "num_res_units": 2}),
        "AttentionUnet": ("AttentionUnet", side, {**plain, "channels": WIDTHS, "strides": STRIDES}),
        "SegResNet": ("SegResNet", side, plain),
        "SegResNetVAE": ("SegResNetVAE", side, {**plain, "input_image_size": [side] * dims, "vae_nz": 32}),
        "DynUNet": ("DynUNet", side, dynamic),
        "DynUNet, deep supervision": (
            "DynUNet",
            side,
            {**dynamic, "deep_supervision": True, "deep_supr_num": 2, "res_block": True},
        ),
        "VNet": ("VNet", side, {**plain, "dropout_dim": dims}),
        "HighResNet": ("HighResNet", side, plain),
        "FlexibleUNet": (
            "FlexibleUNet",
            side,
            {**plain, "backbone": "resnet18", "decoder_channels": [32, 32, 16, 16, 8]},
        ),
        "UNETR": (
            "UNETR",
            side,
            {**plain, "img_size": side, "feature_size": 8, "hidden_size": 48, "mlp_dim": 96, "num_heads": 4},
        ),
        # Five halvings, with normalizations that want more than one place.
        "SwinUNETR": ("SwinUNETR", 64, {**plain, "feature_size": 12}),
    }
    return {f"{name} {dims}d": MonaiCase(network, dims, at, built) for name, (network, at, built) in told.items()}


CASES = {**_cases(2), **_cases(3)}
