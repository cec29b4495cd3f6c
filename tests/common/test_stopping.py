"""A request to stop waits while work is at hand, and is never lost."""

import signal

import pytest

from pruning_lab.common import stopping
from pruning_lab.common.stopping import asked, held_back


def ask() -> None:
    stopping._on_signal(signal.SIGTERM, None)


def test_without_work_at_hand_a_request_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        ask()


def test_a_first_request_waits_and_a_second_does_not() -> None:
    with held_back():
        ask()
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            ask()
        stopping._asked = False
    assert not asked()


def work_through(seen: list[bool]) -> None:
    with held_back():
        with held_back():
            ask()
        seen.append(asked())


def test_a_request_that_nobody_saw_to_stops_at_the_end_of_the_outermost_hold() -> None:
    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        work_through(seen)
    assert seen == [True]
    assert not asked()
