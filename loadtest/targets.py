"""What is measured side by side: the hub, and what people reach for, behind one face.

A target has sockets opened to it by the load client, and is then told to send the
i-th event to all of them, or a run of events to one of them each.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Protocol

from loadtest.hub_server import (
    Hub,
    Prepared,
    Services,
    Template,
    commit,
    prepare,
    publish_bytes,
    shuffled,
    tokens,
)
from loadtest.machine import HERE, CannotMeasure, Process, compiled
from loadtest.publisher import Publisher

ALL = 2**32 - 1
_SEED = 4


class Target(Protocol):
    """One server with its sockets. Use as a context: leaving it stops the server."""

    name: str
    process: Process
    port: int

    def tokens(self, users: int) -> list[str]: ...

    def ready(self, users: int, events: int) -> None:
        """Prepare `events` events for each user; nothing is sent yet, and whatever takes long is done."""
        ...

    def go(self) -> None:
        """The measurement begins now."""
        ...

    def to_all(self, index: int) -> None:
        """Send the i-th event to everyone."""
        ...

    def to_ones(self, start: int, stop: int) -> None:
        """Send the events `start` to `stop` of a shuffled order, each to one."""
        ...

    def settle(self) -> None:
        """The measurement is over.

        Raises:
            CannotMeasure: something came between, so it is void.
        """
        ...

    def __enter__(self) -> Target: ...

    def __exit__(self, *_: object) -> None: ...


class HubTarget:
    """The hub: events committed beforehand, told of by the hints that writers would publish."""

    def __init__(self, services: Services, directory: Path, on: set[int], template: Template) -> None:
        self.name = "hub"
        self.hub = Hub(services, directory, on)
        self.process = self.hub.process
        self.port = self.hub.port
        self._template = template
        self._publisher = Publisher(services.redis_url)
        self._prepared = Prepared(0, 0, [], [])
        self._rounds: list[tuple[bytes, int]] = []
        self._ones: list[bytes] = []
        self._repairs = 0.0

    def tokens(self, users: int) -> list[str]:
        return tokens(users)

    def ready(self, users: int, events: int) -> None:
        self._prepared = prepare(self.hub, self._template, users, events)
        self._rounds = [(b"".join(commands), len(commands)) for commands in self._prepared.crowds]
        self._ones = shuffled(self._prepared.told, _SEED)

    def go(self) -> None:
        self.hub.await_sweep()
        self._repairs = self.hub.metrics()["hub_gateway_sweep_repairs_total"]
        commit(self.hub, self._prepared)

    def to_all(self, index: int) -> None:
        self._publisher.say(*self._rounds[index])

    def to_ones(self, start: int, stop: int) -> None:
        self._publisher.say(b"".join(self._ones[start:stop]), stop - start)

    def settle(self) -> None:
        self._publisher.settle()
        if self.hub.metrics()["hub_gateway_sweep_repairs_total"] != self._repairs:
            raise CannotMeasure("a sweep came between, and read the log")

    def __enter__(self) -> HubTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.__exit__()
        self.hub.stop()


class _PipeTarget:
    """A server that reads on its standard input whom to send to."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.port = _port_of(name, process)
        self._order = array("I")

    def tokens(self, users: int) -> list[str]:
        return [str(user) for user in range(1, users + 1)]

    def ready(self, users: int, events: int) -> None:
        chance = random.Random(_SEED)
        self._order = array("I")
        for _ in range(events):
            one = list(range(users))
            chance.shuffle(one)
            self._order.extend(one)

    def go(self) -> None:
        pass

    def to_all(self, index: int) -> None:
        self._say(array("I", [ALL]))

    def to_ones(self, start: int, stop: int) -> None:
        self._say(self._order[start:stop])

    def _say(self, whom: array[int]) -> None:
        self.process.stdin.write(whom.tobytes())
        self.process.stdin.flush()

    def settle(self) -> None:
        pass

    def __enter__(self) -> _PipeTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def c_sender(frame_bytes: int, on: set[int]) -> Target:
    """The limit of one `send` a frame."""
    return _PipeTarget("C sender", Process([compiled("csend"), str(frame_bytes)], on))


def starlette(frame_bytes: int, on: set[int]) -> Target:
    """`send_text` in a loop."""
    command = [sys.executable, "-m", "loadtest.reference.starlette_server", str(frame_bytes)]
    return _PipeTarget("Starlette", Process(command, on))


class NodeTarget:
    """Node.js `ws` with a Redis subscriber: one message for all, or one for each."""

    def __init__(self, services: Services, frame: bytes, on: set[int]) -> None:
        self.name = "Node ws"
        script = HERE / "reference" / "server.mjs"
        self.process = Process(["node", script, services.redis_url], on, environ={"NODE_ENV": "production"})
        self.port = _port_of(self.name, self.process)
        self._publisher = Publisher(services.redis_url)
        self._to_all = publish_bytes(b"all", frame)
        self._frame = frame
        self._ones: list[bytes] = []

    def tokens(self, users: int) -> list[str]:
        return [str(user) for user in range(1, users + 1)]

    def ready(self, users: int, events: int) -> None:
        one = [publish_bytes(b"user:%d" % user, self._frame) for user in range(1, users + 1)]
        self._ones = shuffled([one] * events, _SEED)

    def go(self) -> None:
        pass

    def to_all(self, index: int) -> None:
        self._publisher.say(self._to_all, 1)

    def to_ones(self, start: int, stop: int) -> None:
        self._publisher.say(b"".join(self._ones[start:stop]), stop - start)

    def settle(self) -> None:
        self._publisher.settle()

    def __enter__(self) -> NodeTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.__exit__()
        self.process.stop()


def install_node_packages() -> str | None:
    """Put what the Node reference needs beside it. A sentence where that cannot be had."""
    directory = HERE / "reference"
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node.js is not installed."
    if (directory / "node_modules" / "ioredis").exists() and (directory / "node_modules" / "ws").exists():
        return None
    made = subprocess.run(["npm", "ci", "--ignore-scripts"], check=False, cwd=directory, capture_output=True, text=True)
    if made.returncode:
        return f"npm could not install the reference's packages: {made.stderr.strip()[-300:]}"
    return None


def _port_of(name: str, process: Process) -> int:
    line = process.stdout.readline()
    if not line.strip().isdigit():
        process.stop()
        raise CannotMeasure(f"{name} did not start")
    return int(line)
