"""What a person does to a notification of their own: read, archive, snooze, delete, and back.

Owns each step from one row to the next, and whether it is told. Every step is
idempotent: done twice, the second makes no event. Coming live again is not
here but in `hub.core.release`, since it asks for a verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

from msgspec.structs import replace

from hub.core.changes import DELETED, EXPIRED, UPDATED, Changes
from hub.core.notification import Row, is_known

Action = Literal["read", "unread", "archive", "unarchive", "delete"]


def _ended_hold(row: Row) -> Row:
    """Out of a hold by its person's own hand: in the inbox, never to be released."""
    return replace(row, state="live", held_until=None, hold_reason=None, due_at=None, snoozed_until=None)


def _put(changes: Changes, before: Row, after: Row) -> None:
    # What is muted or expired is outside the stream: it changes for the record only.
    changes.put(before, after, UPDATED if after.state == "live" or is_known(after) else None)


def read(changes: Changes, row: Row) -> None:
    """Reading implies seen, ends a hold or a snooze, and makes the pending e-mail and SMS needless."""
    if row.is_read and row.state != "held":
        return
    if row.state == "held":
        after = _ended_hold(row)
        _cancel_held(changes, row, "read")
    else:
        after = replace(row)
    if not after.is_read:
        after.is_read, after.read_at = True, changes.now
    after.is_seen = True
    if row.priority != "critical":
        changes.read_elsewhere.append(row.id)
    _put(changes, row, after)


def unread(changes: Changes, row: Row) -> None:
    """Not read any more; seen it stays. What is held is unread already."""
    if row.is_read:
        _put(changes, row, replace(row, is_read=False, read_at=None))


def archive(changes: Changes, row: Row) -> None:
    """Out of the badge, read or not. What is held comes live archived, and is not released."""
    if row.is_archived and row.state != "held":
        return
    if row.state == "held":
        after = _ended_hold(row)
        _cancel_held(changes, row, "archived")
    else:
        after = replace(row)
    after.is_archived, after.archived_at = True, changes.now
    _put(changes, row, after)


def unarchive(changes: Changes, row: Row) -> None:
    """Back into the inbox, as read or unread as it was."""
    if row.is_archived:
        _put(changes, row, replace(row, is_archived=False, archived_at=None))


def delete(changes: Changes, row: Row, *, replaced_by: int | None = None) -> None:
    """Gone, its deliveries with it. Told only to those who may hold it."""
    data: dict[str, int] = {"id": row.id}
    if replaced_by is not None:
        data["replaced_by"] = replaced_by
    changes.put(row, None, DELETED if is_known(row) else None, data=data)


def snooze(changes: Changes, row: Row, until: datetime) -> None:
    """Out of the inbox until then, unread and unseen, since it will come as if new; what was archived comes back.

    `until` is in the future. One that is held for another reason keeps waiting for the later of the two,
    which the verdict at `until` decides.
    """
    if row.state not in ("live", "held"):
        return
    if row.snoozed_until == until:
        return
    after = replace(
        row,
        state="held",
        hold_reason="snooze",
        snoozed_until=until,
        held_until=until,
        due_at=until,
        is_seen=False,
        is_read=False,
        read_at=None,
        is_archived=False,
        archived_at=None,
    )
    if row.state == "held" and row.deliver_at is not None and row.deliver_at > until:
        after.held_until = after.due_at = row.deliver_at
        after.hold_reason = "schedule"
    changes.put(row, after, UPDATED if is_known(after) else None, reason="snooze")


def expire(changes: Changes, row: Row) -> None:
    """Its time has passed: out of the inbox, kept for the record. One that never was live goes silently."""
    after = replace(row, state="expired", held_until=None, hold_reason=None, due_at=None, snoozed_until=None)
    changes.put(row, after, EXPIRED if is_known(row) else None, data={"id": row.id}, reason="expired")
    changes.cancelled[row.id] = "expired"


def _cancel_held(changes: Changes, row: Row, reason: str) -> None:
    # What its person has dealt with while it waited is not sent elsewhere at the end of the wait.
    if row.priority != "critical":
        changes.cancelled[row.id] = reason


ACTIONS: Final[dict[Action, Callable[[Changes, Row], None]]] = {
    "read": read,
    "unread": unread,
    "archive": archive,
    "unarchive": unarchive,
    "delete": delete,
}
