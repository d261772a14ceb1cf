"""What is planned and has become of each notification on each channel."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

import msgspec

from hub.core.delivery import Pending, Status
from hub.core.notification import Channel, Row
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("deliveries")


class Delivered(msgspec.Struct, kw_only=True):
    """One channel of one notification, as its person and its creator may see it. Addresses are not in it."""

    channel: Channel
    status: Status
    reason: str | None
    not_before: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    sent_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime
    updated_at: datetime


_row: Final = msgspec.json.Decoder(Row).decode
_pending: Final = msgspec.json.Decoder(list[Pending]).decode
_delivered: Final = msgspec.json.Decoder(Delivered).decode


async def read_pending(tx: Tx, tenant_id: str, notification_ids: Collection[int]) -> list[Pending]:
    """What of these has not been handed over to the outside."""
    rows = await tx.fetch(_SQL["read_pending"], tenant_id, list(notification_ids))
    return [Pending(**dict(row)) for row in rows]


async def read_pending_of_user(
    tx: Tx, tenant_id: str, user_id: int, count_max: int
) -> tuple[dict[int, Row], list[Pending]]:
    """The same of all of one user's, of at most `count_max` notifications, the oldest; with these."""
    rows: dict[int, Row] = {}
    pending: list[Pending] = []
    for record in await tx.fetch(_SQL["read_pending_of_user"], tenant_id, user_id, count_max):
        row = _row(record["notification"])
        rows[row.id] = row
        pending.extend(_pending(record["pending"]))
    return rows, pending


async def read_delivery(tx: Tx, tenant_id: str, notification_id: int) -> list[Delivered]:
    """Every channel of one notification, in the order in which they were planned."""
    return [_delivered(row[0]) for row in await tx.fetch(_SQL["read_delivery"], tenant_id, notification_id)]
