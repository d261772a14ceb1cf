"""A notification: what its person sees, what the hub knows beside it, and what it counts for.

Owns the shapes and `contribution`, the one sentence that says which
notifications a badge counts. Does not own how one changes: that is
`hub.core.transitions`, and what a change means for the log is `hub.core.changes`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import msgspec

from hub.core.priority import Priority

Kind = Literal[
    "lead_assigned",
    "task_assigned",
    "task_completed",
    "deadline_reminder",
    "call_missed",
    "message_received",
    "system",
]
"""The field `type` of a notification."""

Channel = Literal["in_app", "email", "sms", "push", "whatsapp", "slack"]
"""A delivery medium."""

TITLE_CHARACTERS_MAX: Final = 200
MESSAGE_CHARACTERS_MAX: Final = 4000

CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
OUTSIDE: Final[tuple[Channel, ...]] = CHANNELS[1:]

State = Literal["live", "held", "muted", "expired"]
"""`live`: in the inbox. `held`: waits to go live. `muted`: kept for the record only. `expired`: its time has passed."""

Hold = Literal["schedule", "snooze", "quiet"]
"""Why a held one waits."""


class Notification(msgspec.Struct, kw_only=True):
    """What REST answers and what events carry, in the order of the contract."""

    id: int
    tenant_id: str
    user_id: int
    type: Kind
    title: str
    message: str
    priority: Priority
    category: str
    is_seen: bool = False
    is_read: bool = False
    read_at: datetime | None = None
    action_url: str | None = None
    is_archived: bool = False
    archived_at: datetime | None = None
    expires_at: datetime | None = None
    deliver_at: datetime | None = None
    held_until: datetime | None = None
    related_entity_type: str | None = None
    related_entity_id: str | None = None
    data: dict[str, Any] | None = None
    collapse_key: str | None = None
    created_by: int | None = None
    created_at: datetime
    updated_at: datetime


class Row(Notification, kw_only=True):
    """A notification as it is kept.

    `live_seq` is the number of its latest `notification.created` (or of the event that first showed it),
    null until it has been live. `due_at` is when a held one is judged again: null = only when preferences
    change or it expires. `created_by_key` is the API key that created it.
    """

    state: State
    live_seq: int | None = None
    hold_reason: Hold | None = None
    snoozed_until: datetime | None = None
    due_at: datetime | None = None
    broadcast_id: int | None = None
    created_by_key: int | None = None


class Released(Notification, kw_only=True):
    """The data of a `notification.created` for what had been held."""

    released: bool = True


class Draft(msgspec.Struct, kw_only=True, frozen=True):
    """One notification to create, for one person. `channels` given = these only. Instants become UTC's."""

    user_id: int
    type: Kind
    title: str
    message: str
    priority: Priority = "normal"
    category: str = "general"
    action_url: str | None = None
    expires_at: datetime | None = None
    deliver_at: datetime | None = None
    related_entity_type: str | None = None
    related_entity_id: str | None = None
    data: dict[str, Any] | None = None
    collapse_key: str | None = None
    channels: frozenset[Channel] | None = None
    created_by: int | None = None
    created_by_key: int | None = None
    broadcast_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("expires_at", "deliver_at"):
            at: datetime | None = getattr(self, name)
            if at is not None and at.tzinfo is not UTC:
                msgspec.structs.force_setattr(self, name, at.astimezone(UTC))


def shown(row: Row) -> Notification:
    """The part of a row that its person sees."""
    # Half as dear as its constructor, on the way of every event.
    return msgspec.convert(row, Notification, from_attributes=True)


def as_released(row: Row) -> Released:
    """The same, marked as one that had been held."""
    return msgspec.convert(row, Released, from_attributes=True)


def contribution(row: Row | None) -> tuple[int, int]:
    """What a row adds to the badge: (unread, unseen). None is a row that is not there.

    Everything that counts follows from this: a change of the counts is the difference
    of two contributions, and SQL's own count uses the same three conditions.
    """
    if row is None or row.state != "live" or row.is_archived:
        return 0, 0
    return int(not row.is_read), int(not row.is_seen)


def is_known(row: Row | None) -> bool:
    """True where clients may hold this row: it has been live, and is live or held (snoozed) now."""
    return row is not None and row.live_seq is not None and row.state in ("live", "held")
