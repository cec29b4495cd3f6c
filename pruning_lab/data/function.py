"""Any function of the user's as an augmentation, by its dotted path. Knows no data set and no library of transforms."""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.augmentation import Change
from pruning_lab.data.contract import Image, Mask


class AugmentBy:
    """Calls `path(image, mask, random, **parameters)`, which returns image and mask of the same sizes and types.

    Args:
        path: dotted path of a callable, `my_package.my_module.my_function`.
        parameters: keyword arguments that are passed on.

    Raises:
        LabError: nothing callable is found there.
    """

    def __init__(self, path: str, parameters: Mapping[str, Any] | None = None) -> None:
        module, _, name = path.rpartition(".")
        try:
            self.function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise LabError(
                f"augmentation.path={path} can't be imported ({error}); give package.module.function"
            ) from error
        if not callable(self.function):
            raise LabError(f"augmentation.path={path} is not callable")
        self.path, self.parameters = path, dict(parameters or {})

    def for_data(self, size: tuple[int, int], mask_fill: int) -> "AugmentBy":
        """Return itself: a function sees the size of what it is given."""
        return self

    def seeded(self, seed: int) -> Change:
        """Return a function (image [H, W, C], mask uint8 [H, W]) -> the two, changed as `seed` decides.

        Raises LabError if the function gave another size or type of pixels.
        """
        return functools.partial(self._apply, seed)

    def _apply(self, seed: int, image: Image, mask: Mask) -> tuple[Image, Mask]:
        changed = self.function(image.copy(), mask.copy(), np.random.default_rng(seed), **self.parameters)
        for what, before, after in zip(("image", "mask"), (image, mask), changed, strict=True):
            if not isinstance(after, np.ndarray) or after.shape != before.shape or after.dtype != before.dtype:
                raise LabError(
                    f"augmentation.path={self.path} changed the {what} from {before.dtype} {before.shape} to "
                    f"{getattr(after, 'dtype', type(after).__name__)} {getattr(after, 'shape', '')}: keep both"
                )
        return changed[0], changed[1]
