"""What lies behind some groups of a network, and its answers with each of them masked. Knows how to replay programs.

Groups that are read by the same operators share one part, and run side by side through `torch.vmap`, so that no
operator has to know of them.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, fx
from torch.nn.attention import SDPBackend, sdpa_kernel

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

    def __init__(self, program: Program, reading: frozenset[fx.Node], groups: list[int]) -> None:
        self.program = program
        self.groups = torch.tensor(groups)
        changed = _behind(program, reading)
        inside = set(changed)
        self.starts = [node for node in changed if node in reading and _starts(program, node, inside)]
        self.again = [node for node in changed if node not in self.starts]
        self.masked = [node for node in self.again if node in reading]
        used = {item for node in self.again for item in node.all_input_nodes} | set(self.starts)
        used |= {program.reads[node].activation for node in self.starts}
        self.boundary = {node for node in used if node in self.starts or node not in inside} - set(program.fixed)

    def flops(self, groups: Tensor) -> int:
        """FLOPs for one image and these groups. The program must have run once."""
        program = self.program
        total = len(groups) * sum(program.flops[node] for node in self.again)
        for node in self.starts:
            ids = program.reads[node].ids
            total += program.flops[node] * int(torch.isin(ids, groups).sum()) // len(ids)
        return total

    def bytes_per_group(self) -> int:
        """The most memory that one group's results take at one time, if each dies after its last use."""
        alive = most = sum(bytes_of(node) for node in self.starts)
        mine, dead_after = {*self.again, *self.starts}, self.program.dead_after(self.again)
        for node in self.again:
            alive += bytes_of(node)
            most = max(most, alive)
            alive -= sum(bytes_of(item) for item in dead_after.get(node, ()) if item in mine)
        return most

    def boundary_bytes(self) -> int:
        """Memory for the values of one image that all this starts from."""
        return sum(bytes_of(node) for node in self.boundary)

    def logits(self, groups: Tensor, values: Values) -> Tensor:
        """Logits [k, 1, classes, ...] of one image, with each of k groups masked.

        Args:
            groups: int64 [k], some of this part's.
            values: of the boundary and of the model's output, from a whole run on that image.
        """
        program = self.program
        known = {**program.fixed, **values}
        started = [
            torch.stack([program.without(node, group, known) for group in groups.tolist()]) for node in self.starts
        ]
        keep = [
            (program.reads[node].ids != groups.unsqueeze(1)).to(known[program.reads[node].weight])
            for node in self.masked
        ]

        def rest(started: list[Tensor], keep: list[Tensor]) -> Tensor:
            mine = known | dict(zip(self.starts, started, strict=True))
            return program.rerun(self.again, mine, dict(zip(self.masked, keep, strict=True)))

        # The fused attention kernels know no batch of groups; torch would warn and go through them one by one.
        with sdpa_kernel(SDPBackend.MATH):
            return torch.vmap(rest)(started, keep)


def parts_of(program: Program, groups: Tensor) -> list[Part]:
    """The groups of int64 [k], sorted into parts by who reads them; groups that nothing reads are left out."""
    readers: dict[int, set[fx.Node]] = defaultdict(set)
    for node, read in program.reads.items():
        for group in read.ids[torch.isin(read.ids, groups)].unique().tolist():
            readers[group].add(node)
    together: dict[frozenset[fx.Node], list[int]] = defaultdict(list)
    for group, nodes in readers.items():
        together[frozenset(nodes)].append(group)
    return [Part(program, nodes, sorted(found)) for nodes, found in together.items()]


def _behind(program: Program, reading: frozenset[fx.Node]) -> list[fx.Node]:
    """The operators whose results change when these read something else, themselves included, in order."""
    changed = set(reading)
    for node in program.order:
        if any(item in changed for item in node.all_input_nodes):
            changed.add(node)
    return [node for node in program.order if node in changed]


def _starts(program: Program, node: fx.Node, inside: set[fx.Node]) -> bool:
    read = program.reads[node]
    return read.weight_dim is not None and read.activation not in inside
