"""How far an exported file is from its network on real images, and how well it segments. Knows no file format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_lab.lab.validation import confusion_matrix, segmentation_scores

Outputs = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Agreement:
    """A file beside its network.

    Attributes:
        max_error: the largest difference of any number that both give; None of masks.
        largest: the largest number that the network gives, for comparison; None of masks.
        disagreement: the share of pixels whose most probable class differs.
        images: on how many.
    """

    max_error: float | None
    largest: float | None
    disagreement: float
    images: int


@torch.inference_mode()
def agreement(file: Outputs, network: Outputs, images: Iterable[Tensor], place: int = 0) -> Agreement:
    """Run both on the same images.

    Args:
        images: batches as the file reads them, [N, C, *size].
        place: of the output that counts; the others count for the error alone.
    """
    error, largest, differing, pixels, count = 0.0, 0.0, 0, 0, 0
    masks = True
    for batch in images:
        found, wanted = file(batch), network(batch)
        for one, other in zip(found, wanted, strict=True):
            if other.is_floating_point():
                masks = False
                error = max(error, float((one - other).abs().max()))
                largest = max(largest, float(other.abs().max()))
        one, other = class_indices(found[place]), class_indices(wanted[place])
        differing += int((one != other).sum())
        pixels += other.numel()
        count += len(batch)
    return Agreement(None if masks else error, None if masks else largest, differing / max(pixels, 1), count)


def class_indices(output: Tensor) -> Tensor:
    """Masks as they are, of anything else the most probable class: int64 [N, *size]."""
    return output.max(1).indices if output.is_floating_point() else output.long()


@torch.inference_mode()
def iou_of(
    file: Outputs,
    batches: Iterable[tuple[Tensor, Tensor]],
    class_names: Sequence[str],
    ignore_index: int | None,
    place: int = 0,
) -> float:
    """Mean IoU over the classes that occur, as validation counts it.

    Args:
        batches: (images as the file reads them, masks int64 [N, H, W]).
        place: of the output that counts.
    """
    classes = len(class_names)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    for images, masks in batches:
        confusion += confusion_matrix(class_indices(file(images)[place]), masks, classes, ignore_index)
    return segmentation_scores(confusion, class_names)["iou"]


def as_outputs(model: nn.Module) -> Outputs:
    """A network as a file is run: its outputs as a list."""

    def run(images: Tensor) -> list[Tensor]:
        found = model(images)
        return [found] if isinstance(found, Tensor) else list(found)

    return run
