"""What every use case is given: the database, the broker, the options, the clock of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hub import clock as machine_clock
from hub.app.lanes import Lanes
from hub.core.presence import Online
from hub.store.pool import Database


class Announcer(Protocol):
    """The broker, as far as a use case needs it."""

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """Publish (topic, payload) in order. How many were taken; never raises for a broker that is away."""
        ...


class Options(Protocol):
    """The settings that use cases and workers obey."""

    @property
    def idempotency_wait_s(self) -> float: ...
    @property
    def idempotency_ttl_h(self) -> int: ...
    @property
    def events_retention_days(self) -> int: ...


class ProcessClock(Protocol):
    """Never decides about a notification: that is the database's clock."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def unit(self) -> float: ...
    def token(self, bytes_of_entropy: int = 16) -> str: ...


class Sealer(Protocol):
    """Encrypts what is kept in the database: `hub.auth.sealing`."""

    def seal(self, plain: bytes) -> bytes: ...
    def open(self, sealed: bytes) -> bytes: ...


class PresenceBoard(Protocol):
    """Who is connected: the gateway's, as far as a use case needs it."""

    async def read(self, tenant_id: str) -> Online: ...


class HintFigures(msgspec.Struct):
    """How many hints the broker took, and did not take, since the start."""

    published: int = 0
    failed: int = 0


class Wakes:
    """Signals that something is due now, so that a worker need not be waited for."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.broadcast = asyncio.Event()


class Deps:
    """One a process."""

    def __init__(
        self,
        database: Database,
        broker: Announcer,
        settings: Options,
        clock: ProcessClock = machine_clock,
        *,
        sealer: Sealer | None = None,
    ) -> None:
        self.database = database
        self.broker = broker
        self.settings = settings
        self.clock = clock
        self.hints = HintFigures()
        self.wakes = Wakes()
        self.lanes = Lanes()
        self._sealer = sealer
        self.presence: PresenceBoard | None = None
        """Set where this process is a node; else nobody is known to be online."""

    @property
    def sealer(self) -> Sealer:
        """What keeps secrets in the database. A process without it cannot serve what has some."""
        if self._sealer is None:
            raise RuntimeError("this process was given no sealer")
        return self._sealer
