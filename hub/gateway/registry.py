"""Who is connected to this node: one `Audience` a user, with that user's connections.

Owns who hears a topic. Does not own what they hear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from hub.core.ring import Candidate, RungSeqs
from hub.core.topics import user_topic

if TYPE_CHECKING:
    from hub.gateway.connection import Connection


_NOBODY: Final[Mapping[int, Audience]] = {}


class Audience:
    """The connections of one user on this node, oldest first.

    `is_heard` once the user's topic reaches this node (law 4); `subscribed` is done when what is being done about
    that has ended. `remote` is what other nodes said of who would ring there.
    """

    __slots__ = (
        "announced",
        "connections",
        "is_heard",
        "remote",
        "rung",
        "subscribed",
        "tenant_id",
        "topic",
        "user_id",
    )

    def __init__(self, tenant_id: str, user_id: int) -> None:
        self.tenant_id = tenant_id
        self.user_id = user_id
        self.topic = user_topic(tenant_id, user_id)
        self.connections: list[Connection] = []
        self.is_heard = False
        self.subscribed: asyncio.Future[None] | None = None
        self.remote: dict[str, Candidate] | None = None
        self.announced: Candidate | None = None
        self.rung: RungSeqs | None = None


class Registry:
    """All audiences of this node, by topic, and by tenant and user."""

    def __init__(self) -> None:
        self._by_topic: dict[str, Audience] = {}
        self._by_tenant: dict[str, dict[int, Audience]] = {}
        self.connection_count = 0

    def __len__(self) -> int:
        return len(self._by_topic)

    def __iter__(self) -> Iterator[Audience]:
        return iter(list(self._by_topic.values()))

    def by_topic(self, topic: str) -> Audience | None:
        return self._by_topic.get(topic)

    def of(self, tenant_id: str, user_id: int) -> Audience | None:
        return self._by_tenant.get(tenant_id, _NOBODY).get(user_id)

    def of_tenant(self, tenant_id: str) -> Mapping[int, Audience]:
        """A tenant's audiences, by user; it changes as they come and go."""
        return self._by_tenant.get(tenant_id, _NOBODY)

    @property
    def tenants(self) -> Iterable[str]:
        """Those who have anybody here."""
        return self._by_tenant.keys()

    def add(self, connection: Connection, tenant_id: str, user_id: int) -> Audience:
        """The user's audience, with this connection as its newest."""
        audience = self.of(tenant_id, user_id)
        if audience is None:
            audience = Audience(tenant_id, user_id)
            self._by_topic[audience.topic] = audience
            self._by_tenant.setdefault(tenant_id, {})[user_id] = audience
        audience.connections.append(connection)
        self.connection_count += 1
        return audience

    def remove(self, connection: Connection, audience: Audience) -> bool:
        """True where it was the last of its user: the topic is no longer needed. Idempotent."""
        if connection not in audience.connections:
            return False
        audience.connections.remove(connection)
        self.connection_count -= 1
        if audience.connections:
            return False
        if self._by_topic.get(audience.topic) is audience:
            del self._by_topic[audience.topic]
            of_tenant = self._by_tenant[audience.tenant_id]
            del of_tenant[audience.user_id]
            if not of_tenant:
                del self._by_tenant[audience.tenant_id]
        return True

    def connections(self) -> list[Connection]:
        """A snapshot of every connection, in order of their users."""
        return [connection for audience in self._by_topic.values() for connection in audience.connections]
