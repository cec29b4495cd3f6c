"""Turns a convolution of a concatenation into a sum of convolutions, one for each part. Knows tapes only.

The same multiplications, added up in another order: but where only some parts change, the others' sums can be kept.
In a U-Net's decoder that is half of what each level reads.
"""

from __future__ import annotations

from typing import Any

import torch

from pruning_lab.graph.tracing.tape import Facts, Step, Tape, replaced

aten = torch.ops.aten

Pieces = dict[Step, tuple[int, int]]
"""Convolution of one part -> the range of the original's input channels that it reads."""

_SPLITTABLE = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}


def split_concatenations(tape: Tape) -> tuple[Tape, Pieces]:
    """The same pass with such convolutions split; concatenations of concatenations are split to the last part."""
    result = Tape(inputs=tape.inputs)
    pieces: Pieces = {}
    new: dict[Step, Step] = {}
    for step in tape.steps:
        if any(source in new for source in step.sources):
            new[step] = step = _with_sources(step, new)
        if not _reads_concatenation(step):
            result.steps.append(step)
            continue
        added, parts = _split(step)
        result.steps += added
        pieces |= parts
        old = next((before for before, after in new.items() if after is step), step)
        new[old] = added[-1]
    result.outputs = [new.get(step, step) for step in tape.outputs]
    return result, pieces


def _with_sources(step: Step, new: dict[Step, Step]) -> Step:
    def other(source: Step) -> Step:
        return new.get(source, source)

    kwargs = {key: replaced(arg, other) for key, arg in step.kwargs.items()}
    sources = tuple(dict.fromkeys(map(other, step.sources)))
    return Step(step.target, replaced(step.args, other), kwargs, sources, step.result, step.module)


def _reads_concatenation(step: Step) -> bool:
    if step.target not in _SPLITTABLE:
        return False
    source, weight = step.args[0], step.args[1]
    return bool(_is_concatenation(source) and source.shapes[1] == weight.shapes[1])


def _is_concatenation(step: Step) -> bool:
    return step.target is aten.cat.default and step.args[1:] == (1,)


def _split(step: Step) -> tuple[list[Step], Pieces]:
    """One convolution as a sum, whose steps are in order; its bias goes to the first part."""
    weight, bias = step.args[1], step.args[2] if len(step.args) > 2 else None
    pieces: Pieces = {}
    added: list[Step] = []
    total: Step | None = None
    start = 0
    for part in _parts(step.args[0]):
        stop = start + part.shapes[1]
        facts = weight.result
        shape = (facts.shape[0], stop - start, *facts.shape[2:])
        share = _made(
            step,
            aten.slice.Tensor,
            (weight, 1, start, stop),
            Facts(shape, facts.dtype, facts.memory, facts.memory_bytes),
        )
        one = _made(step, step.target, (part, share, bias if total is None else None, *step.args[3:]), step.result)
        added += [share, one]
        pieces[one] = (start, stop)
        if total is not None:
            one = _made(step, aten.add.Tensor, (total, one), step.result)
            added.append(one)
        total, start = one, stop
    return added, pieces


def _parts(concatenation: Step) -> list[Step]:
    found: list[Step] = []
    for part in concatenation.args[0]:
        found += _parts(part) if _is_concatenation(part) else [part]
    return found


def _made(step: Step, target: Any, args: tuple[Any, ...], result: Facts) -> Step:
    sources = tuple(dict.fromkeys(arg for arg in args if isinstance(arg, Step)))
    return Step(target, args, {}, sources, result, step.module)
