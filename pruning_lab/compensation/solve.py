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

_AT_ONCE = 1024
"""Rows whose products are summed in the rows' own precision; the sums of such blocks are summed in double precision."""
_COLUMNS = 512
"""Side of the blocks of a matrix of second moments; those below its diagonal are not computed."""
_MOST_TRIES = 6
_NEARLY_ALL = 1e-3
"""Share of what is missing below which single precision would be seen: there the solution is refined."""
_LEAST = {torch.float64: 1e-10}
_LEAST_ELSE = 1e-7
"""Least lambda over the mean of the diagonal, for rows in double precision and in others: what rounding leaves of a
singular matrix is smaller."""
_REFINED = 3
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
    # Centers that the rows' own precision holds, so that nothing is lost where they are subtracted.
    centers = seen.mean(0, dtype=torch.float64).to(seen) if shifts else seen.new_zeros(seen.shape[1:])
    offset = target.mean(0) if shifts else torch.zeros_like(target[0])
    rows, _, count = seen.shape
    wide = rows <= count
    across, wanted = (seen - centers).movedim(0, 1), (target - offset).movedim(0, 1)  # [groups, rows, any]
    found, left = (_of_rows if wide else _of_weights)(across, wanted, ridge)
    shift = offset - torch.einsum("gon,gn->go", found, centers.double()) if shifts else None
    note = f"{rows} samples for {count} weights" if wide else ""
    return Solution(found, shift, _size(target), float(left.square().mean(1).sum()), note)


def _of_weights(across: Tensor, wanted: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """[groups, weights, filters] from the matrix of the weights' second moments, and what is then left of `wanted`."""
    _, rows, count = across.shape
    square, mixed = _gram(across.mT), _mixed(across, wanted)
    least = _least(across) * square.diagonal(dim1=1, dim2=2).mean(1)
    free, root = solved(square, mixed, least)
    unexplained = (wanted.square().sum((1, 2)) - (free * mixed).sum((1, 2))).clamp(min=0)
    noise = unexplained / (rows - count)
    held = ridge * count * noise / free.square().sum((1, 2)).clamp(min=1e-300)
    if bool((held > least).any()):
        free, root = solved(square, mixed, held)
    else:
        held = torch.zeros_like(held)
    left = _left(across, wanted, free)
    nearly_all = float(left.square().sum()) < _NEARLY_ALL * float(wanted.square().sum())
    for _ in range(_REFINED if nearly_all and root is not None else 0):
        assert root is not None
        free = free + torch.cholesky_solve(_mixed(across, left) - held[:, None, None] * free, root)
        left = _left(across, wanted, free)
    return free.mT, left


def _least(rows: Tensor) -> float:
    return _LEAST.get(rows.dtype, _LEAST_ELSE)


def _of_rows(across: Tensor, wanted: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The same with D = R^T (X X^T + lambda I)^-1 X, from a matrix of the size of the rows."""
    count = across.shape[2]
    square = _gram(across)
    mean_square = square.diagonal(dim1=1, dim2=2).mean(1) / count
    held = max(ridge * _WIDE * count, _least(across) * count) * mean_square
    found = (across.mT @ solved(square, wanted, held)[0].to(across)).double()
    return found.mT, _left(across, wanted, found)


def _gram(matrix: Tensor) -> Tensor:
    """matrix x its transpose, float64 [groups, k, k], of [groups, k, m]: block by block, each block once."""
    groups, side, _ = matrix.shape
    square = torch.zeros(groups, side, side, dtype=torch.float64, device=matrix.device)
    for part in matrix.split(_AT_ONCE, 2):
        for first in range(0, side, _COLUMNS):
            square[:, first : first + _COLUMNS, first:] += part[:, first : first + _COLUMNS] @ part[:, first:].mT
    return square.triu() + square.triu(1).mT


def _mixed(across: Tensor, wanted: Tensor) -> Tensor:
    """Sum over rows of what is seen x what is wanted, float64 [groups, weights, filters]."""
    pairs = zip(across.split(_AT_ONCE, 1), wanted.to(across).split(_AT_ONCE, 1), strict=True)
    total = torch.zeros(len(across), across.shape[2], wanted.shape[2], dtype=torch.float64, device=across.device)
    for seen, part in pairs:
        total += seen.mT @ part
    return total


def _left(across: Tensor, wanted: Tensor, found: Tensor) -> Tensor:
    """What is left of what is wanted, float64 [groups, rows, filters], by weights [groups, weights, filters]."""
    return wanted - (across @ found.to(across)).double()


def solved(square: Tensor, target: Tensor, held: Tensor) -> tuple[Tensor, Tensor | None]:
    """(square + held x I)^-1 target, [groups, n, any], with more on the diagonal where rounding asks for it.

    Returns:
        the solution, and the Cholesky factor that it was found with; None where there is no solution.
    """
    # A group whose inputs are all constant has a matrix of zeros; any positive number makes its solution zero.
    amount = torch.where(held > 0, held, torch.ones_like(held)).unsqueeze(1)
    for _ in range(_MOST_TRIES):
        raised = square.clone()
        raised.diagonal(dim1=1, dim2=2).add_(amount)
        root, failed = torch.linalg.cholesky_ex(raised)
        if not bool(failed.any()):
            return torch.cholesky_solve(target, root), root
        amount = 100 * amount
    return torch.zeros_like(target), None  # what is not finite has no solution: the weights stay


def _size(missing: Tensor) -> float:
    return float(missing.square().mean(0).sum())
