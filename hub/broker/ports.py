"""What the rest of the hub may ask of a broker, and what it may rely on.

A broker carries hints (law 3): a message may be lost, doubled or late, and
nobody is told. What is promised is order within a topic from one publisher, and
that what is published after `subscribe` has returned is heard while the broker
is there. Topics and payloads are opaque here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

OnMessage = Callable[[str, bytes], None]
OnConnection = Callable[[bool], None]


class BrokerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one broker client. Times in seconds."""

    subscribe_within_s: float = 1.0
    """How long `subscribe` waits for the server's word; a hello waits for it, and the sweep covers what it misses."""
    publish_within_s: float = 0.5
    """How long a publish may take: a request that has committed waits for it."""
    connect_within_s: float = 2.0
    """To connect, with TLS and password. More than a publish may take, or a far server could never be reached."""
    canary_interval_s: float = 1.0
    canary_within_s: float = 2.0
    """A canary unheard for so long proves the subscriber dead; with the interval, 3 s until that is seen."""
    retry_min_s: float = 0.05
    retry_max_s: float = 1.0
    """Upper bounds of the first and of every later wait before a new connection; low, since live delivery waits."""
    topics_per_command: int = 500
    """20,000 topics are subscribed again in 40 commands, each below a millisecond, other work between them."""
    waiting_count_max: int = 20_000
    waiting_bytes_max: int = 32 * 1024 * 1024
    """What may wait to be published; beyond it a publish fails at once, rather than later and in a crowd."""
    batch_count_max: int = 1000
    batch_bytes_max: int = 1024 * 1024
    """What goes out at once, small enough that a healthy server answers it in far less than `publish_within_s`."""
    partial_bytes_max: int = 64 * 1024 * 1024
    """A single message larger than this is none of ours: the connection is given up."""


class BrokerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures since the start, and how things stand."""

    is_connected: bool
    is_publishing: bool
    """False while publishes fail at once, until a canary has been taken again."""
    topics: int
    """Wanted by this node, the canary's not counted."""
    published: int
    publish_failures: int
    received: int
    """Messages handed to the listener."""
    listener_failures: int
    """Messages on which the listener raised."""
    reconnects: int
    """How often the subscriber was there again, after the first time."""
    canaries_missed: int
    subscribe_timeouts: int
    canary_rtt_s: float | None
    """Of the last canary heard: published here, heard here. None before the first."""
    last_error: str | None
    """Why the broker was last away, or refused. Carries no password."""


class Clock(Protocol):
    """The part of `hub.clock` that a broker needs."""

    def monotonic(self) -> float: ...
    def unit(self) -> float: ...
    def token(self, bytes_of_entropy: int = 16) -> str: ...


class Broker(Protocol):
    """One node's way to all the others. Everything belongs to one event loop."""

    @property
    def is_connected(self) -> bool:
        """Messages of every subscribed topic reach this node, as far as is known: each was acknowledged since the
        last connect, and canaries are heard."""
        ...

    @property
    def is_behind(self) -> bool:
        """More messages have come than were read at once: the next ones are heard in the next turn of the loop."""
        ...

    async def start(self) -> None:
        """Begin to connect, and return at once, whether the server is there or not."""
        ...

    async def close(self) -> None:
        """Let go of the server; what is already waiting to be published is given a moment. The listener is not called
        any more. Idempotent."""
        ...

    async def subscribe(self, topic: str) -> None:
        """Return once messages of `topic` will reach this node; at once while the broker is away, and after a deadline
        where it does not answer. In both cases the topic is remembered and will be subscribed.

        Idempotent; who calls counts. Of calls for one topic the last wins. Cancelled, the topic stays wanted
        until `unsubscribe`.
        """
        ...

    async def subscribe_many(self, topics: Sequence[str]) -> None:
        """`subscribe` for many together."""
        ...

    async def unsubscribe(self, topic: str) -> None:
        """From now on the listener hears nothing of `topic`. The server is told, not waited for. Idempotent."""
        ...

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Try within a bounded time. False where the broker did not take it, or not in time (it may still be heard).

        Cancelled, it is sent nevertheless. Never raises for a broker that is away.
        """
        ...

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """Publish (topic, payload) in order, together. How many were taken; never raises for a broker that is away."""
        ...

    def listen(self, on_message: OnMessage, on_connection: OnConnection) -> None:
        """From now on call `on_message(topic, payload)` for each message, synchronously on the loop, in order of
        arrival, and `on_connection(up)` at each change of `is_connected`: False at once, True after every topic has
        been acknowledged again. One listener; a later call replaces it. What it raises is logged."""
        ...

    def statistics(self) -> BrokerStatistics: ...
