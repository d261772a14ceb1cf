"""Questions that come together are asked together, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from hub.gateway.together import Together
from tests.gateway.harness import until


class Oracle:
    """Answers by doubling, once `gate` is open; keeps what it was asked."""

    def __init__(self, *, calls_max: int = 2, count_max: int = 3) -> None:
        self.asked: list[list[int]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.runners: list[asyncio.Task[Any]] = []
        self.together = Together(self._answer, self._spawn, calls_max=calls_max, count_max=count_max)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self.runners.append(asyncio.create_task(work))

    async def _answer(self, questions: list[int]) -> list[int]:
        self.asked.append(questions)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [2 * question for question in questions]


async def test_what_is_asked_in_one_turn_is_one_call_and_what_comes_later_another() -> None:
    oracle = Oracle()
    answers = [oracle.together.ask(n) for n in (1, 2)]
    await until(lambda: oracle.asked)
    answers.append(oracle.together.ask(3))
    await until(lambda: len(oracle.asked) == 2)
    oracle.gate.set()
    assert await asyncio.gather(*answers) == [2, 4, 6]
    assert oracle.asked == [[1, 2], [3]]


async def test_while_as_many_run_as_may_the_others_gather_up_to_their_bound() -> None:
    oracle = Oracle(calls_max=1)
    answers = [oracle.together.ask(0)]
    await until(lambda: oracle.asked)
    answers += [oracle.together.ask(n) for n in range(1, 6)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert oracle.asked == [[0]]
    oracle.gate.set()
    assert await asyncio.gather(*answers) == [0, 2, 4, 6, 8, 10]
    assert oracle.asked == [[0], [1, 2, 3], [4, 5]]
    await asyncio.gather(*oracle.runners)
    assert await oracle.together.ask(7) == 14


async def test_what_fails_fails_for_those_who_asked_and_the_next_are_answered() -> None:
    oracle = Oracle(calls_max=1)
    oracle.error = OSError("away")
    oracle.gate.set()
    first = [oracle.together.ask(n) for n in (1, 2)]
    for answer in first:
        with pytest.raises(OSError, match="away"):
            await answer
    oracle.error = None
    assert await oracle.together.ask(3) == 6


async def test_who_gives_up_does_without_and_is_not_asked_for() -> None:
    oracle = Oracle(calls_max=1)
    first, second = oracle.together.ask(1), oracle.together.ask(2)
    await until(lambda: oracle.asked)
    third, fourth = oracle.together.ask(3), oracle.together.ask(4)
    first.cancel()
    third.cancel()
    oracle.gate.set()
    assert await second == 4
    assert await fourth == 8
    assert oracle.asked == [[1, 2], [4]]


async def test_cancelled_it_leaves_nobody_waiting() -> None:
    oracle = Oracle()
    answer = oracle.together.ask(1)
    await until(lambda: oracle.asked)
    oracle.runners[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
