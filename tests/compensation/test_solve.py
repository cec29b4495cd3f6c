"""The least-squares solution against torch's own, and the rule by which it is held to the weights that are there."""

from __future__ import annotations

import pytest
import torch

from pruning_lab.compensation.solve import solve, solve_shift


def rows(count: int, groups: int = 1, weights: int = 5, filters: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(count, groups, weights, generator=generator, dtype=torch.float64) + 0.5
    return seen, torch.randn(count, groups, filters, generator=generator, dtype=torch.float64) + 2


@pytest.mark.parametrize("shifts", [True, False])
def test_with_many_rows_and_no_ridge_it_is_the_least_squares_solution(shifts: bool) -> None:
    seen, missing = rows(40, groups=2)
    found = solve(seen, missing, 0.0, shifts)
    for group in range(2):
        known = torch.cat([seen[:, group], torch.ones(40, 1)], 1) if shifts else seen[:, group]
        expected = torch.linalg.lstsq(known, missing[:, group]).solution.T
        torch.testing.assert_close(found.weights[group], expected[:, :5], rtol=1e-6, atol=1e-8)
        if shifts:
            torch.testing.assert_close(found.shift[group], expected[:, 5], rtol=1e-6, atol=1e-8)
        else:
            assert found.shift is None


def ridged(seen: torch.Tensor, missing: torch.Tensor, penalty: float) -> torch.Tensor:
    """The solution with a given lambda, of centered rows."""
    centered, target = seen[:, 0] - seen[:, 0].mean(0), missing[:, 0] - missing[:, 0].mean(0)
    return torch.linalg.solve(centered.T @ centered + penalty * torch.eye(5), centered.T @ target).T


def test_lambda_is_weights_times_unexplained_variance_over_the_size_of_the_solution() -> None:
    seen, missing = rows(40)
    free = ridged(seen, missing, 0.0)
    left = (missing[:, 0] - missing[:, 0].mean(0)) - (seen[:, 0] - seen[:, 0].mean(0)) @ free.T
    penalty = 0.7 * 5 * float(left.square().sum() / (40 - 5) / free.square().sum())
    torch.testing.assert_close(solve(seen, missing, 0.7, True).weights[0], ridged(seen, missing, penalty))


def test_lambda_is_nothing_where_all_can_be_explained() -> None:
    seen, _ = rows(40)
    wanted = torch.randn(3, 5, dtype=torch.float64)
    found = solve(seen, torch.einsum("mgn,on->mgo", seen, wanted), 1.0, shifts=False)
    torch.testing.assert_close(found.weights[0], wanted, rtol=1e-6, atol=1e-8)


def test_with_fewer_rows_than_weights_lambda_is_a_share_of_the_mean_square() -> None:
    seen, missing = rows(3)
    penalty = 0.1 * 1e-3 * float((seen[:, 0] - seen[:, 0].mean(0)).square().sum(1).mean())
    torch.testing.assert_close(solve(seen, missing, 0.1, True).weights[0], ridged(seen, missing, penalty))


def test_a_solution_that_is_held_is_nearer_to_the_truth_where_rows_are_few_and_noisy() -> None:
    torch.manual_seed(0)
    seen = torch.randn(60, 1, 40, dtype=torch.float64)
    wanted = 0.1 * torch.randn(3, 40, dtype=torch.float64)
    missing = torch.einsum("mgn,on->mgo", seen, wanted) + torch.randn(60, 1, 3, dtype=torch.float64)
    errors = {
        ridge: float((solve(seen, missing, ridge, False).weights[0] - wanted).square().sum()) for ridge in (0.0, 1.0)
    }
    assert errors[1.0] < 0.5 * errors[0.0]


@pytest.mark.parametrize("count", [1, 3, 5, 40])
@pytest.mark.parametrize("ridge", [0.0, 1.0, 10.0])
def test_what_is_missing_never_grows(count: int, ridge: float) -> None:
    seen, missing = rows(count)
    seen[:, :, 4] = seen[:, :, 3]  # a singular matrix
    found = solve(seen, missing, ridge, shifts=False)
    assert found.after <= found.before * (1 + 1e-9)
    given = torch.einsum("mgn,gon->mgo", seen, found.weights)
    assert found.after == pytest.approx(float((missing - given).square().mean(0).sum()), rel=1e-6, abs=1e-9)


def test_where_nothing_is_missing_nothing_changes() -> None:
    seen, missing = rows(40)
    found = solve(seen, torch.zeros_like(missing), 1e-3, shifts=True)
    assert not found.weights.any()
    assert not found.shift.any()


def test_a_reader_of_constants_keeps_its_weights() -> None:
    _, missing = rows(40)
    found = solve(torch.ones(40, 1, 5), missing, 1e-3, shifts=True)
    assert found.weights.abs().max() < 1e-9
    torch.testing.assert_close(found.shift, missing.mean(0))


def test_fewer_rows_than_weights_are_told() -> None:
    assert solve(*rows(3), 1e-3, True).note == "3 samples for 5 weights"
    assert solve(*rows(6), 1e-3, True).note == ""


def test_a_shift_alone_is_the_mean_of_what_is_missing() -> None:
    _, missing = rows(40)
    found = solve_shift(missing, shifts=True)
    torch.testing.assert_close(found.shift, missing.mean(0))
    assert found.after == pytest.approx(float(missing.var(0, unbiased=False).sum()))
    nowhere = solve_shift(missing, shifts=False)
    assert nowhere.shift is None
    assert nowhere.after == nowhere.before


@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_rows_in_single_precision_give_what_rows_in_double_precision_give(scale: float) -> None:
    """`scale`: how much of a direction of its own the last weight has, so that the matrix is nearly singular."""
    generator = torch.Generator().manual_seed(1)
    seen = torch.randn(3000, 1, 30, generator=generator)
    seen[:, :, 29] = seen[:, :, 28] + scale * seen[:, :, 29]
    missing = seen @ torch.randn(30, 4, generator=generator) + torch.randn(3000, 1, 4, generator=generator)
    single, double = solve(seen, missing, 1.0, True), solve(seen.double(), missing.double(), 1.0, True)
    torch.testing.assert_close(single.weights, double.weights, rtol=1e-3, atol=1e-3)
    assert single.after == pytest.approx(double.after, rel=1e-5)


def test_in_single_precision_too_all_is_explained_where_all_can_be() -> None:
    generator = torch.Generator().manual_seed(1)
    seen = torch.randn(3000, 1, 20, generator=generator) @ torch.randn(20, 30, generator=generator) + 3.0
    found = solve(seen, seen @ torch.randn(30, 4, generator=generator), 1.0, True)
    assert found.after < 1e-9 * found.before
