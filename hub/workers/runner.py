"""One loop for everything that is done again and again: at its interval, or when it is woken.

Owns when a step runs: never two of one worker at once, jitter so that nodes do not step together, longer waits
while PostgreSQL is away, a clean end. Does not own what a step does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from hub.core.log import LogUnavailable

_log = logging.getLogger(__name__)

BACK_OFF_MAX_S: Final = 5.0
"""While PostgreSQL is away it is asked this often at least: what is due must not wait long once it is back."""

JITTER: Final = 0.1


class Clock(Protocol):
    def monotonic(self) -> float: ...
    def unit(self) -> float: ...


class WorkerStatistics(msgspec.Struct, frozen=True):
    """Since the start. `done` is what the steps say that they did; `last_step_s` how long the last one took."""

    steps: int
    done: int
    failures: int
    last_step_s: float


class Worker:
    """Runs `step` every `interval_s` seconds, and at once when `wake` is set or when a step asks to go on.

    A step answers how much it did, and whether there is more; it is bounded in itself.
    """

    def __init__(
        self,
        name: str,
        interval_s: float,
        step: Callable[[], Awaitable[tuple[int, bool]]],
        clock: Clock,
        wake: asyncio.Event | None = None,
    ) -> None:
        self.name = name
        self._interval_s = interval_s
        self._step = step
        self._clock = clock
        self._wake = wake or asyncio.Event()
        self._steps = self._done = self._failures = 0
        self._failures_in_row = 0
        self._last_step_s = 0.0

    def statistics(self) -> WorkerStatistics:
        return WorkerStatistics(self._steps, self._done, self._failures, self._last_step_s)

    async def run(self) -> None:
        """Until it is cancelled. A step that is cancelled rolls back what it had open."""
        while True:
            # Cleared before the step: what is asked for while it runs is done by another.
            self._wake.clear()
            wait_s = self._interval_s * (1 + JITTER * (2 * self._clock.unit() - 1))
            if await self.step_once():
                wait_s = 0.0
            elif self._failures_in_row:
                wait_s = min(self._interval_s * 2**self._failures_in_row, BACK_OFF_MAX_S) * (
                    0.5 + self._clock.unit() / 2
                )
                wait_s = max(wait_s, min(self._interval_s, BACK_OFF_MAX_S))
            if wait_s <= 0:
                # Other work of this loop comes between two steps of a long queue.
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def step_once(self) -> bool:
        """One step. True where there is more to do at once. What fails is logged and counted, never raised."""
        began = self._clock.monotonic()
        try:
            done, has_more = await self._step()
        except LogUnavailable as error:
            self._failures += 1
            self._failures_in_row += 1
            _log.warning("%s: %s", self.name, error)
            return False
        except Exception:
            self._failures += 1
            self._failures_in_row += 1
            _log.exception("%s failed; it goes on", self.name)
            return False
        finally:
            self._last_step_s = self._clock.monotonic() - began
        self._failures_in_row = 0
        self._steps += 1
        self._done += done
        return has_more
