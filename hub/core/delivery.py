"""What is planned for one (notification, channel), and what changes in a plan.

Owns the shapes that the write of a notification makes; how a channel's sender
retries is not here. The row of `in_app` follows the notification's own state.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from hub.core.notification import Channel, Row

Status = Literal["planned", "held", "sending", "sent", "delivered", "cancelled", "dropped", "failed", "unknown"]

PENDING: Final[tuple[Status, ...]] = ("planned", "held")
"""Not handed over yet: these may still be cancelled or held back."""

READ_CANCELS: Final[tuple[Channel, ...]] = ("email", "sms")
"""Reading in the app makes these needless; a push or a chat message has told already."""


class Delivery(msgspec.Struct, kw_only=True):
    """A delivery to plan. `reason` is the rule that decided; `not_before` the end of a hold, null = without end.

    `has_waited`: a batch's wait is behind it, whatever holds it since: it waits for no other.
    """

    notification_id: int
    user_id: int
    channel: Channel
    status: Status
    reason: str | None = None
    not_before: datetime | None = None
    sent_at: datetime | None = None
    has_waited: bool = False


class Pending(msgspec.Struct, kw_only=True):
    """A delivery to the outside that has not been handed over; the fields are those of `Delivery`."""

    notification_id: int
    channel: Channel
    status: Status
    reason: str | None = None
    not_before: datetime | None = None
    has_waited: bool = False


def in_app(row: Row, reason: str | None, now: datetime) -> Delivery:
    """The in-app delivery of a row in its state: handed over to the stream, held, or dropped by `reason`."""
    match row.state:
        case "live":
            status, not_before, sent_at = "sent", None, now
        case "held":
            status, not_before, sent_at = "held", row.due_at, None
        case _:
            status, not_before, sent_at = "dropped", None, None
    return Delivery(
        notification_id=row.id,
        user_id=row.user_id,
        channel="in_app",
        status=status,
        reason=reason,
        not_before=not_before,
        sent_at=sent_at,
    )
