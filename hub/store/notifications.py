"""Notifications in PostgreSQL: written in sets, under the locks of their users' streams."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from hub.core.changes import Changes
from hub.core.notification import Row
from hub.core.priority import Priority
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("notifications")
_row: Final = msgspec.json.Decoder(Row).decode


class Taken(msgspec.Struct, frozen=True):
    """What a sweep over many rows took from one priority: `rows` changed, of which so many had counted."""

    priority: Priority
    rows: int
    unread: int
    unseen: int


class Cleaned(Taken, frozen=True):
    """The same of one user; `live` of the rows were in the inbox."""

    user_id: int
    live: int


class Withdrawn(msgspec.Struct, kw_only=True, frozen=True):
    """Which ones to take back, by exactly one of the three; of those that this creator made."""

    created_by: int | None
    created_by_key: int | None
    broadcast_id: int | None = None
    collapse_key: str | None = None
    related: tuple[str, str] | None = None


class Stats(msgspec.Struct, frozen=True):
    """One user's inbox in figures. `median_read_s` are seconds from creation to reading, None where none is read."""

    total: int
    read: int
    unread_by_type: dict[str, int]
    median_read_s: float | None


async def delete_rows(tx: Tx, tenant_id: str, changes: Changes) -> None:
    """Delete what was planned to go, the deliveries with it."""
    if changes.deleted:
        await tx.execute(_SQL["delete_notifications"], tenant_id, list(changes.deleted))


async def change_rows(tx: Tx, tenant_id: str, changes: Changes) -> None:
    """Write the rows and deliveries that were planned to change."""
    if changes.updated or changes.delivery_changes or changes.read_elsewhere or changes.cancelled:
        await tx.execute(
            _SQL["change_notifications"],
            tenant_id,
            _encode(list(changes.updated.values())),
            _encode(changes.delivery_changes),
            changes.read_elsewhere,
            list(changes.cancelled),
            list(changes.cancelled.values()),
            changes.now,
            list(
                {
                    *changes.updated,
                    *(delivery.notification_id for delivery in changes.delivery_changes),
                    *changes.read_elsewhere,
                    *changes.cancelled,
                }
            ),
        )


async def read_row(tx: Tx, tenant_id: str, notification_id: int) -> Row | None:
    """Anyone's of the tenant; no lock, so only for what does not decide."""
    text = await tx.fetchval(_SQL["read_row"], tenant_id, notification_id)
    return None if text is None else _row(text)


async def read_rows(tx: Tx, tenant_id: str, user_ids: Collection[int], ids: Collection[int]) -> list[Row]:
    """Those of `ids` that are one of these users', whatever their state, in no order."""
    if not ids:
        return []
    return _rows(await tx.fetch(_SQL["read_rows"], tenant_id, list(user_ids), list(ids)))


async def read_due(tx: Tx, tenant_id: str, user_ids: Sequence[int], count_max: int) -> list[Row]:
    """Held ones of these users whose hold may be over: the most urgent first, the oldest first within a priority."""
    return _rows(await tx.fetch(_SQL["read_due"], tenant_id, list(user_ids), count_max))


async def read_held(tx: Tx, tenant_id: str, user_id: int, count_max: int) -> list[Row]:
    """All that is held of one user, due or not, in the order of a release."""
    return _rows(await tx.fetch(_SQL["read_held"], tenant_id, user_id, count_max))


async def mark_held_due(tx: Tx, tenant_id: str, user_id: int, but: Collection[int]) -> None:
    """Make all that is held of one user due now, `but` these."""
    await tx.execute(_SQL["mark_held_due"], tenant_id, user_id, list(but))


async def read_expiring(tx: Tx, tenant_id: str, user_ids: Sequence[int], count_max: int) -> list[Row]:
    """Those of these users whose time has passed, whatever their state but expired."""
    return _rows(await tx.fetch(_SQL["read_expiring"], tenant_id, list(user_ids), count_max))


async def mark_all_read(tx: Tx, tenant_id: str, user_id: int, before_seq: int, now: datetime) -> list[Taken]:
    """Read all that is live and went live no later than `before_seq`; cancels e-mail and SMS that are needless now."""
    rows = await tx.fetch(_SQL["mark_all_read"], tenant_id, user_id, before_seq, now)
    return [Taken(**dict(row)) for row in rows]


async def mark_all_seen(tx: Tx, tenant_id: str, user_id: int, before_seq: int, now: datetime) -> list[Taken]:
    """The same for seen."""
    rows = await tx.fetch(_SQL["mark_all_seen"], tenant_id, user_id, before_seq, now)
    return [Taken(**dict(row)) for row in rows]


async def find_withdrawn_users(tx: Tx, tenant_id: str, asked: Withdrawn, after: int, count_max: int) -> list[int]:
    """Users above `after`, ascending, who have one of those; no lock."""
    if asked.broadcast_id is not None:
        name, values = "find_broadcast_users", (asked.broadcast_id,)
    elif asked.collapse_key is not None:
        name, values = "find_collapsing_users", (asked.collapse_key,)
    else:
        name, values = "find_related_users", asked.related or ("", "")
    rows = await tx.fetch(_SQL[name], tenant_id, after, asked.created_by, asked.created_by_key, count_max, *values)
    return [row["user_id"] for row in rows]


async def read_withdrawn(tx: Tx, tenant_id: str, asked: Withdrawn, user_ids: Sequence[int]) -> list[Row]:
    """Those rows of locked users."""
    kind, entity = asked.related or (None, None)
    rows = await tx.fetch(
        _SQL["read_withdrawn"],
        tenant_id,
        list(user_ids),
        asked.created_by,
        asked.created_by_key,
        asked.broadcast_id,
        asked.collapse_key,
        kind,
        entity,
    )
    return _rows(rows)


async def read_days_ago(tx: Tx, days: int) -> datetime:
    """The instant so many days before now, by the database's clock."""
    return await tx.fetchval(_SQL["read_days_ago"], days)


async def find_cleaned_users(
    tx: Tx, tenant_id: str, created_before: datetime, include_unread: bool, after: int, count_max: int
) -> list[int]:
    """Users above `after`, ascending, who have something to clean up; no lock."""
    rows = await tx.fetch(_SQL["find_cleaned_users"], tenant_id, after, created_before, include_unread, count_max)
    return [row["user_id"] for row in rows]


async def clean_up(
    tx: Tx, tenant_id: str, user_ids: Sequence[int], created_before: datetime, include_unread: bool
) -> list[Cleaned]:
    """Delete what is old and done with, of locked users; what that takes from whose counts, by user."""
    rows = await tx.fetch(_SQL["clean_up"], tenant_id, list(user_ids), created_before, include_unread)
    return [Cleaned(**dict(row)) for row in rows]


async def read_stats(tx: Tx, tenant_id: str, user_id: int) -> Stats:
    """One user's inbox in figures."""
    return msgspec.json.decode(await tx.fetchval(_SQL["read_stats"], tenant_id, user_id), type=Stats)


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _rows(records: Iterable[Any]) -> list[Row]:
    return [_row(record[0]) for record in records]
