"""A broker without a server: nodes in one process share a `MemoryBus`.

It keeps every word of `hub.broker.ports`, verified by the suite that the real
one passes, and can be made to fail as a server fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from hub.broker.ports import BrokerStatistics, OnConnection, OnMessage

_log = logging.getLogger("hub.broker")


class MemoryBus:
    """What stands for the server. `is_away` from the start makes it one that has not come up yet."""

    def __init__(self, *, is_away: bool = False) -> None:
        self._is_away = is_away
        self._brokers: dict[MemoryBroker, None] = {}

    @property
    def is_away(self) -> bool:
        return self._is_away

    def go_away(self) -> None:
        """Die: what is on the way is lost, every node hears of it at once, nothing is taken. Idempotent."""
        if not self._is_away:
            self._is_away = True
            for broker in list(self._brokers):
                broker.on_bus(is_there=False)

    def come_back(self) -> None:
        """Be there again, remembering nobody; each node subscribes all its topics again. Idempotent."""
        if self._is_away:
            self._is_away = False
            for broker in list(self._brokers):
                broker.on_bus(is_there=True)

    def add(self, broker: MemoryBroker) -> None:
        """Let a node in. For `MemoryBroker`."""
        self._brokers[broker] = None

    def remove(self, broker: MemoryBroker) -> None:
        """Let a node go. For `MemoryBroker`."""
        self._brokers.pop(broker, None)

    def carry(self, topic: str, payload: bytes) -> bool:
        """Take one message for all that are subscribed now. For `MemoryBroker`."""
        if self._is_away:
            return False
        for broker in self._brokers:
            broker.on_carried(topic, payload)
        return True


class MemoryBroker:
    """`hub.broker.ports.Broker` on a bus in memory."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._on_message: OnMessage | None = None
        self._on_connection: OnConnection | None = None
        self._wanted: set[str] = set()
        self._is_started = False
        self._is_closed = False
        self._is_up = False
        self._life = 0
        """Counts connections: a message belongs to the one on which it was sent."""
        self._published = 0
        self._publish_failures = 0
        self._received = 0
        self._listener_failures = 0
        self._ups = 0

    @property
    def is_connected(self) -> bool:
        return self._is_up

    @property
    def is_behind(self) -> bool:
        return False

    async def start(self) -> None:
        if not self._is_started and not self._is_closed:
            self._is_started = True
            self._bus.add(self)
            if not self._bus.is_away:
                self.on_bus(is_there=True)

    async def close(self) -> None:
        self._is_closed = True
        self._on_message = self._on_connection = None
        self._bus.remove(self)
        self._is_started = self._is_up = False
        self._life += 1

    async def subscribe(self, topic: str) -> None:
        self._wanted.add(topic)
        # As the real one: others run before it returns.
        await asyncio.sleep(0)

    async def subscribe_many(self, topics: Sequence[str]) -> None:
        self._wanted.update(topics)
        await asyncio.sleep(0)

    async def unsubscribe(self, topic: str) -> None:
        self._wanted.discard(topic)

    async def publish(self, topic: str, payload: bytes) -> bool:
        is_taken = self._is_started and self._bus.carry(topic, payload)
        self._published += is_taken
        self._publish_failures += not is_taken
        await asyncio.sleep(0)
        return is_taken

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> int:
        taken = 0
        for topic, payload in messages:
            taken += self._is_started and self._bus.carry(topic, payload)
        self._published += taken
        self._publish_failures += len(messages) - taken
        await asyncio.sleep(0)
        return taken

    def listen(self, on_message: OnMessage, on_connection: OnConnection) -> None:
        self._on_message, self._on_connection = on_message, on_connection

    def statistics(self) -> BrokerStatistics:
        return BrokerStatistics(
            is_connected=self._is_up,
            is_publishing=self._is_started and not self._bus.is_away,
            topics=len(self._wanted),
            published=self._published,
            publish_failures=self._publish_failures,
            received=self._received,
            listener_failures=self._listener_failures,
            reconnects=max(0, self._ups - 1),
            canaries_missed=0,
            subscribe_timeouts=0,
            canary_rtt_s=0.0 if self._ups else None,
            last_error=None if self._is_up or not self._is_started else "the bus is away",
        )

    # -- called by the bus -------------------------------------------------------------------------------------------

    def on_bus(self, *, is_there: bool) -> None:
        """The bus has gone at once, or is there and subscribes all that is wanted in the next turn."""
        self._life += 1
        if is_there:
            asyncio.get_running_loop().call_soon(self._come_up, self._life)
        elif self._is_up:
            self._is_up = False
            self._tell()

    def on_carried(self, topic: str, payload: bytes) -> None:
        """A message for whoever is subscribed at this moment, heard in a later turn of the loop."""
        if self._is_up and topic in self._wanted:
            asyncio.get_running_loop().call_soon(self._hear, self._life, topic, payload)

    def _come_up(self, life: int) -> None:
        if life == self._life:
            self._is_up = True
            self._ups += 1
            self._tell()

    def _tell(self) -> None:
        if self._on_connection is not None:
            try:
                self._on_connection(self._is_up)
            except Exception:
                _log.exception("the listener failed on the connection's change")

    def _hear(self, life: int, topic: str, payload: bytes) -> None:
        if life != self._life or topic not in self._wanted or self._on_message is None:
            return
        self._received += 1
        try:
            self._on_message(topic, payload)
        except Exception:
            self._listener_failures += 1
            _log.exception("the listener failed on %s", topic)
