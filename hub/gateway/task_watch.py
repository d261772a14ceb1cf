"""Changes of tasks that are not one's own, for those who ask to watch: the free ones, a group's, a tenant's.

Writers say on the tenant's tasks topic what changed, after their commit; this node passes it on to those of its
connections that watch it, as `tasks.changed`. It carries no number: what is lost is seen by loading the list again.

Owns who watches what. Does not own who may: that is `hub.app.task_scopes`, asked through `Calls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from hub.core.task_news import BoardChange
from hub.core.topics import tasks_topic

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node

Scope = Literal["unassigned", "group", "tenant"]

MISSED_MAX: Final = 5000
"""Tasks of which a slow watcher is told late; of more than these, the oldest news is left out."""


class Scoped(msgspec.Struct, frozen=True):
    """What a caller may watch. `groups` None = of all groups."""

    scope: Scope
    groups: frozenset[str] | None


class TaskNews(msgspec.Struct, frozen=True):
    """The data of `tasks.changed`."""

    id: int
    version: int
    status: str
    assigned_to: int | None


class TasksChanged(msgspec.Struct, tag_field="type", tag="event"):
    """An event without a number: after a reconnect the watcher subscribes again, and loads the list."""

    data: TaskNews
    kind: str = "tasks.changed"
    priority: str = "low"


class _Watch:
    """What one connection watches, by scope, and what it could not be told yet, by task."""

    def __init__(self) -> None:
        self.scopes: dict[Scope, Scoped] = {}
        self.missed: dict[int, TaskNews] = {}


_decoder = msgspec.msgpack.Decoder(list[BoardChange])


class TaskWatch:
    """The watches of this node's connections, by tenant."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tenants: dict[str, dict[Connection, _Watch]] = {}

    async def subscribe(self, connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
        """Begin to watch a scope; `tasks.changed` follows. Idempotent.

        Raises:
            CallFailed: 403, the role may not; 422, there is no such scope.
        """
        scoped = await self._node.ask(connection, "tasks.subscribe", params, Scoped)
        audience = connection.audience
        if audience is None:
            return {}
        tenant_id = audience.tenant_id
        is_first = tenant_id not in self._tenants
        watch = self._tenants.setdefault(tenant_id, {}).setdefault(connection, _Watch())
        watch.scopes[scoped.scope] = scoped
        if is_first:
            await self._node.subscriptions.subscribe(tasks_topic(tenant_id))
        return {"scope": scoped.scope}

    async def unsubscribe(self, connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
        """Watch a scope no more; without one, nothing at all. Idempotent."""
        audience = connection.audience
        watch = None if audience is None else self._tenants.get(audience.tenant_id, {}).get(connection)
        if watch is not None:
            scope = params.get("scope")
            for one in list(watch.scopes):
                if scope in (None, one):
                    del watch.scopes[one]
            if not watch.scopes:
                self.forget(connection)
        return {}

    def forget(self, connection: Connection) -> None:
        """The connection is over, or has had enough."""
        audience = connection.audience
        watches = None if audience is None else self._tenants.get(audience.tenant_id)
        if audience is None or watches is None or watches.pop(connection, None) is None or watches:
            return
        del self._tenants[audience.tenant_id]
        self._node.spawn(self._leave(audience.tenant_id))

    async def _leave(self, tenant_id: str) -> None:
        if tenant_id not in self._tenants:
            await self._node.subscriptions.unsubscribe(tasks_topic(tenant_id))

    def heard(self, tenant_id: str, payload: bytes) -> None:
        """A writer has committed changes of this tenant's tasks."""
        try:
            changes = _decoder.decode(payload)
        except msgspec.DecodeError:
            self._node.statistics.hints_bad += 1
            return
        for connection, watch in self._tenants.get(tenant_id, {}).items():
            for change in changes:
                if _is_watched(connection, watch, change):
                    news = TaskNews(change.id, change.version, change.status, change.assigned_to)
                    self._pass_on(connection, watch, news)

    def _pass_on(self, connection: Connection, watch: _Watch, news: TaskNews) -> None:
        if connection.is_writable and not watch.missed:
            connection.say(TasksChanged(news))
            return
        # The newest of a task stands for what was before it.
        watch.missed.pop(news.id, None)
        watch.missed[news.id] = news
        if len(watch.missed) > MISSED_MAX:
            del watch.missed[next(iter(watch.missed))]

    def catch_up(self) -> None:
        """Tell slow watchers that read again what they missed."""
        for watches in self._tenants.values():
            for connection, watch in watches.items():
                while watch.missed and connection.is_writable:
                    connection.say(TasksChanged(watch.missed.pop(next(iter(watch.missed)))))


def _is_watched(connection: Connection, watch: _Watch, change: BoardChange) -> bool:
    principal = connection.principal
    is_overseer = principal is not None and principal.role in ("supervisor", "admin")
    for scope, scoped in watch.scopes.items():
        # A token of another role may have come since.
        if scope != "unassigned" and not is_overseer:
            continue
        if scope == "unassigned" and not change.was_free:
            continue
        if scoped.groups is None:
            return True
        # A task without a group is everyone's to claim, and no group's.
        if any(group in scoped.groups or (group is None and scope == "unassigned") for group in change.groups):
            return True
    return False
