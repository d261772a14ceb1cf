"""A clock that only the test moves, and a hub that says only what the test tells it to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import heapq
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from hub.client.client import HubClient
from hub.client.event import Event, Item
from hub.client.state import State
from hub.core.frames import JSON, MSGPACK

START = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
WITHIN_S = 5.0
"""Real seconds after which a test that waits has failed."""


class FakeTimer:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """Stands still until `advance`. `units` are the random numbers to come; then 0.5 for ever."""

    def __init__(self, *units: float) -> None:
        self.time_s = 1000.0
        self.units = list(units)
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._serial = itertools.count()

    def monotonic(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time_s - 1000.0)

    def unit(self) -> float:
        return self.units.pop(0) if self.units else 0.5

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self.time_s + delay_s, callback)
        heapq.heappush(self._timers, (timer.at, next(self._serial), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let the time pass, and everything happen that was to happen in it, in order."""
        end = self.time_s + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                self.time_s = max(self.time_s, at)
                timer.callback()
        self.time_s = end

    @property
    def armed(self) -> list[float]:
        """Seconds until each timer that is set."""
        return sorted(at - self.time_s for at, _, timer in self._timers if not timer.is_cancelled)


class Peer:
    """The hub's side of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.is_text = socket.subprotocol != MSGPACK
        self.over_signal = asyncio.Event()
        self.heard: list[dict[str, Any]] = []
        self.bytes_heard = 0
        """Of whatever kind, pongs too."""
        receive_data = socket.protocol.receive_data

        def counted(data: bytes) -> None:
            self.bytes_heard += len(data)
            receive_data(data)

        socket.protocol.receive_data = counted  # type: ignore[method-assign]

    @property
    def token(self) -> str:
        assert self.socket.request is not None
        return self.socket.request.headers["Authorization"].removeprefix("Bearer ")

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame (of a type; others are passed over)."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                payload = await self.socket.recv(decode=False)
                frame = msgspec.json.decode(payload) if self.is_text else msgspec.msgpack.decode(payload)
                self.heard.append(frame)
                if kind is None or frame["type"] == kind:
                    return frame

    async def say(self, frame: dict[str, Any]) -> None:
        payload = msgspec.json.encode(frame) if self.is_text else msgspec.msgpack.encode(frame)
        await self.socket.send(payload, text=self.is_text)

    async def welcome(self, resume: str = "replay", cursor: int = 0, head: int | None = None, **fields: Any) -> Any:
        """Hear the hello, and answer it. Returns the hello."""
        hello = await self.hear()
        assert hello["type"] == "hello"
        await self.say(welcome(resume, cursor, head, **fields))
        return hello

    async def event(self, seq: int, cursor: int | None = None, **fields: Any) -> None:
        await self.say(event(seq, cursor, **fields))

    async def close(self, code: int, reason: str = "", retry_after_ms: int | None = None, *, bye: bool = True) -> None:
        if bye:
            said = {"type": "bye", "code": code, "reason": reason}
            await self.say(said if retry_after_ms is None else {**said, "retry_after_ms": retry_after_ms})
        with contextlib.suppress(ConnectionClosed):
            await self.socket.close(code, reason)
        self.over_signal.set()

    def cut(self) -> None:
        """The cable is pulled."""
        self.socket.transport.abort()
        self.over_signal.set()

    async def gone(self) -> int | None:
        """Wait until the client has ended it; its close code."""
        async with asyncio.timeout(WITHIN_S):
            await self.socket.wait_closed()
        self.over_signal.set()
        return self.socket.close_code


class ScriptedHub:
    """Listens on a port of its own; each connection becomes a `Peer`."""

    def __init__(self) -> None:
        self.port = 0
        self.refusals: list[tuple[int, dict[str, str], bytes]] = []
        """Answers instead of an upgrade, for the next attempts."""
        self.attempts = 0
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._open: list[Peer] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def accept(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(WITHIN_S):
            return await self._peers.get()

    async def _handle(self, socket: ServerConnection) -> None:
        peer = Peer(socket)
        self._open.append(peer)
        self._peers.put_nowait(peer)
        await peer.over_signal.wait()

    def _on_request(self, socket: ServerConnection, request: Request) -> Response | None:
        self.attempts += 1
        assert request.path == "/api/v1/ws"
        if not self.refusals:
            return None
        status, headers, body = self.refusals.pop(0)
        return Response(status, HTTPStatus(status).phrase, Headers(headers), body)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedHub]:
        server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            subprotocols=[JSON, MSGPACK],
            process_request=self._on_request,
            compression=None,
            ping_interval=None,
            close_timeout=0.2,
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            for peer in self._open:
                peer.over_signal.set()
            server.close()
            await server.wait_closed()


class States:
    """Every state that was shown, and a way to wait for one."""

    def __init__(self) -> None:
        self.seen: list[State] = []
        self._signal = asyncio.Event()

    def __call__(self, state: State) -> None:
        self.seen.append(state)
        self._signal.set()

    @property
    def phases(self) -> list[str]:
        return [state.phase for state in self.seen]

    async def until(self, phase: str, *, count: int = 1) -> State:
        """Wait until the phase was shown `count` times; that state."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                found = [state for state in self.seen if state.phase == phase]
                if len(found) >= count:
                    return found[count - 1]
                self._signal.clear()
                await self._signal.wait()


async def take(client: HubClient, count: int) -> list[Item]:
    """The next items."""
    async with asyncio.timeout(WITHIN_S):
        return [await anext(client) for _ in range(count)]


async def take_seqs(client: HubClient, count: int) -> list[int | None]:
    """The numbers of the next items, which are all events."""
    items = await take(client, count)
    assert all(isinstance(item, Event) for item in items), items
    return [item.seq for item in items if isinstance(item, Event)]


async def eventually(condition: Callable[[], bool]) -> None:
    """Give way to the loop until the condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0)


def badge(unread: int) -> dict[str, int]:
    return {"unread": unread, "unseen": unread, "critical": 0, "high": 0, "normal": unread, "low": 0}


def welcome(resume: str = "replay", cursor: int = 0, head: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "welcome", "session": "s1", "tenant_id": "acme", "user_id": 7, "epoch": "e1", "cursor": cursor,
            "head": cursor if head is None else head, "resume": resume, "heartbeat_ms": 25000,
            "counts": badge(0), **fields}  # fmt: skip


def event(seq: int, cursor: int | None = None, **fields: Any) -> dict[str, Any]:
    """A `notification.created`; the cursor is its own number unless said."""
    return {"type": "event", "seq": seq, "cursor": seq if cursor is None else cursor, "kind": "notification.created",
            "priority": "normal", "at": "2026-11-22T20:15:03.120Z", "data": {"id": seq}, **fields}  # fmt: skip


def jwt(expires_in_s: float, *, issued_ago_s: float = 0, name: str = "t", now: datetime = START) -> str:
    """A token that reads like one; nobody here verifies it."""
    at = now.timestamp()
    claims = {"sub": "7", "jti": name, "iat": at - issued_ago_s, "exp": at + expires_in_s}
    return ".".join(
        base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in ("{}", json.dumps(claims), "sign")
    )
