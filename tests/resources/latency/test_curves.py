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


@pytest.mark.slow
def test_a_run_that_asks_for_no_milliseconds_does_not_pay_for_fitting() -> None:
    code = "import sys, pruning_lab.tasks.prune; print('scipy.optimize' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
