"""What a rank does otherwise than a process alone: a part of each batch, the loss of the whole, a wrapper."""

from __future__ import annotations

import copy
import gc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pruning_lab.common.errors import LabError
from pruning_lab.common.ranks import Place

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""As in `stepping`."""


class Member(Protocol):
    """A process that has a part in a training."""

    @property
    def part(self) -> tuple[int, int]:
        """Its number, and how many there are."""

    def together(self, model: nn.Module, objective: Objective) -> Any:
        """A context that gives the network and the objective that a step is taken with."""

    def images(self, own: int) -> int:
        """How many images a batch has, of which this process has `own`; to be asked before each step."""


class Alone:
    """The only process."""

    part = (0, 1)

    @contextmanager
    def together(self, model: nn.Module, objective: Objective) -> Iterator[tuple[nn.Module, Objective]]:
        """Both as they are."""
        yield model, objective

    def images(self, own: int) -> int:
        """All of them."""
        return own


class Rank:
    """One of several processes; each takes every step at the same time.

    Args:
        control: for what is said on the CPU.
    """

    def __init__(self, place: Place, control: ProcessGroup) -> None:
        self.place, self._control = place, control
        self.part = (place.rank, place.size)
        self.sizes: list[int] = []

    def images(self, own: int) -> int:
        """Ask all for the number of images that they have of a batch.

        Raises:
            LabError: one has none.
        """
        count = torch.tensor([own])
        counts = [torch.empty_like(count) for _ in range(self.place.size)]
        dist.all_gather(counts, count, group=self._control)
        self.sizes = [int(each) for each in counts]
        total = sum(self.sizes)
        if not all(self.sizes):
            raise LabError(
                f"a batch of {total} images can't be split over devices={self.place.size}; take another "
                "loader.batch_size, so that the last batch of an epoch has an image for each as well"
            )
        return total

    @contextmanager
    def together(self, model: nn.Module, objective: Objective) -> Iterator[tuple[nn.Module, Objective]]:
        """The network in a wrapper that averages gradients, and the objective of the whole batch.

        What is random in the network is drawn by each rank for itself.
        """
        from pruning_lab.training.ranks.norms import norms_over_all

        threads = torch.get_num_threads()
        with ExitStack() as stack:
            stack.callback(torch.set_num_threads, threads)
            # A wrapper that is left alive would have a say in the network's next gradients.
            stack.callback(gc.collect)
            stack.enter_context(norms_over_all(model))
            torch.set_num_threads(max(1, threads // self.place.local_size))
            if self.place.rank:
                torch.manual_seed(zlib.crc32(bytes(torch.get_rng_state().tolist())) + self.place.rank)
            yield wrapped(model, self.place), MeanOfAll(_of_the_whole(objective, self), self)

    @property
    def weight(self) -> float:
        """How much a mean over this rank's images counts in the mean over all images; 1 where parts are equal."""
        return self.sizes[self.place.rank] * len(self.sizes) / sum(self.sizes)

    def gathered(self, own: Tensor) -> list[Tensor]:
        """A tensor [N, ...] of every rank, without gradients; each has as many images as it told."""
        most = max(self.sizes)
        padded = own.detach().new_zeros(most, *own.shape[1:])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in self.sizes]
        dist.all_gather(parts, padded)
        return [part[:size] for part, size in zip(parts, self.sizes, strict=True)]


def wrapped(model: nn.Module, place: Place) -> nn.Module:
    """A network whose gradients are the mean over all ranks; its weights become those of rank 0."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    from pruning_lab.training.ranks.surroundings import Surroundings

    device = next(model.parameters()).device
    strategy = DDPStrategy(cluster_environment=Surroundings(place), find_unused_parameters=True)
    fabric = Fabric(
        accelerator=device.type, devices=place.local_size, num_nodes=place.size // place.local_size, strategy=strategy
    )
    fabric.launch()
    module: nn.Module = fabric.setup_module(model, move_to_device=False)
    return module


@dataclass(frozen=True)
class MeanOfAll:
    """An objective whose value is the mean over all images of the batch, so that all agree on whether it is finite."""

    own: Objective
    rank: Rank

    def __call__(self, model: nn.Module, image: Tensor, mask: Tensor) -> Tensor:
        value = self.rank.weight * self.own(model, image, mask)
        mean = value.detach().clone()
        dist.all_reduce(mean)
        return value - value.detach() + mean / self.rank.place.size


@dataclass(frozen=True)
class LossOfAll:
    """A loss of the whole batch, of which this rank has a part; any loss, also one that is no mean over images.

    Gradients reach the rank's own part alone, and count as often as there are ranks: the wrapper takes their mean. Of
    all the rest that an objective adds, a rank knows its own images alone; `MeanOfAll` weighs that, and not the loss.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    rank: Rank

    def __call__(self, logits: Tensor, mask: Tensor) -> Tensor:
        parts, masks = self.rank.gathered(logits), self.rank.gathered(mask)
        number, size = self.rank.part
        parts[number] = logits.detach() + size * (logits - logits.detach())
        return self.loss(torch.cat(parts), torch.cat(masks)) / self.rank.weight


def _of_the_whole(objective: Objective, rank: Rank) -> Objective:
    """The objective with a loss of the whole batch, where it has a loss; another one is a mean over the ranks."""
    if hasattr(objective, "loss"):
        objective = copy.copy(objective)
        # Past the lock of a dataclass that is frozen.
        object.__setattr__(objective, "loss", LossOfAll(objective.loss, rank))
    return objective
