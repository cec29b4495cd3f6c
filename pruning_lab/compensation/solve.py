"""Weights that give in the least-squares sense what is missing, from sampled rows. Knows matrices only.

With rows x of what a reader sees, r of what its output lacks and D what is added to its weights, both centered where
the output can be shifted, D minimizes

    sum |r - D x|^2 + lambda |D|^2     =>     D = sum r x^T (sum x x^T + lambda I)^-1

With W the weights that the cut left and r = W_before x_before - W x this is W + D = (W_before sum x_before x^T +
lambda W) (sum x x^T + lambda I)^-1: the usual solution, drawn towards W instead of towards 0. So the sum of squares
never grows on the rows that it was found on, and where nothing is missing nothing changes.

lambda follows from the rows (Hoerl, Kennard and Baldwin, "Ridge regression: some simulations", 1975): the number of
weights x the variance that the free solution leaves unexplained / its squared size, for all filters of a group
together. Where the free solution explains all, lambda is 0. With fewer rows than weights a free solution explains any
rows, so there lambda is a fixed share of the rows' mean square.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ROWS_AT_ONCE = 4096
_MOST_TRIES = 6
_LEAST = 1e-10
"""Least lambda over the mean of the diagonal: what rounding leaves of a singular matrix is larger."""
_WIDE = 1e-3
"""lambda over the mean square of what is seen, for each weight, where there are fewer rows than weights."""


@dataclass(frozen=True)
class Solution:
    """What to add to a reader.

    Attributes:
        weights: float64 [groups, filters per group, weights]; None where only a shift is asked for.
        shift: float64 [groups, filters per group]; None where the output can't be shifted.
        before, after: mean square of what is missing, summed over filters, without and with the solution.
        note: what was different about it; empty otherwise.
    """

    weights: Tensor | None
    shift: Tensor | None
    before: float
    after: float
    note: str = ""


def solve_shift(missing: Tensor, shifts: bool) -> Solution:
    """The constant that gives most of what is missing [rows, groups, filters]: its mean, if anything takes it."""
    missing = missing.double()
    if not shifts:
        return Solution(None, None, _size(missing), _size(missing), "nothing can take a shift")
    mean = missing.mean(0)
    return Solution(None, mean, _size(missing), _size(missing - mean))


def solve(seen: Tensor, missing: Tensor, ridge: float, shifts: bool) -> Solution:
    """The least-squares solution.

    Args:
        seen: [rows, groups, weights], what the filters see.
        missing: [rows, groups, filters per group], what their output lacks.
        ridge: a factor of lambda; 1 takes the rule as it is.
        shifts: whether the output can be shifted.
    """
    target = missing.double()
    centers = seen.double().mean(0) if shifts else seen.new_zeros(seen.shape[1:], dtype=torch.float64)
    offset = target.mean(0) if shifts else torch.zeros_like(target[0])
    rows, _, count = seen.shape
    wide = rows <= count
    found = (_of_rows if wide else _of_weights)(seen, target - offset, centers, ridge)
    shift = offset - torch.einsum("gon,gn->go", found, centers) if shifts else None
    parts = [torch.einsum("mgn,gon->mgo", part.double() - centers, found) for part in seen.split(_ROWS_AT_ONCE)]
    note = f"{rows} samples for {count} weights" if wide else ""
    return Solution(found, shift, _size(target), _size(target - offset - torch.cat(parts)), note)


def _of_weights(seen: Tensor, target: Tensor, centers: Tensor, ridge: float) -> Tensor:
    """[groups, filters, weights], from the matrix of the weights' second moments."""
    rows, groups, count = seen.shape
    square = torch.zeros(groups, count, count, dtype=torch.float64, device=seen.device)
    mixed = torch.zeros(groups, count, target.shape[2], dtype=torch.float64, device=seen.device)
    for part, wanted in zip(seen.split(_ROWS_AT_ONCE), target.split(_ROWS_AT_ONCE), strict=True):
        across = (part.double() - centers).movedim(0, 2)  # [groups, count, rows]
        square.baddbmm_(across, across.mT)
        mixed.baddbmm_(across, wanted.movedim(0, 1))
    least = _LEAST * square.diagonal(dim1=1, dim2=2).mean(1)
    free = solved(square, mixed, least)
    unexplained = (target.square().sum((0, 2)) - (free * mixed).sum((1, 2))).clamp(min=0)
    noise = unexplained / (rows - count)
    held = ridge * count * noise / free.square().sum((1, 2)).clamp(min=1e-300)
    return solved(square, mixed, held).mT if bool((held > least).any()) else free.mT


def _of_rows(seen: Tensor, target: Tensor, centers: Tensor, ridge: float) -> Tensor:
    """The same with D = R^T (X X^T + lambda I)^-1 X, from a matrix of the size of the rows."""
    across = (seen.double() - centers).movedim(0, 1)  # [groups, rows, count]
    square = across @ across.mT
    mean_square = square.diagonal(dim1=1, dim2=2).mean(1) / across.shape[2]
    held = max(ridge * _WIDE * across.shape[2], _LEAST * across.shape[2]) * mean_square
    return solved(square, target.movedim(0, 1), held).mT @ across


def solved(square: Tensor, target: Tensor, held: Tensor) -> Tensor:
    """(square + held x I)^-1 target, [groups, n, any]; with more on the diagonal where rounding asks for it."""
    # A group whose inputs are all constant has a matrix of zeros; any positive number makes its solution zero.
    amount = torch.where(held > 0, held, torch.ones_like(held)).unsqueeze(1)
    for _ in range(_MOST_TRIES):
        raised = square.clone()
        raised.diagonal(dim1=1, dim2=2).add_(amount)
        root, failed = torch.linalg.cholesky_ex(raised)
        if not bool(failed.any()):
            return torch.cholesky_solve(target, root)
        amount = 100 * amount
    return torch.zeros_like(target)  # what is not finite has no solution: the weights stay


def _size(missing: Tensor) -> float:
    return float(missing.square().mean(0).sum())
