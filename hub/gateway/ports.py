"""What the gateway needs from the rest of the hub, as small Protocols.

The gateway never sees SQL, Redis or HTTP: `api` wires these to the store, the
broker, the token verifier and the use cases, and the tests wire them to twins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from hub.core.event import Event
from hub.core.log import LogUnavailable, Moved, Page, StreamState, Sweep
from hub.core.principal import Principal

__all__ = [
    "CallFailed",
    "Calls",
    "Clock",
    "Log",
    "LogUnavailable",
    "Moved",
    "Page",
    "StreamState",
    "Subscriptions",
    "Sweep",
    "TokenRefused",
    "Verifier",
]


class Log(Protocol):
    """The users' streams in PostgreSQL. Every method raises `LogUnavailable` where that cannot be reached."""

    async def read_state(self, tenant_id: str, user_id: int, cursor: int | None) -> StreamState:
        """The stream's state, and whether `cursor` can be resumed from. Creates the stream where there is none."""
        ...

    async def read_states(self, asked: Sequence[tuple[str, int, int | None]]) -> list[StreamState]:
        """`read_state` for many (tenant, user, cursor), in their order: one query a tenant."""
        ...

    async def read_after(self, tenant_id: str, user_id: int, seq: int, *, count_max: int, bytes_max: int) -> Page:
        """The events with a number above `seq`; at least one where there is one, however large."""
        ...

    async def read_critical_after(self, tenant_id: str, user_id: int, seq: int, *, count_max: int) -> list[Event]:
        """The first critical `notification.created` events above `seq`, ascending."""
        ...

    async def sweep(self, users: Sequence[tuple[str, int, int]]) -> Sweep:
        """For (tenant, user, admitted_seq): which heads differ. One query, whatever the number of users."""
        ...

    async def acknowledge(self, cursors: Sequence[tuple[str, int, int]]) -> None:
        """Record (tenant, user, cursor) as delivered in the app. Idempotent; a lower cursor changes nothing."""
        ...


class Subscriptions(Protocol):
    """This node's ear on the broker. Topics are opaque; messages are hints, not promises."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def is_behind(self) -> bool:
        """More messages have come than were read at once: the next ones are heard in the next turn of the loop."""
        ...

    async def subscribe(self, topic: str) -> None:
        """Return once messages of `topic` will reach this node, or at once where the broker is away.

        While away the topic is remembered and subscribed on reconnect. Idempotent.
        """
        ...

    async def subscribe_many(self, topics: Sequence[str]) -> None:
        """`subscribe` for many together."""
        ...

    async def unsubscribe(self, topic: str) -> None: ...

    async def publish(self, topic: str, payload: bytes) -> bool:
        """Try once. False where the broker did not take it; never raises for that."""
        ...

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """Publish (topic, payload) in order, together. How many were taken; never raises for the rest."""
        ...

    def listen(
        self,
        on_message: Callable[[str, bytes], None],
        on_connection: Callable[[bool], None],
    ) -> None:
        """Call `on_message(topic, payload)` for each message, synchronously on the loop, in order of arrival;
        and `on_connection(up)` whenever the broker goes away or has come back with every topic subscribed again."""
        ...


class TokenRefused(Exception):
    """The token proves nothing now; the message says why, never the token."""


class Verifier(Protocol):
    """Proves who is calling from a token."""

    async def verify(self, token: str) -> Principal:
        """Raises `TokenRefused`, or `LogUnavailable` where that cannot be told now."""
        ...


class CallFailed(Exception):
    """A call was refused; `problem` is the RFC 9457 object that REST would have answered."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("title"))
        self.problem = problem


class Calls(Protocol):
    """The use cases that a socket may call, by the names of `docs/protocol`."""

    async def call(self, principal: Principal, method: str, params: dict[str, Any]) -> Any:
        """Perform one. The answer is msgspec-encodable. Raises `CallFailed`."""
        ...


class Clock(Protocol):
    def monotonic(self) -> float: ...
    def now(self) -> datetime: ...
    def unit(self) -> float: ...
    def token(self, bytes_of_entropy: int = 16) -> str: ...
