"""The log of what was sent outside, as an admin reads it. Who writes it is a channel's sender."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("communications")
_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)

OutsideChannel = Literal["email", "sms", "whatsapp", "slack", "push"]
LogStatus = Literal["queued", "sent", "delivered", "bounced", "failed", "answered"]


class Message(msgspec.Struct, kw_only=True):
    """One message that was sent outside, or is to be. It outlives its notification and its template."""

    id: int
    tenant_id: str
    user_id: int | None
    notification_id: int | None
    template_id: int | None
    channel: OutsideChannel
    recipient: str | None
    subject: str | None
    body: str | None
    status: LogStatus
    external_message_id: str | None
    sent_at: datetime | None
    delivered_at: datetime | None
    opened_at: datetime | None
    open_count: int
    clicked_at: datetime | None
    click_count: int
    response: str | None
    responded_at: datetime | None
    error: str | None
    created_at: datetime
    updated_at: datetime


class Tally(msgspec.Struct, kw_only=True):
    """What became of the messages of one channel, made of one template (null: of none)."""

    channel: OutsideChannel
    template_id: int | None
    template_name: str | None
    messages: int
    sent: int
    delivered: int
    bounced: int
    failed: int
    opened: int
    clicked: int
    answered: int


class Asked(msgspec.Struct, kw_only=True, frozen=True):
    """What the log is asked for; None asks nothing. `after` is the last row (created_at, id) of the page before."""

    channels: Sequence[OutsideChannel] | None = None
    statuses: Sequence[LogStatus] | None = None
    user_id: int | None = None
    template_id: int | None = None
    notification_id: int | None = None
    recipient: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, int] | None = None
    limit: int = 50
    offset: int = 0


_message: Final = msgspec.json.Decoder(Message).decode


async def read_logs(tx: Tx, tenant_id: str, asked: Asked) -> list[Message]:
    """One page, newest first."""
    at, last_id = asked.after or (_LAST, 0)
    rows = await tx.fetch(
        _SQL[_statement_for(asked)], tenant_id, *_filters(asked), at, last_id, asked.limit, asked.offset
    )
    return [_message(row[0]) for row in rows]


async def count_logs(tx: Tx, tenant_id: str, asked: Asked) -> int:
    """How many there are on all pages."""
    return await tx.fetchval(_SQL["count_logs"], tenant_id, *_filters(asked))


async def read_log(tx: Tx, tenant_id: str, log_id: int) -> Message | None:
    text = await tx.fetchval(_SQL["read_log"], tenant_id, log_id)
    return None if text is None else _message(text)


async def read_stats(
    tx: Tx, tenant_id: str, channels: Sequence[OutsideChannel] | None, since: datetime | None, until: datetime | None
) -> list[Tally]:
    """By channel and template, of what was written in [since, until)."""
    wanted = None if channels is None else list(channels)
    rows = await tx.fetch(_SQL["read_log_stats"], tenant_id, since or _FIRST, until or _LAST, wanted)
    return [Tally(**dict(row)) for row in rows]


def _statement_for(asked: Asked) -> str:
    """The one whose index finds the fewest rows."""
    if asked.notification_id is not None:
        return "read_logs_of_notification"
    return "read_logs" if asked.user_id is None else "read_logs_of_user"


def _filters(asked: Asked) -> tuple[Any, ...]:
    return (
        asked.since or _FIRST,
        asked.until or _LAST,
        None if asked.channels is None else list(asked.channels),
        None if asked.statuses is None else list(asked.statuses),
        asked.user_id,
        asked.template_id,
        asked.notification_id,
        asked.recipient,
    )
