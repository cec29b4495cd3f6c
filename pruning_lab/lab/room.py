"""What a run will surely take, held against what there is, before anything is trained: memory, time, room on the disk.

Must not know what a step does. All numbers are lower bounds, so that nothing is refused that could have run.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning_lab.checkpoint.bounds import OutOfBoundsError, build_without_memory
from pruning_lab.common.errors import LabError
from pruning_lab.common.machine import memory_bytes
from pruning_lab.lab.experiment import Experiment
from pruning_lab.lab.output.units import count, duration, size
from pruning_lab.lab.patience import WORTH_TELLING_S, check_flops, flops_of_pass
from pruning_lab.training.compute import ComputeSettings

TRAINED = 3
"""A network that is trained is in memory with its gradient, and beside the base."""

KEPT = 3
"""A run keeps a network as the base, and in its state as the base and as the network of the step."""


def check_room(lab: Experiment) -> None:
    """Say how large the network is, and refuse one that can't be trained here or kept, or that takes far too long.

    Raises:
        LabError: the machine has not the memory or the speed, or the disk not the room.
    """
    settings, example = lab.training.settings, lab.example()
    weights, seconds = check_network(lab.model.build, example, settings, lab.training.longest_pass)
    for folder in filter(None, (lab.output.folder, lab.training.bases)):
        there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        free = shutil.disk_usage(there).free
        if free < KEPT * weights:
            raise LabError(
                f"{folder}: the run keeps networks of {size(KEPT * weights)}, and {size(free)} are free; make room "
                "there, or give another disk by output_root and bases"
            )
    if weights:
        lab.output.reporter.say(f"network: {size(weights)} of weights{_long(lab, seconds)}")


def _long(lab: Experiment, seconds: float) -> str:
    """What training takes at least, where a user may want to know before: a backward pass costs two forward ones."""
    if seconds < WORTH_TELLING_S:
        return ""
    batches = lab.data.loaders(lab.training.base.seed).train_loader(0)
    images = lab.training.base.total_steps(len(batches)) * len(lab.data.dataset.train) / max(1, len(batches))
    return (
        f"; a pass over one image takes about {duration(seconds)}, so training a base, where none is kept, takes about "
        f"{duration(3 * seconds * images)}"
    )


def check_network(
    build: Callable[[], nn.Module],
    image: Tensor | None = None,
    settings: ComputeSettings | None = None,
    longest_pass: float | None = None,
) -> tuple[int, float]:
    """Bytes of a network's weights, and about how many seconds a pass takes; nothing is given memory or run for that.

    Zeros where it can't be told: the constructor computes with the weights, or the pass is soon over.

    Args:
        image: what a pass is over [1, C, H, W]; None: time is not looked at.
        longest_pass: the seconds that a pass may take; None: any.

    Raises:
        LabError: it can't be trained on this machine, or on this GPU, or a pass takes longer.
    """
    settings = settings or ComputeSettings()
    have = _memory(torch.device(settings.device))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights that are loaded into tensors without memory are no loss here
        try:
            model = build_without_memory(build)
        except OutOfBoundsError as error:
            raise LabError(f"model: {error}, and this machine has {size(have)} of memory; make it smaller") from error
    if model is None:
        return 0, 0.0
    if not isinstance(model, nn.Module):
        raise LabError(f"model._target_ builds a {type(model).__name__}, and no torch.nn.Module; name one's class")
    tensors = list(model.parameters())
    weights = sum(tensor.nbytes for tensor in tensors)
    if TRAINED * weights > have:
        raise LabError(
            f"model {type(model).__name__} has {count(sum(tensor.numel() for tensor in tensors))} weights: training it "
            f"takes {size(TRAINED * weights)} of memory at least, and there are {size(have)}; lower what makes it large"
            " (width, depth, growth, ...)"
        )
    if image is None:
        return weights, 0.0
    flops = flops_of_pass(model, tuple(image.shape))
    return weights, check_flops(type(model).__name__, flops, settings, longest_pass)


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return min(torch.cuda.get_device_properties(device).total_memory, memory_bytes())
    return memory_bytes()
