"""A node with a log and a bus in memory, served by a real uvicorn on a real port.

The log here obeys the words of `hub.core.log` and nothing else; the tests choose
which hints are heard, lost, doubled or late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from hub import clock
from hub.app.announcing import News, messages_of
from hub.core.counts import Counts
from hub.core.event import CREATED, Event, encode_hint, encode_tail, lane_of
from hub.core.log import LogUnavailable, Moved, Page, StreamState, Sweep
from hub.core.principal import Principal
from hub.core.topics import user_topic
from hub.gateway.limits import GatewayLimits
from hub.gateway.node import Node
from hub.gateway.ports import CallFailed, TokenRefused

AT = datetime(2026, 11, 22, 20, 15, 3, 120000, tzinfo=UTC)


class MemoryLog:
    """Streams in memory. `is_away` makes every read fail; `kept_from` is the first number retention has left."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.streams: dict[tuple[str, int], list[Event]] = defaultdict(list)
        self.kept_from: dict[tuple[str, int], int] = defaultdict(lambda: 1)
        self.delivered: dict[tuple[str, int], int] = {}
        self.is_away = False
        self.reads: list[tuple[str, int]] = []
        self.before_read: Callable[[str], Any] | None = None

    def append(
        self,
        tenant: str,
        user: int,
        kind: str = CREATED,
        *,
        priority: Any = "normal",
        data: Any = None,
        rings: bool = True,
        released: bool = False,
    ) -> Event:
        stream = self.streams[tenant, user]
        seq = self.head(tenant, user) + 1
        tail = encode_tail(kind, priority, AT, {"id": seq} if data is None else data, Counts(seq, seq))
        event = Event(seq, lane_of(kind, priority), rings and kind == CREATED, tail, released)
        stream.append(event)
        return event

    def head(self, tenant: str, user: int) -> int:
        return len(self.streams[tenant, user])

    async def _reading(self, what: str) -> None:
        if self.before_read is not None:
            result = self.before_read(what)
            if result is not None:
                await result
        if self.is_away:
            raise LogUnavailable("away")

    async def read_state(self, tenant_id: str, user_id: int, cursor: int | None) -> StreamState:
        await self._reading("state")
        head = self.head(tenant_id, user_id)
        kept = self.kept_from[tenant_id, user_id]
        resumable = cursor is not None and (cursor == head or (cursor < head and cursor + 1 >= kept))
        return StreamState(self.epoch, head, Counts(head, head), resumable)

    async def read_states(self, asked: Any) -> list[StreamState]:
        return [await self.read_state(tenant, user, cursor) for tenant, user, cursor in asked]

    async def read_after(self, tenant_id: str, user_id: int, seq: int, *, count_max: int, bytes_max: int) -> Page:
        await self._reading("after")
        self.reads.append((tenant_id, user_id))
        kept = self.kept_from[tenant_id, user_id]
        events: list[Event] = []
        size = 0
        for event in self.streams[tenant_id, user_id][max(seq, kept - 1) :][:count_max]:
            size += len(event.tail)
            if events and size > bytes_max:
                break
            events.append(event)
        return Page(self.epoch, self.head(tenant_id, user_id), events)

    async def read_critical_after(self, tenant_id: str, user_id: int, seq: int, *, count_max: int) -> list[Event]:
        await self._reading("critical")
        return [e for e in self.streams[tenant_id, user_id][seq:] if e.lane == 0][:count_max]

    async def sweep(self, users: Any) -> Sweep:
        await self._reading("sweep")
        moved = [Moved(t, u, self.head(t, u)) for t, u, seq in users if self.head(t, u) != seq]
        return Sweep(self.epoch, moved)

    async def acknowledge(self, cursors: Any) -> None:
        await self._reading("acknowledge")
        for tenant, user, cursor in cursors:
            self.delivered[tenant, user] = max(cursor, self.delivered.get((tenant, user), 0))


class Bus:
    """What several nodes share."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []

    def ear(self) -> Ear:
        ear = Ear(self)
        self.ears.append(ear)
        return ear

    def say(self, topic: str, payload: bytes) -> None:
        for ear in self.ears:
            ear.hear(topic, payload)


class Ear:
    """`Subscriptions` of one node. A subscription holds once `gate` is open, or fails by `error`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.topics: set[str] = set()
        self.subscribed: list[str] = []
        self.told: list[tuple[str, bytes]] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self._wishes: dict[str, int] = {}
        self.is_connected = True
        self.is_behind = False
        self._on_message: Callable[[str, bytes], None] | None = None
        self._on_connection: Callable[[bool], None] | None = None

    def listen(self, on_message: Any, on_connection: Any) -> None:
        self._on_message, self._on_connection = on_message, on_connection

    async def subscribe(self, topic: str) -> None:
        self.subscribed.append(topic)
        wish = self._wishes[topic] = self._wishes.get(topic, 0) + 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if self._wishes[topic] == wish:
            self.topics.add(topic)

    async def subscribe_many(self, topics: Any) -> None:
        await asyncio.gather(*[self.subscribe(topic) for topic in topics])

    async def unsubscribe(self, topic: str) -> None:
        self._wishes[topic] = self._wishes.get(topic, 0) + 1
        self.topics.discard(topic)

    async def publish(self, topic: str, payload: bytes) -> bool:
        self.told.append((topic, payload))
        if self.is_connected:
            self._bus.say(topic, payload)
        return self.is_connected

    async def publish_many(self, messages: Any) -> int:
        return sum([await self.publish(topic, payload) for topic, payload in messages])

    def hear(self, topic: str, payload: bytes) -> None:
        if self.is_connected and topic in self.topics and self._on_message is not None:
            self._on_message(topic, payload)

    def turn(self, *, up: bool) -> None:
        self.is_connected = up
        if self._on_connection is not None:
            self._on_connection(up)


class Tokens:
    """Tokens are `tenant:user[:role][:seconds]`; `bad` is refused. Each is looked at once `gate` is open."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.seen: list[str] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None

    async def verify(self, token: str) -> Principal:
        self.seen.append(token)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        tenant, _, rest = token.partition(":")
        user, _, rest = rest.partition(":")
        role, _, ttl = rest.partition(":")
        if not user.isdigit():
            raise TokenRefused("not a token")
        expires = clock.now() + timedelta(seconds=float(ttl or 3600))
        return Principal(
            tenant_id=tenant, user_id=int(user), role=role or "agent", expires_at=expires, issued_at=clock.now()
        )


class Methods:
    """Use cases: `echo` answers its params after `gate`, everything else is refused."""

    def __init__(self) -> None:
        self.performed: list[tuple[str, Any]] = []
        self.gate: asyncio.Event | None = None

    async def call(self, principal: Principal, method: str, params: dict[str, Any]) -> Any:
        self.performed.append((method, params))
        if self.gate is not None:
            await self.gate.wait()
        if method != "echo":
            raise CallFailed({"type": "about:blank", "title": "Not found", "status": 404})
        return params


class Hub:
    """One served node."""

    def __init__(self, log: MemoryLog, bus: Bus, limits: GatewayLimits, **options: Any) -> None:
        self.log = log
        self.bus = bus
        self.ear = bus.ear()
        self.methods = Methods()
        self.tokens = Tokens()
        self.node = Node(
            log=log,
            subscriptions=self.ear,
            verifier=self.tokens,
            calls=self.methods,
            clock=clock,
            limits=limits,
            **options,
        )
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/ws"

    def commit(self, user: int = 7, *, tenant: str = "acme", hint: bool = True, **event: Any) -> Event:
        """Append an event and, unless told not to, publish its hint."""
        made = self.log.append(tenant, user, **event)
        if hint:
            self.hint([made], user, tenant=tenant)
        return made

    def hint(self, events: list[Event], user: int = 7, *, tenant: str = "acme", epoch: str | None = None) -> None:
        self.bus.say(user_topic(tenant, user), encode_hint(epoch or self.log.epoch, events))

    def tell_crowd(self, users: Iterable[int], *, tenant: str = "acme", **event: Any) -> dict[int, Event]:
        """Append the same to each, and publish it as a writer does who tells all of them at once."""
        made = {user: self.log.append(tenant, user, **event) for user in users}
        news = News(tenant, self.log.epoch, [(user, [event]) for user, event in made.items()])
        for topic, payload in messages_of(news, 0.0):
            self.bus.say(topic, payload)
        return made

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Hub]:
        config = uvicorn.Config(Starlette(), port=0, ws=self.node.protocol, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        config.load()
        server.lifespan = config.lifespan_class(config)
        await self.node.start()
        await server.startup()
        self.port = server.servers[0].sockets[0].getsockname()[1]
        ticker = asyncio.create_task(server.main_loop())
        try:
            yield self
        finally:
            await self.node.drain(within_s=2)
            server.should_exit = True
            await ticker
            await server.shutdown()
            await self.node.stop()


async def until(condition: Callable[[], object], *, within_s: float = 5) -> None:
    """Return once the condition holds; every turn of the loop it is asked."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0)


class Gate:
    """Holds up reads of the log of one kind (`state`, `after`, `critical`, `sweep`); `waiting` counts those held."""

    def __init__(self, log: MemoryLog, what: str) -> None:
        self._what = what
        self._signal = asyncio.Event()
        self.waiting = 0
        self.waiting_most = 0
        log.before_read = self._hold

    def _hold(self, what: str) -> Any:
        return self._wait() if what == self._what else None

    async def _wait(self) -> None:
        self.waiting += 1
        self.waiting_most = max(self.waiting_most, self.waiting)
        try:
            await self._signal.wait()
        finally:
            self.waiting -= 1

    def open(self) -> None:
        self._signal.set()


class Device:
    """A raw client: sends what it is told, keeps every frame."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def frame(self, kind: str | None = None, *, within_s: float = 5) -> dict[str, Any]:
        """The next frame (of a type, others are kept but skipped)."""
        async with asyncio.timeout(within_s):
            while True:
                raw = await self.socket.recv()
                frame = json.loads(raw)
                self.frames.append(frame)
                if kind is None or frame["type"] == kind:
                    return frame

    async def events(self, count: int, *, within_s: float = 5) -> list[dict[str, Any]]:
        """The next `count` events, batches taken apart."""
        got: list[dict[str, Any]] = []
        async with asyncio.timeout(within_s):
            while len(got) < count:
                frame = await self.frame()
                if frame["type"] == "event":
                    got.append(frame)
                elif frame["type"] == "events":
                    got.extend(frame["items"])
        return got

    async def closed(self, *, within_s: float = 5) -> tuple[int | None, dict[str, Any] | None]:
        """The close code and the `bye` that came before."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(Exception):
                while True:
                    self.frames.append(json.loads(await self.socket.recv()))
            await self.socket.wait_closed()
        byes = [frame for frame in self.frames if frame["type"] == "bye"]
        return self.socket.close_code, byes[-1] if byes else None


@contextlib.asynccontextmanager
async def device(
    hub: Hub, user: int = 7, *, tenant: str = "acme", token: str | None = None, hello: bool = True, **fields: Any
) -> AsyncIterator[Device]:
    """A connected device; with `hello`, the welcome is in `frames[0]`."""
    async with connect(hub.url, max_size=None, max_queue=None, compression=None) as socket:
        client = Device(socket)
        if hello:
            await client.send(type="hello", token=token or f"{tenant}:{user}", **fields)
            await client.frame("welcome")
        yield client
