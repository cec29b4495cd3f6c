"""Which of the processes that share the trainings of one run this one is. Reads the environment, and knows no torch.

The first process, rank 0, runs the program. All others wait for trainings to have a part in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

REASONS = "PRUNING_LAB_REASONS"
"""Environment variable of a process that rank 0 started: the folder where it writes why it failed."""

FIRST_PORT, PORTS = 20000, 20000
"""Ports for the steps of SLURM's jobs."""


@dataclass(frozen=True)
class Place:
    """A process among those of one run.

    Attributes:
        rank: its number, from 0 on.
        size: how many there are.
        local_rank, local_size: the same among those of its machine.
        node: number of the machine.
        address, port: where rank 0 answers.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    node: int
    address: str
    port: int

    def variables(self) -> dict[str, str]:
        """The place as torchrun tells it to a process."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "GROUP_RANK": str(self.node),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def place_here(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place that torchrun or SLURM's srun has given to this process; None where it was started alone."""
    place = _of_torchrun(environment) or _of_slurm(environment)
    return place if place is not None and place.size > 1 else None


def _of_torchrun(environment: Mapping[str, str]) -> Place | None:
    try:
        rank, size, local_rank, local_size, node, port = (
            int(environment[name])
            for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_PORT")
        )
        return Place(rank, size, local_rank, local_size, node, environment["MASTER_ADDR"], port)
    except (KeyError, ValueError):
        return None


def _of_slurm(environment: Mapping[str, str]) -> Place | None:
    """A task of a step; a batch script has variables of its job, and none of a step's tasks."""
    try:
        rank, size, local_rank, node, job, step = (
            int(environment[f"SLURM_{name}"])
            for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID", "NODEID", "JOB_ID", "STEP_ID")
        )
        nodes = int(environment["SLURM_STEP_NUM_NODES"])
        address = first_host(environment["SLURM_STEP_NODELIST"])
    except (KeyError, ValueError):
        return None
    return Place(rank, size, local_rank, size // nodes, node, address, FIRST_PORT + (31 * job + step) % PORTS)


def first_host(nodes: str) -> str:
    """The first of SLURM's list of machines: `gpu03` of `gpu[03-05,9],big1`."""
    found = re.match(r"([^,\[]*)(?:\[([^\],-]*)[^\]]*\]([^,]*))?", nodes)
    assert found is not None  # the pattern fits any text
    return "".join(part or "" for part in found.groups())
