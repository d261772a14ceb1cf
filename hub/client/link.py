"""One WebSocket, from `hello` to its end.

Owns reading, writing in order, and the search for a connection that is dead:
one that says nothing, or whose cursor stays behind. Does not own what frames
mean (`hub.client.client`), nor whether to come back (`hub.client.returning`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from hub.client.calls import Pending
from hub.client.returning import End
from hub.client.timing import Clock, Timer
from hub.client.tuning import Tuning
from hub.client.wire import ClientFrame, Format, NotUnderstood, ServerFrame
from hub.core import frames

_HEARTBEAT_MIN_S = 0.1
"""Whatever the hub says, the alarm does not spin."""


class Receiver(Protocol):
    """Whoever makes sense of what comes."""

    @property
    def is_full(self) -> bool:
        """Nothing more should be read for now."""
        ...

    @property
    def is_behind(self) -> bool:
        """The hub has said that there is more than has come."""
        ...

    @property
    def news(self) -> int:
        """How many events have come that were new; only that it changes means anything."""
        ...

    async def room(self) -> None: ...

    def receive(self, link: Link, frame: ServerFrame) -> None:
        """Take one frame; synchronous, so that frames keep their order."""
        ...


class Link:
    """An open connection. `run` it once; `say` from anywhere meanwhile."""

    def __init__(
        self, socket: ClientConnection, wire: Format, clock: Clock, tuning: Tuning, receiver: Receiver
    ) -> None:
        self._socket = socket
        self._wire = wire
        self._clock = clock
        self._tuning = tuning
        self._receiver = receiver
        self._outgoing: deque[bytes | Pending | None] = deque()
        self._outgoing_signal = asyncio.Event()
        self._timer: Timer | None = None
        self._heartbeat_s = 0.0
        self._heard_at = 0.0
        self._behind_since: float | None = None
        self._news = 0
        self._is_stalled = False
        self._welcomed_at: float | None = None
        self._bye: frames.Bye | None = None
        self._fault = ""

    # -- saying --------------------------------------------------------------------------------------------------------

    def say(self, frame: ClientFrame) -> None:
        """Send a frame after those before it; lost where the connection ends first."""
        self._queue(self._wire.write(frame))

    def call(self, pending: Pending) -> None:
        """Send a call, unless nobody waits for its answer by then."""
        self._queue(pending)

    def _queue(self, item: bytes | Pending | None) -> None:
        self._outgoing.append(item)
        self._outgoing_signal.set()

    async def _write(self) -> None:
        try:
            while True:
                while self._outgoing:
                    item = self._outgoing.popleft()
                    if item is None:
                        await self._socket.pong()
                        continue
                    if isinstance(item, Pending):
                        if item.answer.done():
                            continue
                        item.is_sent = True
                        item = self._wire.write(item.frame)
                    await self._socket.send(item, text=self._wire.is_text)
                self._outgoing_signal.clear()
                await self._outgoing_signal.wait()
        except ConnectionClosed:
            # The reader sees the same, and knows why.
            return
        except Exception:
            # A fault of ours: `run` raises it, once the reader has been let go.
            self.cut("this client failed")
            raise

    # -- hearing -------------------------------------------------------------------------------------------------------

    async def run(self, hello: frames.Hello) -> End:
        """Say hello, and hand each frame to the receiver, until the connection ends.

        Cancelling it closes the connection politely, within `close_timeout_s`.
        """
        self.say(hello)
        self._timer = self._clock.call_later(
            self._tuning.welcome_timeout_s,
            lambda: self.cut(f"no welcome within {self._tuning.welcome_timeout_s:g} s"),
        )
        writer = asyncio.create_task(self._write(), name="hub-client-writer")
        try:
            await self._read()
        except ConnectionClosed:
            pass
        except NotUnderstood as exc:
            self._fault = f"the hub said what is no frame of the protocol: {exc}"
        finally:
            self._timer.cancel()
            writer.cancel()
            await self._close()
            (fault,) = await asyncio.gather(writer, return_exceptions=True)
        if isinstance(fault, Exception):
            raise fault
        return self._end()

    async def _read(self) -> None:
        while self._bye is None:
            payload = await self._socket.recv(decode=False)
            self._heard_at = self._clock.monotonic()
            frame = self._wire.read(payload)
            if frame is None:
                continue
            if isinstance(frame, frames.Bye):
                self._bye = frame
            elif isinstance(frame, frames.Welcome):
                self._welcome(frame)
            elif self._welcomed_at is None:
                raise NotUnderstood("the first frame is a welcome")
            self._receiver.receive(self, frame)
            self._watch_progress()
            if self._receiver.is_full:
                await self._stall()

    def _welcome(self, frame: frames.Welcome) -> None:
        if self._welcomed_at is not None:
            raise NotUnderstood("a connection is welcomed once")
        self._welcomed_at = self._heard_at
        self._heartbeat_s = max(frame.heartbeat_ms / 1000, _HEARTBEAT_MIN_S)
        self._alarm()

    async def _stall(self) -> None:
        """Read nothing until the app has made room: TCP tells the hub, which keeps the rest in its log."""
        self._is_stalled = True
        try:
            await self._receiver.room()
        finally:
            self._is_stalled = False
            self._heard_at = self._clock.monotonic()
            self._behind_since = self._heard_at if self._receiver.is_behind else None

    # -- whether it is alive -------------------------------------------------------------------------------------------

    def _watch_progress(self) -> None:
        news = self._receiver.news
        if not self._receiver.is_behind:
            self._behind_since = None
        elif news != self._news or self._behind_since is None:
            self._behind_since = self._heard_at
        self._news = news

    def _alarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now, silence_max_s = self._clock.monotonic(), 2 * self._heartbeat_s
        if self._is_stalled:
            # What is not read cannot be heard; and a hub that hears nothing from here would close. An unsolicited
            # pong is a heartbeat that asks for no answer (RFC 6455, 5.5.3).
            self._queue(None)
        elif now - self._heard_at >= silence_max_s:
            self.cut(f"nothing came for {silence_max_s:g} s")
            return
        elif self._behind_since is not None and now - self._behind_since >= silence_max_s:
            self.cut(f"the hub has more, and nothing of it came for {silence_max_s:g} s")
            return
        self._timer = self._clock.call_later(self._heartbeat_s / 2, self._alarm)

    def cut(self, why: str) -> None:
        """End it without a word to a peer that may not be there; `run` returns."""
        self._fault = why
        self._socket.transport.abort()

    async def _close(self) -> None:
        try:
            await self._socket.close()
        finally:
            self._socket.transport.abort()

    def _end(self) -> End:
        bye = self._bye
        code, reason = self._socket.close_code, self._socket.close_reason or ""
        retry_after_s: float | None = None
        if bye is not None:
            code, reason = bye.code, bye.reason
            retry_after_s = None if bye.retry_after_ms is None else bye.retry_after_ms / 1000
        # 1005 and 1006 say that there was no code; after a fault of its peer the code is our own.
        elif self._fault or code in (1005, 1006):
            code, reason = None, self._fault
        opened_s = 0.0 if self._welcomed_at is None else self._clock.monotonic() - self._welcomed_at
        return End(
            reason=reason,
            code=code,
            retry_after_s=retry_after_s,
            was_welcomed=self._welcomed_at is not None,
            opened_s=opened_s,
        )
