"""Questions of many connections that come together, asked together.

Owns who is answered by which call. Does not own what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """`answer` is called with all that was asked in one turn of the loop, or while it was busy: no timer.

    At most `calls_max` calls at once, of at most `count_max` questions each. `answer` gives as many answers as it
    was asked questions, in their order; what it raises, each of those raises who asked.
    """

    def __init__(
        self,
        answer: Callable[[list[Q]], Awaitable[list[A]]],
        spawn: Callable[[Coroutine[Any, Any, Any]], Any],
        *,
        calls_max: int,
        count_max: int,
    ) -> None:
        self._answer = answer
        self._spawn = spawn
        self._calls_max = calls_max
        self._count_max = count_max
        self._calls = 0
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []

    def ask(self, question: Q) -> asyncio.Future[A]:
        """The answer to come. Whoever cancels it alone does without."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._calls < self._calls_max and len(self._waiting) == 1:
            # A task begins in the next turn: by then all of this one have asked.
            self._calls += 1
            self._spawn(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[: self._count_max]
                del self._waiting[: self._count_max]
                await self._settle([(question, answer) for question, answer in batch if not answer.done()])
        finally:
            self._calls -= 1

    async def _settle(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        if not batch:
            return
        try:
            answers = await self._answer([question for question, _ in batch])
        except Exception as exc:
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(exc)
        except BaseException:
            for _, waiting in batch:
                waiting.cancel()
            raise
        else:
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)
