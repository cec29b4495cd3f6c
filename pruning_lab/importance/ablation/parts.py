"""What lies behind some groups of a network, and its answers with each of them masked. Knows how to replay programs.

Groups that are read by the same operators share one part, and run side by side through `torch.vmap`, so that no
operator has to know of them.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pruning_lab.graph.tracing.tape import Step
from pruning_lab.importance.ablation.replay import Program, Values, bytes_of


class Part:
    """What has to run again when some operators read certain groups no more.

    Attributes:
        groups: int64 [k], those groups.
        starts: operators whose own inputs stay as they were: what the groups add is taken away from their results.
        again: operators that run again, in order.
        masked: those among `again` that read the groups as well; the channels are zeroed on their way in.
        boundary: operators whose values in a whole run all this starts from.
    """

    def __init__(self, program: Program, reading: frozenset[Step], groups: list[int]) -> None:
        self.program = program
        self.groups = torch.tensor(groups)
        self._side_by_side = True
        changed = _behind(program, reading)
        inside = set(changed)
        self.starts = [step for step in changed if step in reading and _starts(program, step, inside)]
        self.again = [step for step in changed if step not in self.starts]
        self.masked = [step for step in self.again if step in reading]
        used = {item for step in self.again for item in step.sources} | set(self.starts)
        used |= {program.reads[step].activation for step in self.starts}
        self.boundary = {step for step in used if step in self.starts or step not in inside} - set(program.fixed)

    def flops(self, groups: Tensor) -> int:
        """FLOPs for one image and these groups. The program must have run once."""
        program = self.program
        total = len(groups) * sum(program.flops[step] for step in self.again)
        for step in self.starts:
            ids = program.reads[step].ids
            total += program.flops[step] * int(torch.isin(ids, groups).sum()) // len(ids)
        return total

    def bytes_per_group(self) -> int:
        """The most memory that one group's results take at one time, if each dies after its last use."""
        alive = most = sum(bytes_of(step) for step in self.starts)
        mine, dead_after = {*self.again, *self.starts}, self.program.dead_after(self.again)
        for step in self.again:
            alive += bytes_of(step)
            most = max(most, alive)
            alive -= sum(bytes_of(item) for item in dead_after.get(step, ()) if item in mine)
        return most

    def boundary_bytes(self) -> int:
        """Memory for the values of one image that all this starts from."""
        return sum(bytes_of(step) for step in self.boundary)

    def logits(self, groups: Tensor, values: Values) -> Tensor:
        """Logits [k, 1, classes, ...] of one image, with each of k groups masked.

        Args:
            groups: int64 [k], some of this part's.
            values: of the boundary and of the model's output, from a whole run on that image.
        """
        program = self.program
        known = {**program.fixed, **values}
        started = [
            torch.stack([program.without(step, group, known) for group in groups.tolist()]) for step in self.starts
        ]
        keep = [
            (program.reads[step].ids != groups.unsqueeze(1)).to(known[program.reads[step].weight])
            for step in self.masked
        ]

        def rest(started: list[Tensor], keep: list[Tensor]) -> Tensor:
            mine = known | dict(zip(self.starts, started, strict=True))
            return program.rerun(self.again, mine, dict(zip(self.masked, keep, strict=True)))

        # The fused attention kernels know no batch of groups; torch would warn and go through them one by one.
        with sdpa_kernel(SDPBackend.MATH):
            if self._side_by_side:
                try:
                    return torch.vmap(rest)(started, keep)
                except torch.OutOfMemoryError:
                    raise
                except RuntimeError:  # an operator that knows no batch of groups, as a deterministic resize on a GPU
                    self._side_by_side = False
            each = range(len(groups))
            return torch.stack([rest([one[i] for one in started], [one[i] for one in keep]) for i in each])


def parts_of(program: Program, groups: Tensor) -> list[Part]:
    """The groups of int64 [k], sorted into parts by who reads them; groups that nothing reads are left out."""
    readers: dict[int, set[Step]] = defaultdict(set)
    for step, read in program.reads.items():
        for group in read.ids[torch.isin(read.ids, groups)].unique().tolist():
            readers[group].add(step)
    together: dict[frozenset[Step], list[int]] = defaultdict(list)
    for group, steps in readers.items():
        together[frozenset(steps)].append(group)
    return [Part(program, steps, sorted(found)) for steps, found in together.items()]


def _behind(program: Program, reading: frozenset[Step]) -> list[Step]:
    """The operators whose results change when these read something else, themselves included, in order."""
    changed = set(reading)
    for step in program.order:
        if any(item in changed for item in step.sources):
            changed.add(step)
    return [step for step in program.order if step in changed]


def _starts(program: Program, step: Step, inside: set[Step]) -> bool:
    read = program.reads[step]
    return read.weight_dim is not None and read.activation not in inside
