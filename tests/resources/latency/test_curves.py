import subprocess
import sys

import numpy as np
import pytest

from pruning_lab.resources.latency.curves import fitted, solved, step_of


def staircase(reads: np.ndarray, gives: np.ndarray, step: int) -> np.ndarray:
    u, v = np.ceil(reads / step) * step, np.ceil(gives / step) * step
    return 0.5 + 0.001 * u + 0.002 * v + 0.0003 * u * v


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(1, 65, count), generator.integers(1, 129, count)


@pytest.mark.parametrize("step", [1, 8])
def test_a_curve_finds_the_steps_between_what_was_timed(step: int) -> None:
    reads, gives = drawn(30)
    curve = fitted(list(zip(reads, gives, staircase(reads, gives, step), strict=True)), step)
    others = drawn(50, seed=1)
    errors = np.abs(curve(*others) / staircase(*others, step) - 1)
    assert np.median(errors) < 0.02
    assert errors.max() < 0.25


def test_a_few_disturbed_times_do_not_draw_the_curve() -> None:
    reads, gives = drawn(40)
    times = staircase(reads, gives, 8)
    times[::10] *= 3
    curve = fitted(list(zip(reads, gives, times, strict=True)), 8)
    others = drawn(50, seed=1)
    assert curve(*others) == pytest.approx(staircase(*others, 8), rel=0.05)


def test_no_coefficient_is_negative() -> None:
    features = np.stack([np.ones(5), np.arange(5.0)], axis=1)
    assert (solved(features, np.array([5.0, 4.0, 3.0, 2.0, 1.0])) >= 0).all()


@pytest.mark.parametrize("step", [1, 4, 8, 16])
def test_the_step_is_found_through_noise(step: int) -> None:
    widths = np.arange(17, 65)
    times = 1 + 0.02 * np.ceil(widths / step) * step
    noise = np.random.default_rng(0).normal(1, 0.01, len(widths))
    assert step_of(list(widths), list(times * noise)) == step


def test_kernels_that_want_full_blocks_have_their_step() -> None:
    widths = np.arange(17, 65)
    times = 1 + 0.02 * widths + 0.5 * (widths % 8 != 0)
    assert step_of(list(widths), list(times)) == 8


@pytest.mark.parametrize("even", [4, 8])
def test_blocks_are_found_beside_a_smaller_multiple_that_kernels_want(even: int) -> None:
    """Off the multiple the time is longer, and grows smoothly; else a block of 16 is as long as a full one."""
    widths = np.arange(25, 65)
    times = np.where(widths % even == 0, 1 + 0.02 * np.ceil(widths / 16) * 16, 1.1 + 0.026 * widths)
    noise = np.random.default_rng(0).normal(1, 0.01, len(widths))
    assert step_of(list(widths), list(times * noise)) == 16


def test_layers_that_read_no_multiple_of_4_have_a_slope_of_their_own() -> None:
    def truth(reads: np.ndarray, gives: np.ndarray) -> np.ndarray:
        blocks = staircase(reads, gives, 16)
        return np.where(reads % 4 == 0, blocks, 0.6 + 0.0005 * reads * gives)

    generator = np.random.default_rng(0)
    reads, gives = generator.integers(1, 65, 60), generator.integers(1, 129, 60)
    reads[::2] = -(-reads[::2] // 4) * 4
    curve = fitted(list(zip(reads, gives, truth(reads, gives), strict=True)), 16)
    others = drawn(200, seed=1)
    errors = np.abs(curve(*others) / truth(*others) - 1)
    assert np.median(errors) < 0.02
    assert np.quantile(errors, 0.9) < 0.1


def test_few_layers_of_one_kind_have_no_slope_of_their_own() -> None:
    """Else nothing would be known of the other kind, and it would seem to cost nothing."""
    generator = np.random.default_rng(0)
    reads, gives = 4 * generator.integers(1, 17, 40), generator.integers(1, 129, 40)
    curve = fitted(list(zip(reads, gives, staircase(reads, gives, 8), strict=True)), 8)
    odd = np.arange(9, 60, 10)
    assert curve(odd, odd) == pytest.approx(staircase(odd, odd, 8), rel=0.1)


@pytest.mark.slow
def test_a_run_that_asks_for_no_milliseconds_does_not_pay_for_fitting() -> None:
    code = "import sys, pruning_lab.tasks.prune; print('scipy.optimize' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
