"""A hub without HTTP and sockets: real PostgreSQL, the use cases, and a broker that remembers what it was told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from hub.app import create, due, own, preferences
from hub.app.caller import Answer, Caller, Once
from hub.app.create import Created
from hub.app.deps import Deps
from hub.client import inbox as client_inbox
from hub.client.event import Event as ClientEvent
from hub.client.inbox import InboxState
from hub.core.counts import Counts
from hub.core.event import Hint, decode_hint
from hub.core.notification import Draft, Notification, Row, shown
from hub.core.preferences import Preferences
from hub.core.principal import Principal, Role
from hub.core.shared_hint import decode_shared, told_by
from hub.core.topics import crowd_topic, user_topic
from hub.settings import Settings
from hub.store.pool import Database

TENANT = "acme"
ALL_DAY = {"quiet_hours_enabled": True, "quiet_hours_start": "00:00", "quiet_hours_end": "00:00"}
"""Quiet without end."""


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Recorder:
    """Remembers what was published, and lets a test look at the moment of publishing."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.before: Any = None

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> int:
        if self.before is not None:
            await self.before(messages)
        self.messages.extend(messages)
        return len(messages)

    def hints(self, user_id: int) -> list[Hint]:
        """What this user's sockets were told, of their own or with others."""
        told: list[Hint] = []
        for topic, payload in self.messages:
            if topic == user_topic(TENANT, user_id):
                told.append(decode_hint(payload))
            elif topic == crowd_topic(TENANT):
                hint = decode_shared(payload)
                told += [Hint(hint.epoch, [event]) for user, event in told_by(hint) if user == user_id]
        return told


class World:
    """One tenant's hub as a test sees it."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.broker = Recorder()
        self.deps = Deps(database, self.broker, Settings(**settings))

    def caller(
        self,
        user_id: int | None,
        role: Role = "agent",
        *,
        once: Once | None = None,
        tenant: str = TENANT,
        key: int | None = None,
    ) -> Caller:
        principal = Principal(tenant_id=tenant, user_id=user_id, role=role, api_key_id=key)
        return Caller(principal, request_id="r-1", address="192.0.2.1", once=once)

    @property
    def producer(self) -> Caller:
        return self.caller(None, "service", key=9)

    async def send(self, user_id: int, **fields: Any) -> Created:
        return (await self.send_many([draft(user_id, **fields)]))[0]

    async def send_many(self, drafts: Sequence[Draft]) -> list[Created]:
        outcome = await create.create(self.deps, self.producer, drafts)
        assert outcome.result is not None
        return outcome.result

    async def act(self, user_id: int, action: Any, *ids: int) -> own.Done:
        outcome = await own.act(self.deps, self.caller(user_id), list(ids), action)
        assert outcome.result is not None
        return outcome.result

    async def prefer(self, user_id: int, **fields: Any) -> Preferences:
        outcome = await preferences.change_preferences(
            self.deps, self.caller(user_id), lambda now, _: msgspec.structs.replace(now, **fields)
        )
        assert outcome.result is not None
        return outcome.result

    async def release(self, *user_ids: int) -> int:
        return await due.release_due(self.deps, TENANT, user_ids)

    async def expire(self, *user_ids: int) -> int:
        return await due.expire_due(self.deps, TENANT, user_ids)

    # -- time: what waits is moved, not waited for -----------------------------------------------------------------

    async def make_due(self, *ids: int) -> None:
        """As if the instants at which these are due had come."""
        await self.sql(
            "UPDATE notifications SET due_at = now() - interval '1 s', held_until = now() - interval '1 s',"
            " deliver_at = least(deliver_at, now() - interval '1 s'),"
            " snoozed_until = least(snoozed_until, now() - interval '1 s') WHERE id = ANY($1::bigint[])",
            list(ids),
        )

    async def make_expired(self, *ids: int) -> None:
        await self.sql(
            "UPDATE notifications SET expires_at = now() - interval '1 s' WHERE id = ANY($1::bigint[])", list(ids)
        )

    # -- looking ---------------------------------------------------------------------------------------------------

    async def sql(self, query: str, *values: Any, tenant: str = TENANT) -> list[Any]:
        async with self.database.transaction(tenant) as tx:
            return await tx.fetch(query, *values)

    async def row(self, notification_id: int) -> Row | None:
        found = await self.sql("SELECT to_json(n)::text FROM notifications n WHERE id = $1", notification_id)
        return msgspec.json.decode(found[0][0], type=Row) if found else None

    async def events(self, user_id: int, after: int = 0) -> list[dict[str, Any]]:
        rows = await self.sql(
            "SELECT seq, tail, rings, released FROM events WHERE user_id = $1 AND seq > $2 ORDER BY seq", user_id, after
        )
        return [
            {
                "seq": row["seq"],
                "rings": row["rings"],
                "released": row["released"],
                **msgspec.json.decode(b"{" + row["tail"]),
            }
            for row in rows
        ]

    async def kinds(self, user_id: int, after: int = 0) -> list[str]:
        return [event["kind"] for event in await self.events(user_id, after)]

    async def head(self, user_id: int) -> int:
        rows = await self.sql("SELECT head FROM user_streams WHERE user_id = $1", user_id)
        return rows[0][0] if rows else 0

    async def counts(self, user_id: int) -> Counts:
        rows = await self.sql("SELECT * FROM user_streams WHERE user_id = $1", user_id)
        if not rows:
            return Counts()
        row = rows[0]
        return Counts(
            row["unread"],
            row["unseen"],
            row["unread_critical"],
            row["unread_high"],
            row["unread_normal"],
            row["unread_low"],
        )

    async def channels(self, notification_id: int) -> dict[str, tuple[str, str | None]]:
        rows = await self.sql(
            "SELECT channel, status, reason FROM notification_delivery WHERE notification_id = $1", notification_id
        )
        return {row["channel"]: (row["status"], row["reason"]) for row in rows}

    async def give_address(self, user_id: int, *channels: str) -> None:
        for channel in channels:
            await self.sql(
                "INSERT INTO contacts (tenant_id, user_id, channel, address) VALUES ($1, $2, $3, 'somewhere')",
                TENANT,
                user_id,
                channel,
            )

    # -- Zulip's law -----------------------------------------------------------------------------------------------

    async def check(self, user_id: int) -> None:
        """Numbers without a gap; the log's inbox is the table's; the counts are what SQL counts."""
        events = await self.events(user_id)
        state = InboxState()
        for event in events:
            state = client_inbox.reduce(state, as_client_event(event))
        live = await self.sql(
            "SELECT to_json(n)::text FROM notifications n WHERE user_id = $1 AND state = 'live'", user_id
        )
        rows = {row.id: plain(shown(row)) for row in (msgspec.json.decode(one[0], type=Row) for one in live)}
        assert {row["id"]: timed(row) for row in state.rows} == rows
        # A client that has not seen a row go live asks again where it matters, even one that has seen all there was.
        first: dict[int, str] = {}
        for event in events:
            if "id" in event["data"]:
                first.setdefault(event["data"]["id"], event["kind"])
        assert not state.is_stale or "notification.updated" in first.values()
        assert await self.check_log(user_id) == state.counts

    async def check_log(self, user_id: int) -> Counts:
        """Numbers without a gap, and the counts are what SQL counts."""
        events = await self.events(user_id)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert await self.head(user_id) == len(events)
        counted = await self.sql(
            "SELECT count(*) FILTER (WHERE NOT is_read) AS unread, count(*) FILTER (WHERE NOT is_seen) AS unseen,"
            " count(*) FILTER (WHERE NOT is_read AND priority = 'critical') AS critical,"
            " count(*) FILTER (WHERE NOT is_read AND priority = 'high') AS high,"
            " count(*) FILTER (WHERE NOT is_read AND priority = 'normal') AS normal,"
            " count(*) FILTER (WHERE NOT is_read AND priority = 'low') AS low"
            " FROM notifications WHERE user_id = $1 AND state = 'live' AND NOT is_archived",
            user_id,
        )
        counts = await self.counts(user_id)
        assert counts == Counts(**dict(counted[0]))
        return counts


def draft(user_id: int, **fields: Any) -> Draft:
    return Draft(
        **{
            "user_id": user_id,
            "type": "system",
            "title": "A title",
            "message": "A message",
            "created_by_key": 9,
            **fields,
        }
    )


def once(key: str, fingerprint: bytes = b"same", path: str = "/api/v1/notifications") -> Once:
    return Once("POST", path, key, fingerprint, lambda result: Answer(201, msgspec.json.encode(result)))


def plain(value: Notification) -> dict[str, Any]:
    return timed(msgspec.to_builtins(value))


def timed(row: Any) -> dict[str, Any]:
    """Instants as instants: their text may differ."""
    return {
        name: datetime.fromisoformat(value) if name.endswith(("_at", "_until")) and value is not None else value
        for name, value in row.items()
    }


def as_client_event(event: dict[str, Any]) -> ClientEvent:
    counts = event.get("counts")
    return ClientEvent(
        seq=event["seq"],
        kind=event["kind"],
        priority=event["priority"],
        at=datetime.fromisoformat(event["at"]),
        data=event["data"],
        counts=None if counts is None else Counts(**counts),
    )
