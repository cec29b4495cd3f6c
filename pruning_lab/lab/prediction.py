"""Masks for new images from a trained network, of any size and depth. Must not know of pruning, files of images, runs.

What a network reads was normalized in training, and perhaps scaled and resized; an image goes the same way here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pruning_lab.checkpoint.folder import load
from pruning_lab.checkpoint.trust import Trust
from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.modules import device_of, in_mode
from pruning_lab.data.batches import Normalizer
from pruning_lab.data.contract import Image
from pruning_lab.data.files import resized_image
from pruning_lab.lab.input_facts import InputFacts, checkpoint_folder
from pruning_lab.lab.tiling import Blend, Place, padded, places, rounded_up, tile_side
from pruning_lab.training.compute import ComputeSettings

Resize = Literal["auto", "training", "native"]
"""The size at which a network sees an image: `auto` as large as things were in training, see
`InputFacts.size_as_in_training`; `training` the size of the training images; `native` its own."""

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)
"""What a side may have to be a multiple of, as halving resolution up to seven times asks for."""
PIXELS_OF_AN_IMAGE = 512 * 512
"""Pixels that one image of a batch is reckoned with: of larger ones, a batch holds fewer."""
MOST_CLASSES = 256


@dataclass(frozen=True)
class Prediction:
    """What a network says of an image, at the image's own size.

    Attributes:
        mask: uint8 [H, W], the index of the most probable class.
        probabilities: float32 [classes, H, W], or None where they were not asked for.
    """

    mask: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None


class Predictor:
    """Predicts masks with one network, which stays on its device.

    Args:
        model: gives logits [N, classes, H, W]; its mode is put back after each batch.
        facts: what its images were like in training.
        settings: where and how precisely it runs; None: where it is, in float32.
        resize: see `Resize`; at another size than its own an image is predicted, and probabilities are brought back.
        tile: an image with a longer side is cut into tiles of this size, in pixels; 0: never.
        overlap: pixels that neighboring tiles share at least.
        batch_size: images in a batch, of 512 x 512 pixels; fewer of larger ones.
    """

    def __init__(
        self,
        model: nn.Module,
        facts: InputFacts,
        settings: ComputeSettings | None = None,
        *,
        resize: Resize = "auto",
        tile: int = 1024,
        overlap: int = 128,
        batch_size: int = 8,
    ) -> None:
        if resize not in get_args(Resize):
            raise LabError(f"resize is {resize}: use one of {', '.join(get_args(Resize))}")
        if tile < 0 or (tile and not 0 <= overlap <= tile // 2) or batch_size < 1:
            raise LabError(
                f"tile={tile} overlap={overlap} batch_size={batch_size} do not go together: tile is 0 or more pixels, "
                "overlap at most half of it, batch_size at least 1"
            )
        if resize == "training" and facts.size is None:
            raise LabError("resize=training needs the size of the training images, which the model does not tell")
        self.facts = facts
        self.settings = settings or ComputeSettings(device_of(model))
        self.model = self.settings.place(model)
        self._resize = resize
        self._tile, self._overlap, self._batch_size = tile, overlap, batch_size
        self._normalize = Normalizer(facts.mean, facts.std)
        self._refused: set[tuple[int, int]] = set()

    @staticmethod
    def from_folder(
        folder: str | Path, settings: ComputeSettings | None = None, trust: Trust = (), **options: Any
    ) -> Predictor:
        """A predictor of a run's model, or of a saved one.

        Args:
            folder: of the run, or of the model.
            settings: where and how precisely it runs; None: on the best device of this machine.
            trust: see `checkpoint.load`.
            options: those of the constructor.
        """
        place = checkpoint_folder(folder)
        model = load(place, trust)
        return Predictor(model, InputFacts.of_checkpoint(place), settings or ComputeSettings("auto"), **options)

    def __call__(self, image: NDArray[Any], probabilities: bool = False) -> Prediction:
        """The prediction of one image, see `predict_all`."""
        return next(self.predict_all([image], probabilities))

    def predict_all(self, images: Iterable[NDArray[Any]], probabilities: bool = False) -> Iterator[Prediction]:
        """Predictions in the order of the images, which are taken as they are needed.

        Args:
            images: [H, W, C] or [H, W], each of any size: float32 in 0..1, or whole numbers as they are stored (bytes,
                or what the checkpoint's scale is for).
            probabilities: give these as well.

        Raises:
            LabError: an image has other channels or numbers than the network was trained on, or no pixel.
        """
        waiting: _Running | None = None
        for images_of_a_batch in self._batches(images):
            started = self._start(images_of_a_batch, probabilities)
            if waiting is not None:
                yield from waiting.finish()
            waiting = started
        if waiting is not None:
            yield from waiting.finish()

    def _batches(self, images: Iterable[NDArray[Any]]) -> Iterator[list[_Prepared]]:
        """Neighbors of one size and type together."""
        batch: list[_Prepared] = []
        for image in images:
            prepared = self._prepared(image)
            if batch and (len(batch) >= self._room(batch[0].pixels) or not batch[0].is_like(prepared)):
                yield batch
                batch = []
            batch.append(prepared)
        if batch:
            yield batch

    def _room(self, pixels: Image) -> int:
        """How many images of this size, or tiles of it, a batch holds."""
        height, width = (min(side, self._tile or side) for side in pixels.shape[:2])
        return min(self._batch_size, max(1, self._batch_size * PIXELS_OF_AN_IMAGE // (height * width)))

    def _prepared(self, image: NDArray[Any]) -> _Prepared:
        """An image as networks are given it, before it is normalized."""
        pixels = self.facts.pixels(np.asarray(image))
        own = (pixels.shape[0], pixels.shape[1])
        return _Prepared(resized_image(pixels, self._size_for(own)), own)

    def _size_for(self, own: tuple[int, int]) -> tuple[int, int]:
        if self._resize == "training":
            assert self.facts.size is not None
            return self.facts.size
        return self.facts.size_as_in_training(own) if self._resize == "auto" else own

    def _start(self, batch: Sequence[_Prepared], probabilities: bool) -> _Running:
        """Set a batch of images of one size going; nothing waits for a GPU here."""
        height, width = batch[0].pixels.shape[:2]
        if self._tile and max(height, width) > self._tile:
            whole = torch.stack([self._of_tiles(image.pixels) for image in batch])
            return _Running(whole, batch, probabilities)
        stacked = self._carried(np.stack([image.pixels for image in batch]))
        with torch.inference_mode():
            logits = self._logits(stacked)
            if probabilities or any(image.own != (height, width) for image in batch):
                return _Running(logits.float().softmax(1), batch, probabilities)
            return _Running(_most_probable(logits, 1), batch, probabilities)

    def _of_tiles(self, pixels: Image) -> Tensor:
        """Blended probabilities of a large image, float32 [classes, H, W], on the CPU."""
        size = (pixels.shape[0], pixels.shape[1])
        tile = (tile_side(size[0], self._tile, self._overlap), tile_side(size[1], self._tile, self._overlap))
        corners = list(places(size, tile, self._overlap))
        room, blend = self._room(pixels), None
        for start in range(0, len(corners), room):
            some = corners[start : start + room]
            stacked = self._carried(np.stack([_cut_out(pixels, corner, tile) for corner in some]))
            with torch.inference_mode():
                found = self._logits(stacked).float().softmax(1).cpu()
                blend = blend or Blend(found.shape[1], size, tile, self._overlap)
                for corner, probabilities in zip(some, found, strict=True):
                    blend.add(corner, probabilities)
        assert blend is not None
        with torch.inference_mode():
            return blend.probabilities()

    def _carried(self, pixels: Image) -> Tensor:
        """Stored pixels [N, H, W, C] on the device; from page-locked memory, so that a GPU goes on meanwhile."""
        tensor = torch.from_numpy(pixels)
        if self.settings.device_type != "cuda":
            return tensor.to(self.settings.device)
        return tensor.pin_memory().to(self.settings.device, non_blocking=True)

    def _logits(self, stored: Tensor) -> Tensor:
        """Logits [N, classes, H, W] of stored pixels [N, H, W, C], padded to the next size that the network takes."""
        images = self._normalize.images(stored)
        height, width = images.shape[-2:]
        with in_mode(self.model, training=False):
            logits = self._first_that_works(images, (height, width))
        if logits.shape[1] > MOST_CLASSES:
            raise LabError(f"the network has {logits.shape[1]} classes: masks of bytes hold {MOST_CLASSES} at most")
        return logits[..., :height, :width]

    def _first_that_works(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits at the least padding that the network does not refuse; what it refused is tried once only."""
        problem: Exception | None = None
        for wanted in dict.fromkeys(rounded_up(size, multiple) for multiple in MULTIPLES):
            if wanted in self._refused:
                continue
            try:
                return self._forward(padded(images, wanted))
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, IndexError, AssertionError, LabError) as refused:
                self._refused.add(wanted)
                problem = problem or refused
        raise LabError(
            f"model {type(self.model).__name__} takes no image of {size[0]} x {size[1]} pixels, padded or not: "
            f"{first_line(problem) if problem else 'it refused them before'}"
        ) from problem

    def _forward(self, images: Tensor) -> Tensor:
        image, _ = self.settings.move(images, images)
        return self.settings.logits(self.model, image)


@dataclass(frozen=True)
class _Prepared:
    """An image as the network sees it [H, W, C], and its own height and width."""

    pixels: Image
    own: tuple[int, int]

    def is_like(self, other: _Prepared) -> bool:
        """Whether both can go into one batch."""
        return self.pixels.shape == other.pixels.shape and self.pixels.dtype == other.pixels.dtype


class _Running:
    """A batch whose masks or probabilities [N, ...] are on their way back from the device."""

    def __init__(self, found: Tensor, batch: Sequence[_Prepared], probabilities: bool) -> None:
        self._batch, self._probabilities = batch, probabilities
        self._arrived: Callable[[], object] | None = None
        if found.is_cuda:
            # Asked for before the next batch is queued: later, the copy would wait for that one as well.
            self._found = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            self._found.copy_(found, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._arrived = event.synchronize
        else:
            self._found = found.cpu()

    def finish(self) -> Iterator[Prediction]:
        """Wait for the batch, and give a prediction for each of its images."""
        if self._arrived is not None:
            self._arrived()
        for found, image in zip(self._found, self._batch, strict=True):
            if found.dim() == 2:
                yield Prediction(found.numpy().copy())
                continue
            whole = _at(found, image.own)
            mask = _most_probable(whole, 0).numpy()
            yield Prediction(mask, whole.numpy().copy() if self._probabilities else None)


def _most_probable(scores: Tensor, classes: int) -> Tensor:
    """The class of the highest score, uint8, along the dimension of classes.

    By `max`, which a CPU finishes in an eighth of the time of `argmax` where that dimension is not the last in memory.
    """
    return scores.max(classes).indices.to(torch.uint8)


def _at(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities [classes, h, w] brought to another height and width."""
    if probabilities.shape[1:] == size:
        return probabilities
    with torch.inference_mode():
        return functional.interpolate(probabilities[None], size, mode="bilinear", antialias=True)[0]


def _cut_out(pixels: Image, corner: Place, tile: tuple[int, int]) -> Image:
    return pixels[corner[0] : corner[0] + tile[0], corner[1] : corner[1] + tile[1]]


def predict(
    model_or_folder: nn.Module | str | Path,
    image: NDArray[Any],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    probabilities: bool = False,
    **options: Any,
) -> NDArray[Any]:
    """The mask of an image: uint8 [H, W], class indices.

    For many images make a `Predictor` once.

    Args:
        model_or_folder: a network, or the folder of a run or of a saved model.
        image: uint8 or float32 (in 0..1) [H, W, C] or [H, W], of any size.
        mean, std: per channel, of training pixels in 0..1; a folder knows them, a network alone does not.
        probabilities: return these instead, float32 [classes, H, W].
        options: those of `Predictor`.

    Raises:
        LabError: the folder holds no model, mean and std are missing, or the image does not fit.
    """
    if isinstance(model_or_folder, nn.Module):
        if mean is None or std is None:
            raise LabError("predict(model, image) needs mean and std of the training images; a saved folder knows them")
        predictor = Predictor(model_or_folder, InputFacts(tuple(mean), tuple(std)), **options)
    elif mean is not None or std is not None:
        raise LabError("predict(folder, image) takes mean and std from the folder: leave them out")
    else:
        predictor = Predictor.from_folder(model_or_folder, **options)
    found = predictor(image, probabilities)
    return found.mask if found.probabilities is None else found.probabilities
