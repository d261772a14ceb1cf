"""The calls of one connection: performed one after another, and few waiting."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from hub.core.frames import Call, Failed, Result
from hub.gateway.handshake import problem
from hub.gateway.ports import CallFailed

if TYPE_CHECKING:
    from hub.gateway.connection import Connection

_log = logging.getLogger("hub.gateway")


class CallQueue:
    """What a client has asked for and has not been answered; a read and an unread keep their order.

    Owns that every call is answered, once, in order, and that what waits is bounded. While the socket is full
    nothing is performed: who does not read answers gets no more of them.
    """

    __slots__ = ("_bytes", "_connection", "_is_running", "_waiting")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[Call, int]] = deque()
        self._bytes = 0
        self._is_running = False

    def add(self, call: Call, size: int) -> None:
        """Take a call that came in `size` bytes, or refuse it."""
        limits = self._connection.limits
        is_full = len(self._waiting) >= limits.calls_waiting_max
        if is_full or (self._waiting and self._bytes + size > limits.calls_bytes_max):
            detail = "too many calls wait on this connection"
            self._connection.say(Failed(problem(429, "Too many requests", detail), call.id))
            return
        self._waiting.append((call, size))
        self._bytes += size
        self.run()

    def run(self) -> None:
        """Perform what waits, where nothing is being performed and the answers can be written."""
        if self._waiting and not self._is_running and self._connection.is_writable:
            self._is_running = True
            self._connection.node.spawn(self._perform_all())

    def clear(self) -> None:
        """The connection is over: what waits never happens."""
        self._waiting.clear()
        self._bytes = 0

    async def _perform_all(self) -> None:
        connection = self._connection
        try:
            while self._waiting and connection.is_open and connection.is_writable:
                call, size = self._waiting.popleft()
                self._bytes -= size
                await self._perform(call)
        finally:
            self._is_running = False

    async def _perform(self, call: Call) -> None:
        connection = self._connection
        statistics = connection.node.statistics
        statistics.calls += 1
        try:
            connection.say(Result(call.id, await connection.node.perform(connection, call.method, call.params)))
        except CallFailed as exc:
            statistics.calls_failed += 1
            connection.say(Failed(exc.problem, call.id))
        except Exception:
            # Unanswered, it would keep its client waiting for ever, and those behind it too.
            statistics.calls_failed += 1
            _log.exception("a call of %r failed", call.method)
            connection.say(Failed(problem(500, "Internal Server Error", "the hub failed to do this"), call.id))
