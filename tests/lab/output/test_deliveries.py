import logging

import pytest

from pruning_lab.common.errors import first_line
from pruning_lab.lab.output.deliveries import Deliveries


class Store:
    """Takes what it is sent, unless it is away, or the entry is a bad one."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.away = False
        self.tries = 0
        self.seconds = 0.0
        self.backlog = Deliveries(lambda error: isinstance(error, ConnectionError), clock=lambda: self.seconds)

    def send(self, entry: str) -> None:
        self.backlog.deliver(entry, lambda: self.take(entry))

    def take(self, entry: str) -> None:
        self.tries += 1
        if self.away:
            raise ConnectionError("nobody\nthere")
        if entry == "bad":
            raise ValueError("no such thing")
        self.received.append(entry)


def test_what_an_outage_stops_is_delivered_in_order_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.send("a")
    store.away = True
    store.send("b")
    store.send("c")
    assert store.backlog.lost
    store.away = False
    store.seconds = 100.0
    store.send("d")
    assert store.received == ["a", "b", "c", "d"]
    assert not store.backlog.lost
    away, back = (record.getMessage() for record in caplog.records)
    assert "the store is away (nobody); the run goes on" in away
    assert "is back" in back


def test_an_outage_is_said_once_and_not_tried_at_every_call(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.away = True
    for entry in "abcdef":
        store.send(entry)
    assert store.tries == 1
    assert len(caplog.records) == 1


def test_a_slow_outage_is_tried_again_after_ten_times_as_long() -> None:
    store = Store()

    def hang() -> None:
        store.seconds += 20.0
        raise ConnectionError

    store.backlog.deliver("slow", hang)
    store.seconds = 219.0
    store.send("too early")
    assert store.seconds == 219.0
    store.seconds = 220.0
    store.send("in time")
    assert store.seconds == 240.0


def test_a_refusal_is_dropped_said_once_and_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    for entry in ("bad", "a", "bad", "b"):
        store.send(entry)
    assert store.received == ["a", "b"]
    assert store.backlog.lost
    assert [record.getMessage() for record in caplog.records] == [
        "tracking: bad could not be logged (no such thing); the run goes on"
    ]


def test_closing_tries_at_once_and_counts_what_stays_behind(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.away = True
    store.send("a")
    store.send("b")
    store.backlog.close()
    assert store.tries == 2
    assert "2 entries never reached it" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING


def test_an_error_is_told_in_one_short_line() -> None:
    assert first_line(ValueError("  first\nsecond")) == "first"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 999), 120)) == 120
