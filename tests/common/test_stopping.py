"""A request to stop waits while work is at hand, and is never lost."""

import os
import signal
import time

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


def test_a_launchers_own_handler_has_its_turn_once_the_work_has_seen_to_the_request() -> None:
    told: list[str] = []

    def work() -> None:
        with stopping.at_work():
            try:
                os.kill(os.getpid(), signal.SIGUSR2)
                time.sleep(5)
            finally:
                told.append("work")

    before = signal.signal(signal.SIGUSR2, lambda number, frame: told.append("launcher"))
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert told == ["work", "launcher", "launcher"]
    finally:
        signal.signal(signal.SIGUSR2, before)
