"""What a transaction writes at its end: new rows, events, heads and the trail at once, then what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from hub.core.changes import Changes
from hub.store import notifications
from hub.store.audit import Entry
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("writing")
_NOTHING: Final = Changes(datetime.fromtimestamp(0, UTC), ())
"""Never changed; its instant is nobody's."""


async def write(tx: Tx, tenant_id: str, changes: Changes | None, entries: Sequence[Entry]) -> None:
    """Write what was planned, and add to the trail. What is deleted goes first, its deliveries with it."""
    if changes is None:
        await write_trail(tx, tenant_id, entries)
        return
    await notifications.delete_rows(tx, tenant_id, changes)
    await _write_new(tx, tenant_id, changes, entries)
    # Last, since a row that is new may have changed since.
    await notifications.change_rows(tx, tenant_id, changes)


async def write_trail(tx: Tx, tenant_id: str, entries: Sequence[Entry]) -> None:
    """Add to the trail alone, in the transaction of what it tells of."""
    await _write_new(tx, tenant_id, _NOTHING, entries)


async def _write_new(tx: Tx, tenant_id: str, changes: Changes, entries: Sequence[Entry]) -> None:
    moved = [inbox for inbox in changes.inboxes.values() if inbox.events]
    if not changes.inserted and not moved and not entries:
        return
    deliveries = [delivery for own in changes.deliveries.values() for delivery in own]
    appended = [(inbox.user_id, kind, event) for inbox in moved for kind, event in inbox.events]
    await tx.execute(
        _SQL["write_new"],
        tenant_id,
        changes.now,
        _encode(list(changes.inserted.values())),
        _encode(deliveries),
        [user_id for user_id, _, _ in appended],
        [event.seq for _, _, event in appended],
        [kind for _, kind, _ in appended],
        [event.lane for _, _, event in appended],
        [event.rings for _, _, event in appended],
        [event.released for _, _, event in appended],
        [event.tail for _, _, event in appended],
        [inbox.user_id for inbox in moved],
        [inbox.head for inbox in moved],
        [inbox.counts.unread for inbox in moved],
        [inbox.counts.unseen for inbox in moved],
        [inbox.counts.critical for inbox in moved],
        [inbox.counts.high for inbox in moved],
        [inbox.counts.normal for inbox in moved],
        [inbox.counts.low for inbox in moved],
        _encode(entries),
    )


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
