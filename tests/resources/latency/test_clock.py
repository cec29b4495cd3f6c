import itertools

import pytest

from pruning_lab.resources.latency.clock import FEWEST, MOST, Clock, Reading
from pruning_lab.resources.latency.target import Target

CPU = Target().filled("cpu", "float32", False, (32, 32), 1)


class Machine:
    """Time that passes only by work; `slowness` is what all of it takes longer for."""

    def __init__(self) -> None:
        self.seconds, self.slowness = 0.0, 1.0

    def clock(self) -> Clock:
        return Clock(CPU, lambda: self.seconds, lambda: self.spend(0.01))

    def spend(self, seconds: float) -> None:
        self.seconds += seconds * self.slowness


def test_times_are_multiples_of_the_reference() -> None:
    machine = Machine()
    (reading,) = machine.clock().in_turns([lambda: machine.spend(0.03)])
    assert reading.time == pytest.approx(3)
    assert reading.spread == pytest.approx(0)


def test_a_slower_phase_of_the_machine_scales_out() -> None:
    machine = Machine()
    clock = machine.clock()
    works = [lambda: machine.spend(0.03), lambda: machine.spend(0.06)]
    phases = itertools.cycle([1.0, 1.7, 2.5])
    for work in works:
        machine.slowness = next(phases)
        readings = Reading.of(clock.visit(work))
        assert readings.time == pytest.approx(3 if work is works[0] else 6)


def test_the_first_run_only_warms_up() -> None:
    machine = Machine()
    costs = itertools.chain([5.0], itertools.repeat(0.02))
    assert machine.clock().visit(lambda: machine.spend(next(costs))) == pytest.approx([2.0] * 8)


@pytest.mark.parametrize(("seconds", "runs"), [(0.001, MOST), (1.0, FEWEST)])
def test_short_work_is_run_more_often(seconds: float, runs: int) -> None:
    machine = Machine()
    assert len(machine.clock().visit(lambda: machine.spend(seconds))) == runs


def test_what_disturbs_a_few_runs_does_not_show_in_the_time() -> None:
    assert Reading.of([1.0, 1.0, 1.0, 1.0, 9.0, 5.0]).time == 1.0


def test_what_spreads_is_timed_again() -> None:
    machine, calls = Machine(), [0, 0]
    wild = itertools.cycle([0.1, 0.3])

    def unsteady() -> None:
        calls[0] += 1
        machine.spend(next(wild))

    def steady() -> None:
        calls[1] += 1
        machine.spend(0.1)

    machine.clock().in_turns([unsteady, steady], rounds=1, tries=3)
    assert calls[0] > 2 * calls[1]


def test_the_unit_is_what_the_reference_takes_undisturbed() -> None:
    machine = Machine()
    clock = machine.clock()
    for slowness in [3.0] * 15 + [1.0] * 5:
        machine.slowness = slowness
        clock.reference()
    assert clock.unit == pytest.approx(0.01)


def test_one_threads_own_time_does_not_pass_while_it_sleeps() -> None:
    import time

    assert Clock(CPU).seconds(lambda: time.sleep(0.05)) < 0.04
    assert Clock(Target().filled("cpu", "float32", False, (32, 32), 2)).seconds(lambda: time.sleep(0.05)) >= 0.05
