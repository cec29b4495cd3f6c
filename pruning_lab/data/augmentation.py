"""Random changes to an image and its mask together. The only module that imports albumentations.

It knows nothing of data sets and loaders: what they need is `seeded(seed)(image, mask) -> (image, mask)`.
"""

import difflib
import functools
import inspect
import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.data.contract import Image, Mask

Change = Callable[[Image, Mask], tuple[Image, Mask]]

log = logging.getLogger(__name__)

NAME_OF_FILL = "fill_mask"
CHILDREN = "transforms"
NO_INTERPOLATION = {"mask_interpolation": cv2.INTER_NEAREST, "area_for_downscale": "image"}
"""Arguments by which a mask could be blended, and the only value that they may have (besides none)."""

COLORS = (3, "uint8")
"""Channels and type for which all transforms are made."""


class Augments(Protocol):
    """What the loaders need of an augmentation; `Augmentation` is one, a user's own class may be another."""

    def for_data(self, size: tuple[int, int], mask_fill: int) -> "Augments":
        """Return the same for images of `size` (height, width); new pixels of masks get `mask_fill`."""

    def seeded(self, seed: int) -> Change:
        """Return a change that depends on `seed` alone, of image [H, W, C], uint8 or float32, and mask uint8 [H, W]."""


@functools.cache
def library() -> ModuleType:
    """Import albumentations when it is first needed: it takes seconds, and calls home unless told not to."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations


class Augmentation:
    """A list of albumentations transforms, applied in order. Masks are moved, never blended; sizes stay.

    Each step is a mapping: `name` is a transform of albumentations, the other keys are its arguments, and
    OneOf, SomeOf and Sequential take steps under `transforms`. Left out, `size` (or `height` and `width`) of
    a crop and `fill_mask` are set from the data. Raises LabError that names the transform and its argument if
    there is no such one, if its value is refused, or if it would blend masks.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]] = ()) -> None:
        if isinstance(steps, str) or not isinstance(steps, Sequence):
            raise LabError(f"augmentation.steps={steps} must be a list of steps, each with the name of a transform")
        self.steps = [_plain(step) for step in steps]
        self._compose = self._build(size=(64, 64), mask_fill=0)

    def for_data(self, size: tuple[int, int], mask_fill: int) -> "Augmentation":
        """Return the same for images of `size` (height, width); new pixels of masks get `mask_fill`."""
        fitted = Augmentation.__new__(Augmentation)
        fitted.steps = self.steps
        fitted._compose = fitted._build(size, mask_fill)
        return fitted

    def seeded(self, seed: int) -> Change:
        """Return a function (image [H, W, C], mask uint8 [H, W]) -> the two, changed as `seed` decides.

        Images are uint8, or float32 in 0..1. Steps that are made for colors alone are left out for images of other
        numbers of channels, which is said once. It leaves its arguments as they are, and gives the same for the same
        arguments, however often it is called. Raises LabError if a step returned another size or type of pixels.
        """
        return functools.partial(self._apply, seed)

    def _apply(self, seed: int, image: Image, mask: Mask) -> tuple[Image, Mask]:
        if not self.steps:
            return image, mask
        compose = self._compose_for(image)
        # One stream for all steps: Compose's own seed gives all steps the same numbers, so ties their coins.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = compose(image=image.copy(), mask=mask.copy())
        for what, before in (("image", image), ("mask", mask)):
            after = changed[what]
            if not isinstance(after, np.ndarray) or after.shape != before.shape or after.dtype != before.dtype:
                names = ", ".join(step["name"] for step in self.steps)
                raise LabError(
                    f"augmentation.steps ({names}) changed the {what} from {before.dtype} {before.shape} "
                    f"to {after.dtype} {after.shape}: take out what resizes or normalizes"
                )
        return changed["image"], changed["mask"]

    def _compose_for(self, image: Image) -> Any:
        """Return the transforms that can work on such images."""
        kind = (image.shape[2], str(image.dtype))
        if kind == COLORS:
            return self._compose
        if kind not in self._others:
            steps = [fit for step in self.steps if (fit := _fitting(step, self._given, kind)) is not None]
            self._others[kind] = _composed(steps, self._given)
        return self._others[kind]

    def _build(self, size: tuple[int, int], mask_fill: int) -> Any:
        self._given = {"size": size, "height": size[0], "width": size[1], NAME_OF_FILL: mask_fill}
        self._others: dict[tuple[int, str], Any] = {}
        return _composed(self.steps, self._given) if self.steps else None


def _composed(steps: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> Any:
    transforms = [_build_step(step, given) for step in steps]
    return library().Compose(transforms, mask_interpolation=cv2.INTER_NEAREST)


def _fitting(step: Mapping[str, Any], given: Mapping[str, Any], kind: tuple[int, str]) -> dict[str, Any] | None:
    """Return `step` without what can't work on images of such channels and type; None if nothing is left of it."""
    if CHILDREN in step:
        children = [fit for child in step[CHILDREN] if (fit := _fitting(child, given, kind)) is not None]
        return {**step, CHILDREN: children} if children else None
    return dict(step) if _works(_build_step({**step, "p": 1.0}, given), given["size"], kind, step["name"]) else None


def _works(transform: Any, size: tuple[int, int], kind: tuple[int, str], name: str) -> bool:
    """Try a transform on an image of noise; what refuses it is made for colors, and its own words say so."""
    noise = np.random.default_rng(0).random((*size, kind[0]), np.float32)
    image = noise if kind[1] == "float32" else (noise * 255).astype(kind[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            library().Compose([transform], mask_interpolation=cv2.INTER_NEAREST)(
                image=image, mask=np.zeros(size, np.uint8)
            )
        except (TypeError, ValueError, UserWarning, cv2.error) as problem:
            _say_once(name, kind[0], first_line(problem))
            return False
    return True


@functools.cache
def _say_once(name: str, channels: int, reason: str) -> None:
    log.warning("augmentation leaves %s out for images of %s channels: %s", name, channels, reason)


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy made of plain dictionaries and tuples, which is what albumentations accepts."""
    if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
        raise LabError(f"augmentation.steps holds {step!r}: each step is a mapping with the name of a transform")
    plain = {key: _plain_value(value) for key, value in step.items()}
    if CHILDREN in plain:
        plain[CHILDREN] = [_plain(child) for child in step[CHILDREN]]
    return plain


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain_value(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_plain_value(inner) for inner in value)
    return value


def _build_step(step: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Return the transform that `step` describes; what it leaves out of `given` is filled in."""
    name = step["name"]
    kind = _transform(name)
    parameters = inspect.signature(kind.__init__).parameters
    arguments = {key: value for key, value in step.items() if key != "name"}
    for key, value in arguments.items():
        _check_argument(name, key, value, [known for known in parameters if known != "self"])
    if CHILDREN in arguments:
        arguments[CHILDREN] = [_build_step(child, given) for child in arguments[CHILDREN]]
    arguments |= {key: given[key] for key in _left_out(parameters, arguments) if key in given}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return kind(**arguments)
        except (ValueError, TypeError, UserWarning) as problem:
            reason = "; ".join(line.strip() for line in str(problem).splitlines()[1:3]) or str(problem)
            raise LabError(f"augmentation.steps: {name} refuses its arguments: {reason}") from problem


def _left_out(parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a step must be given: arguments without a default, and the class of new pixels.

    `fill_mask` may also default to None, which leaves the mask under a dropped patch as it was: that stays.
    """
    for key, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty
        fills = key == NAME_OF_FILL and parameter.default is not None
        if key not in arguments and (required or fills):
            yield key


def _transform(name: str) -> Any:
    """Return the class called `name`; raises LabError with a near miss if there is none."""
    albumentations = library()
    kind = getattr(albumentations, name, None)
    bases = (albumentations.BasicTransform, albumentations.BaseCompose)
    if inspect.isclass(kind) and issubclass(kind, bases):
        return kind
    near = difflib.get_close_matches(name, [known for known in dir(albumentations) if known[0].isupper()], n=1)
    hint = f"did you mean {near[0]}?" if near else "see the list of transforms of albumentations 2.0.8"
    raise LabError(f"augmentation.steps: albumentations has no transform {name}; {hint}")


def _check_argument(name: str, key: str, value: Any, known: Sequence[str]) -> None:
    if key not in known:
        raise LabError(f"augmentation.steps: {name} has no argument {key}; it has {', '.join(known)}")
    if key in NO_INTERPOLATION and value not in (NO_INTERPOLATION[key], None):
        raise LabError(f"augmentation.steps: {name} would blend classes by {key}={value}; leave {key} out")
