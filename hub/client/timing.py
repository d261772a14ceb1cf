"""Time as the client sees it, so that tests can make an hour pass at once; and how long to stay away.

Owns the back-off: exponential with full jitter, since ten thousand clients that
were cut together must not return together (Brooker, "Exponential Backoff And
Jitter", 2015).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from hub import clock


class Timer(Protocol):
    """Something that will happen, and need not."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the client asks of time and chance. Seconds; `unit` is in [0, 1)."""

    def monotonic(self) -> float: ...
    def now(self) -> datetime: ...
    def unit(self) -> float: ...
    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer: ...


class LoopClock:
    """The machine's time, and the running loop's timers."""

    monotonic = staticmethod(clock.monotonic)
    now = staticmethod(clock.now)
    unit = staticmethod(clock.unit)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_s, callback)


async def pause(time: Clock, delay_s: float, wake_signal: asyncio.Event | None = None) -> None:
    """Return after `delay_s`, or as soon as `wake_signal` is set."""
    signal = wake_signal or asyncio.Event()
    timer = time.call_later(delay_s, signal.set)
    try:
        await signal.wait()
    finally:
        timer.cancel()


class Backoff:
    """How long to wait before the next attempt; each failure doubles the range, to a bound."""

    __slots__ = ("_attempt", "_base_s", "_max_s", "_stable_s")

    def __init__(self, base_s: float, max_s: float, stable_s: float) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._stable_s = stable_s
        self._attempt = 0

    @property
    def attempt(self) -> int:
        """Failures since the last connection that held."""
        return self._attempt

    def held(self, open_s: float) -> None:
        """A connection was open for this long. Only one that held ends the doubling, so that a hub which
        welcomes and dies is not stormed."""
        if open_s >= self._stable_s:
            self._attempt = 0

    def next(self, unit: float) -> float:
        """Seconds to wait, anywhere from none to the whole range."""
        # 2**30 is past any bound that makes sense, and does not overflow a float.
        range_s = min(self._max_s, self._base_s * 2 ** min(self._attempt, 30))
        self._attempt += 1
        return unit * range_s
