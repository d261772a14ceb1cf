"""Calls on the socket: who asked what, and whose answer came.

Owns the one promise that matters to an app: whether a call that brought no
answer may have been done (`CallLost`) or was not (`NotSent`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hub.client.errors import CallError, CallLost, NotSent
from hub.client.timing import Clock
from hub.client.wire import Call
from hub.core import frames


class Pending:
    """One call on its way. `is_sent` from the moment at which the socket was given it."""

    __slots__ = ("answer", "frame", "is_sent")

    def __init__(self, frame: Call, answer: asyncio.Future[Any]) -> None:
        self.frame = frame
        self.answer = answer
        self.is_sent = False


class Calls:
    """The calls of one client, over any number of connections. `send` queues one on the open connection."""

    def __init__(self, clock: Clock, timeout_s: float, send: Callable[[Pending], None]) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._send = send
        self._is_open = False
        self._serial = 0
        self._pending: dict[str, Pending] = {}
        """In the order of asking."""

    @property
    def is_waiting(self) -> bool:
        return bool(self._pending)

    async def perform(self, method: str, params: dict[str, Any]) -> Any:
        """Ask, once there is a connection, and wait for the answer. Cancelling it does not undo what was sent.

        Raises:
            CallError: the hub refused.
            CallLost: it was sent, and no answer came in time or before the connection was cut.
            NotSent: there was no connection in time.
        """
        self._serial += 1
        call_id = f"c{self._serial}"
        pending = Pending(Call(call_id, method, params), asyncio.get_running_loop().create_future())
        self._pending[call_id] = pending

        def give_up() -> None:
            if not pending.answer.done():
                pending.answer.set_exception(self._unanswered(pending, f"no answer in {self._timeout_s:g} s"))

        timer = self._clock.call_later(self._timeout_s, give_up)
        try:
            if self._is_open:
                self._send(pending)
            return await pending.answer
        finally:
            timer.cancel()
            del self._pending[call_id]

    def opened(self) -> None:
        """A connection is open: what waits goes out, in the order of asking."""
        self._is_open = True
        for pending in list(self._pending.values()):
            if not pending.answer.done():
                self._send(pending)

    def closed(self) -> None:
        """The connection is gone: what was sent is lost, what was not waits for the next."""
        self._is_open = False
        for pending in self._pending.values():
            if pending.is_sent and not pending.answer.done():
                pending.answer.set_exception(self._unanswered(pending, "the connection was cut"))

    def end(self, why: str) -> None:
        """There will be no other connection."""
        self._is_open = False
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(self._unanswered(pending, why))

    def answered(self, frame: frames.Result | frames.Failed) -> None:
        """An answer that nobody waits for any more is dropped."""
        pending = self._pending.get(str(frame.id))
        if pending is None or pending.answer.done():
            return
        if isinstance(frame, frames.Result):
            pending.answer.set_result(frame.data)
        else:
            pending.answer.set_exception(CallError(frame.error))

    @staticmethod
    def _unanswered(pending: Pending, why: str) -> Exception:
        method = pending.frame.method
        if pending.is_sent:
            return CallLost(f"{method}: {why}; it may have been done, or not")
        return NotSent(f"{method}: {why}; it was not sent")
