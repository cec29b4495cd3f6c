"""Batch norms put into the convolutions before them, for evaluation. Knows modules and recorded passes; no file format.

With a convolution's output y and a norm's scale g, bias b, mean m and variance v: g (y - m) / sqrt(v + eps) + b is a
convolution again, of weights times g / sqrt(v + eps).
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pruning_lab.common.copies import copy_of
from pruning_lab.common.modules import submodule
from pruning_lab.graph.tracing.recording import record
from pruning_lab.graph.tracing.tape import Step, Tape

PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORM = "batch_norm"


def folded(model: nn.Module, example: Tensor) -> tuple[nn.Module, list[str]]:
    """A copy in evaluation mode whose batch norms are gone where they can be, and the names of these.

    A norm stays where something else reads the convolution, where either is used twice, where the convolution's weight
    is computed, and where the norm's module does more than a norm does.
    """
    tape = record(model, (example,))
    changed = copy_of(model).eval()
    gone = []
    for convolution, norm in _pairs(tape):
        layer, module = submodule(changed, convolution), submodule(changed, norm)
        rest = None if module is None else _without_norm(module)
        if not isinstance(layer, (*PLAIN, *TRANSPOSED)) or not isinstance(module, _BatchNorm) or rest is None:
            continue
        if isinstance(layer, TRANSPOSED) and layer.groups > 1:
            continue
        _put_in(layer, module)
        parent, _, name = norm.rpartition(".")
        setattr(changed.get_submodule(parent), name, rest)
        gone.append(norm)
    return changed, gone


def _pairs(tape: Tape) -> list[tuple[str, str]]:
    """Modules of convolutions and of the norms that alone read them, each of which runs once."""
    read = Counter(source for step in tape.steps for source in step.sources)
    read.update(tape.outputs)
    runs = Counter(step.module for step in tape.steps if _is(step, NORM))
    found = []
    for step in tape.steps:
        source = step.args[0] if _is(step, NORM) else None
        # Its sixth argument says whether it takes the batch's own statistics.
        if not isinstance(source, Step) or not _is(source, "conv") or step.args[5] is not False:
            continue
        weight = source.args[1]
        alone = read[source] == 1 and read[weight] == 1 and runs[step.module] == 1
        if alone and weight.name == f"{source.module}.weight":
            found.append((source.module, step.module))
    return found


def _is(step: Step, operator: str) -> bool:
    return str(getattr(step.target, "_opname", "")).startswith(operator)


def _without_norm(norm: nn.Module) -> nn.Module | None:
    """What a norm's module does beside the norm; None where that can't be told."""
    if type(norm).forward is _BatchNorm.forward:
        return nn.Identity()
    act, drop = getattr(norm, "act", None), getattr(norm, "drop", None)
    if type(norm).__name__ == "BatchNormAct2d" and isinstance(act, nn.Module) and isinstance(drop, nn.Module):
        return nn.Sequential(drop, act)  # timm's
    return None


@torch.no_grad()
def _put_in(layer: nn.Module, norm: _BatchNorm) -> None:
    assert isinstance(layer, (*PLAIN, *TRANSPOSED))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        isinstance(layer, TRANSPOSED),
    )
    layer.weight, layer.bias = weight, bias
