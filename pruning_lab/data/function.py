"""Any function or object of the user's as an augmentation. Knows no data set and no library of transforms."""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pruning_lab.common.errors import LabError
from pruning_lab.data.augmentation import Augments, Change
from pruning_lab.data.contract import Image, Mask


class OwnAugmentation:
    """Calls `function(image, mask, random)`, which returns image and mask of the same sizes and types.

    Args:
        function: takes image [H, W, C], mask uint8 [H, W] and a numpy generator, from which alone chance comes.
        called: what to call it in messages.
    """

    def __init__(self, function: Callable[..., Any], called: str) -> None:
        self.function, self.called = function, called

    def for_data(self, size: tuple[int, int], mask_fill: int) -> "OwnAugmentation":
        """Return itself: a function sees the size of what it is given."""
        return self

    def seeded(self, seed: int) -> Change:
        """Return a function (image [H, W, C], mask uint8 [H, W]) -> the two, changed as `seed` decides.

        Raises LabError if the function gave another size or type of pixels.
        """
        return functools.partial(self._apply, seed)

    def _apply(self, seed: int, image: Image, mask: Mask) -> tuple[Image, Mask]:
        changed = self.function(image.copy(), mask.copy(), np.random.default_rng(seed))
        if not isinstance(changed, tuple | list) or len(changed) != 2:
            raise LabError(f"{self.called} returned a {type(changed).__name__}: return the image and the mask")
        for what, before, after in zip(("image", "mask"), (image, mask), changed, strict=True):
            if not isinstance(after, np.ndarray) or after.shape != before.shape or after.dtype != before.dtype:
                raise LabError(
                    f"{self.called} changed the {what} from {before.dtype} {before.shape} to "
                    f"{getattr(after, 'dtype', type(after).__name__)} {getattr(after, 'shape', '')}: keep both"
                )
        return changed[0], changed[1]


class AugmentBy(OwnAugmentation):
    """The function that a dotted path names, called with `parameters` as well.

    Args:
        path: dotted path of a callable, `my_package.my_module.my_function`.
        parameters: keyword arguments that are passed on.

    Raises:
        LabError: nothing callable is found there.
    """

    def __init__(self, path: str, parameters: Mapping[str, Any] | None = None) -> None:
        module, _, name = path.rpartition(".")
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise LabError(
                f"augmentation.path={path} can't be imported ({error}); give package.module.function"
            ) from error
        if not callable(function):
            raise LabError(f"augmentation.path={path} is not callable")
        super().__init__(functools.partial(function, **dict(parameters or {})), f"augmentation.path={path}")


def augmentation_of(thing: Any) -> Augments:
    """What a config's `augmentation` built, as the loaders need it: a user's own object may just be callable.

    Raises:
        LabError: it is neither.
    """
    if callable(getattr(thing, "for_data", None)) and callable(getattr(thing, "seeded", None)):
        return thing
    if callable(thing):
        name = getattr(getattr(thing, "func", thing), "__qualname__", type(thing).__qualname__)
        return OwnAugmentation(thing, f"augmentation {name}")
    raise LabError(
        f"augmentation._target_ builds a {type(thing).__name__}, which can't be called; give a class whose objects "
        "take (image, mask, random), or a function with _partial_: true"
    )
