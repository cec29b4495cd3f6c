"""What ranks say to each other beside the numbers of a training: a connection, and trainings as bytes."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from pruning_lab.common.errors import LabError, first_line
from pruning_lab.common.ranks import Place

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

STEP_MINUTES = 30
"""A step that takes longer than this on any rank has failed."""

WAIT_DAYS = 365
"""How long ranks wait for a training: rank 0 has much else to do."""


def connect(place: Place) -> ProcessGroup:
    """Connect with the other ranks; returns the group for what is said on the CPU.

    Raises:
        LabError: they can't be reached, or the extra is missing.
    """
    try:
        import lightning_fabric  # noqa: F401
    except ImportError:
        raise LabError(
            f"devices={place.size} needs Lightning Fabric: pip install 'pruning_lab[fabric]'; or set devices=1"
        ) from None
    os.environ |= {"MASTER_ADDR": place.address, "MASTER_PORT": str(place.port)}
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        limit = timedelta(minutes=STEP_MINUTES)
        dist.init_process_group(backend, rank=place.rank, world_size=place.size, timeout=limit)
        control: Any = dist.new_group(backend="gloo", timeout=timedelta(days=WAIT_DAYS))
    except (RuntimeError, ValueError) as error:
        raise LabError(
            f"devices={place.size}: the processes can't reach each other at {place.address}:{place.port} "
            f"({first_line(error)}); see to that address, or set devices=1"
        ) from error
    group: ProcessGroup = control
    return group


def packed(content: Any, size: int) -> bytes:
    """What a training is made of, as bytes.

    Raises:
        LabError: some of it can't be sent.
    """
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except Exception as error:
        raise LabError(
            f"devices={size}: what is trained can't be sent to the other processes ({first_line(error)}); define "
            "networks, losses and schedules in a module, not within a function, or set devices=1"
        ) from error
    return buffer.getvalue()


def unpacked(content: bytes, place: Place) -> Any:
    """What `packed` made on rank 0, on this rank's own device.

    Raises:
        LabError: it was defined where this process can't find it.
    """
    # It comes from the run's own first process, and is no file.
    where = {"cuda:0": f"cuda:{place.local_rank}"}
    try:
        return torch.load(io.BytesIO(content), map_location=where, weights_only=False)
    except (AttributeError, ImportError) as error:
        raise LabError(
            f"{first_line(error)}; what is trained has to be defined in a module that can be imported, and not in the "
            "script that is started"
        ) from error


def send(content: bytes, control: ProcessGroup) -> None:
    """Send bytes from rank 0 to all others."""
    dist.broadcast(torch.tensor([len(content)]), 0, group=control)
    if content:
        dist.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0, group=control)


def receive(control: ProcessGroup) -> bytes:
    """What rank 0 sends next; waits for it."""
    length = torch.zeros(1, dtype=torch.int64)
    dist.broadcast(length, 0, group=control)
    content = torch.empty(int(length), dtype=torch.uint8)
    if len(content):
        dist.broadcast(content, 0, group=control)
    return content.numpy().tobytes()


def is_of_another(error: BaseException) -> bool:
    """Whether an error says that another rank is gone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
