"""An augmentation of one's own: image and mask roll sideways together, as a panorama does."""

import numpy as np

from pruning_lab.data import Image, Mask


def rolled(image: Image, mask: Mask, random: np.random.Generator, most: float = 0.5) -> tuple[Image, Mask]:
    """Image [H, W, C] and mask uint8 [H, W] of the same sizes as before; chance comes from `random` alone."""
    shift = int(random.uniform(-most, most) * image.shape[1])
    return np.roll(image, shift, axis=1), np.roll(mask, shift, axis=1)
