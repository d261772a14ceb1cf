"""The load client `wsload.c`, as an object: opens sockets, counts what comes.

Owns the talk with the program. Does not own what is sent to the sockets.
"""

from __future__ import annotations

import json
import select
from pathlib import Path
from typing import Any, Literal

import msgspec

from loadtest.machine import CannotMeasure, Process, compiled

CONNECTIONS_PER_ADDRESS = 20_000
"""Below the 28,232 ports that Linux gives out to one address by default."""


class Opened(msgspec.Struct, frozen=True):
    """What came of opening: how many were welcomed, in how long."""

    opened: int
    failed: int
    seconds: float
    why: str

    @property
    def per_s(self) -> float:
        return self.opened / self.seconds


class Latency(msgspec.Struct, frozen=True):
    """From an event's own time to its arrival, in microseconds, to 1.6 %."""

    count: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float


class Report(msgspec.Struct, frozen=True):
    """What came since the last reset. `first_ns` and `last_ns` are of `time.monotonic_ns`."""

    connections: int
    events: int
    messages: int
    bytes: int
    others: int
    resets: int
    byes: int
    lost: int
    pings: int
    first_ns: int
    last_ns: int
    cpu_s: float
    seq_min: int
    seq_max: int
    latency: Latency


class LoadClient:
    """Up to as many connections as there are tokens, one of each in the order of the list."""

    def __init__(
        self,
        port: int,
        tokens: list[str],
        on: set[int],
        *,
        scratch: Path,
        path: str = "/api/v1/ws",
        token_in: Literal["header", "hello"] = "header",
    ) -> None:
        file = scratch / "tokens.txt"
        file.write_text("\n".join(tokens) + "\n")
        file.chmod(0o600)
        addresses = len(tokens) // CONNECTIONS_PER_ADDRESS + 1
        self._process = Process([compiled("wsload"), str(port), path, file, str(addresses), token_in], on)
        self._rest = b""
        self._passed = 0

    def open(self, count: int, *, inflight: int = 256, within_s: float = 600.0) -> Opened:
        """Open `count` more and wait until each is welcomed.

        Raises:
            CannotMeasure: one was not.
        """
        self._say(f"open {count} {inflight}")
        opened = msgspec.convert(self._answer("opened", within_s), Opened)
        if opened.failed:
            raise CannotMeasure(f"{opened.failed} of {count} connections failed: {opened.why}")
        return opened

    def reset(self, *, every: int = 0) -> None:
        """Count afresh. `every`: tell each time that so many more events have come; see `wait_for`."""
        self._ask("reset")
        self._ask(f"every {every}")
        self._passed = 0

    def wait_for(self, events: int, within_s: float = 120.0) -> None:
        """Return once so many events have come since the reset: a multiple of its `every`.

        Raises:
            CannotMeasure: they did not come in time.
        """
        while self._passed < events:
            try:
                self._passed = self._answer("passed", within_s)["passed"]
            except CannotMeasure:
                raise CannotMeasure(f"of {events} events {self.report()} came") from None

    def report(self) -> Report:
        self._say("report")
        return msgspec.convert(self._answer("connections", 30.0), Report)

    def close(self, count: int = 0) -> None:
        """Cut the youngest so many, or all."""
        self._ask(f"close {count}")

    def stop(self) -> None:
        self._process.stop()

    def __enter__(self) -> LoadClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, command: str) -> None:
        self._say(command)
        answer = {"reset": "reset", "every": "every", "close": "left"}[command.split()[0]]
        self._answer(answer, 30.0)

    def _say(self, command: str) -> None:
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def _answer(self, key: str, within_s: float) -> dict[str, Any]:
        """The next line with this key; those before it that tell how many have come are overtaken by it."""
        while True:
            answer: dict[str, Any] = json.loads(self._line(within_s))
            if "error" in answer:
                raise CannotMeasure(f"wsload: {answer['error']}")
            if key in answer:
                return answer

    def _line(self, within_s: float) -> bytes:
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], within_s)
            if not ready:
                raise CannotMeasure(f"wsload has not answered for {within_s:g} s")
            more = self._process.stdout.read1(65536)  # pyright: ignore[reportAttributeAccessIssue]
            if not more:
                raise CannotMeasure("wsload has ended")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line
