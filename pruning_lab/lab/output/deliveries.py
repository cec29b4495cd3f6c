"""Deliveries to a store that may go away for a while: kept, tried again, never fatal. Knows no MLflow."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pruning_lab.common.errors import first_line

# A try at a store that is away may cost its whole timeout. Waiting this many times as long before the
# next one bounds what an outage takes from the run to about a tenth of its time.
WAIT_PER_SECOND_OF_TRYING = 10.0

# Characters of an error's text that fit one line of the console.
LONGEST = 120


class Deliveries:
    """Calls made in order; what an outage stops is kept for later, what is refused is dropped and said.

    `is_outage` tells an error that passes (keep the call) from a refusal (drop it). `lost` is True while
    anything that should have been delivered was not. `how_to_go_on` is said where something stays behind. `clock` gives
    seconds and exists for tests.
    """

    def __init__(
        self,
        is_outage: Callable[[Exception], bool],
        clock: Callable[[], float] = time.monotonic,
        how_to_go_on: str = "",
    ) -> None:
        self._is_outage = is_outage
        self.how_to_go_on = how_to_go_on
        self._clock = clock
        self._log = logging.getLogger(__name__)
        self._pending: deque[tuple[str, Callable[[], Any]]] = deque()
        self._refused: set[str] = set()
        self._away = False
        self._next_try = 0.0
        self._one_at_a_time = threading.RLock()

    @property
    def lost(self) -> bool:
        return bool(self._pending or self._refused)

    @property
    def away(self) -> bool:
        """Whether the store was away at the last try."""
        return self._away

    def deliver(self, what: str, call: Callable[[], Any]) -> None:
        """Make `call` now or, while the store is away, later. Never raises. `what` names it to people."""
        with self._one_at_a_time:
            self._pending.append((what, call))
            if self._clock() >= self._next_try:
                self.flush()

    def flush(self) -> None:
        """Make the kept calls, oldest first, until one meets an outage."""
        with self._one_at_a_time:
            self._flush()

    def _flush(self) -> None:
        while self._pending:
            what, call = self._pending[0]
            started = self._clock()
            try:
                call()
            except Exception as error:
                if self._is_outage(error):
                    self._note_outage(error, self._clock() - started)
                    return
                self._note_refusal(what, error)
            self._pending.popleft()
        if self._away:
            self._away = False
            self._log.warning("tracking: the store is back, and has all that was kept for it")

    def close(self) -> None:
        """Try once more, and say how much stays behind."""
        self.flush()
        if self._pending:
            left = len(self._pending)
            self._log.warning(
                "tracking: the store is still away; %d entries never reached it%s", left, self.how_to_go_on
            )

    def _note_outage(self, error: Exception, seconds: float) -> None:
        self._next_try = self._clock() + WAIT_PER_SECOND_OF_TRYING * max(seconds, 1.0)
        if not self._away:
            self._away = True
            self._log.warning(
                "tracking: the store is away (%s); the run goes on, keeps history.csv, and tries again",
                first_line(error, LONGEST),
            )

    def _note_refusal(self, what: str, error: Exception) -> None:
        if what not in self._refused:
            self._refused.add(what)
            self._log.warning(
                "tracking: %s could not be logged (%s); the run goes on", what, first_line(error, LONGEST)
            )
