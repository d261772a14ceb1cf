"""When to tell the hub what has reached the person's device: after a burst, and at most so often.

Acks are lazy, since each may be a write for the hub; one too few only says
"delivered" later, and the next connection's first makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.client.place import Place
from hub.client.timing import Clock, Timer


class Acks:
    """Acknowledges where `place` stands. `send` is called with a cursor, only while a connection is open."""

    def __init__(self, clock: Clock, interval_s: float, place: Place, send: Callable[[int], None]) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._place = place
        self._send = send
        self._epoch: str | None = None
        self._acked = -1
        self._acked_at = float("-inf")
        self._timer: Timer | None = None

    def opened(self, epoch: str) -> None:
        """A connection is open, or its history is another now. Says again what may have been lost with the last."""
        self._epoch = epoch
        self._acked = -1

    def closed(self) -> None:
        self._epoch = None
        self._cancel()

    def taken(self, *, is_burst_over: bool) -> None:
        """The app has taken something: acknowledge once the interval allows, and not amidst a burst but for that."""
        wait_s = self._interval_s
        if is_burst_over:
            wait_s += self._acked_at - self._clock.monotonic()
        if wait_s <= 0:
            self.now()
        elif self._timer is None and self._is_due:
            self._timer = self._clock.call_later(wait_s, self.now)

    def now(self) -> None:
        """Acknowledge at once, where there is anything new to say."""
        self._cancel()
        if self._is_due and self._place.cursor is not None:
            self._acked = self._place.cursor
            self._acked_at = self._clock.monotonic()
            self._send(self._acked)

    @property
    def _is_due(self) -> bool:
        # While the app is still taking what came of another history, its numbers mean nothing here.
        return self._epoch is not None and self._place.epoch == self._epoch and (self._place.cursor or 0) > self._acked

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
