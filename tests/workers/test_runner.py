"""When a step runs: at its interval, when it is woken, again at once where there is more, less often after failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hub.core.log import LogUnavailable
from hub.workers.runner import Worker


class Still:
    """A clock in the middle of every jitter."""

    def monotonic(self) -> float:
        return 0.0

    def unit(self) -> float:
        return 0.5


class Steps:
    """Answers what it is told to, and says when it has been called so many times."""

    def __init__(self, *answers: tuple[int, bool] | Exception) -> None:
        self._answers = list(answers)
        self.called = 0
        self._changed = asyncio.Condition()

    async def __call__(self) -> tuple[int, bool]:
        self.called += 1
        async with self._changed:
            self._changed.notify_all()
        answer = self._answers.pop(0) if self._answers else (0, False)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.called >= count)


@asynccontextmanager
async def running(
    step: Callable[[], Awaitable[tuple[int, bool]]], interval_s: float
) -> AsyncIterator[tuple[Worker, asyncio.Event]]:
    wake = asyncio.Event()
    worker = Worker("test", interval_s, step, Still(), wake)
    runner = asyncio.create_task(worker.run())
    yield worker, wake
    runner.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await runner


async def test_more_is_done_at_once_and_then_it_waits():
    steps = Steps((5, True), (5, True), (2, False))
    async with running(steps, 3600) as (worker, _):
        await steps.reach(3)
        await asyncio.sleep(0)
        assert steps.called == 3
        assert worker.statistics().done == 12


async def test_a_wake_ends_the_wait():
    steps = Steps()
    async with running(steps, 3600) as (_, wake):
        await steps.reach(1)
        wake.set()
        await steps.reach(2)


async def test_what_is_woken_for_while_a_step_runs_is_done_by_another():
    steps = Steps()
    wake: asyncio.Event | None = None

    async def step() -> tuple[int, bool]:
        if steps.called == 0:
            assert wake is not None
            wake.set()
        return await steps()

    async with running(step, 3600) as (_, signal):
        wake = signal
        await steps.reach(2)


async def test_failures_are_counted_and_it_goes_on():
    steps = Steps(LogUnavailable("away"), ValueError("a fault"), (1, False))
    async with running(steps, 0.001) as (worker, _):
        await steps.reach(4)
        figures = worker.statistics()
        assert (figures.failures, figures.done) == (2, 1)


async def test_while_the_database_is_away_it_is_asked_less_often():
    steps = Steps(*[LogUnavailable("away")] * 10)
    waits: list[float] = []
    worker = Worker("test", 1.0, steps, Still())
    original = asyncio.timeout

    def timeout(delay: float | None) -> asyncio.Timeout:
        assert delay is not None
        waits.append(delay)
        return original(0)

    asyncio.timeout = timeout  # type: ignore[assignment]
    try:
        runner = asyncio.create_task(worker.run())
        while len(waits) < 6:
            await asyncio.sleep(0)
        runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runner
    finally:
        asyncio.timeout = original
    assert waits[0] < waits[1] < waits[2]
    assert max(waits) <= 5.0
