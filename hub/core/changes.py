"""What one transaction writes to the inboxes that it has locked.

Owns law 1 in memory: each event takes the next number of its user and carries
the counts after it. Every change of a row passes through `Changes.put`, so rows,
counts and events cannot drift. Does not own which change is right
(`hub.core.creation`, `hub.core.transitions`, `hub.core.release`), nor the writing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from hub.core.counts import Counts
from hub.core.delivery import Delivery, Pending, in_app
from hub.core.event import CREATED, Event, EventKind, encode_tail, lane_of
from hub.core.notification import Row, as_released, contribution, shown
from hub.core.priority import Priority

UPDATED: Final = "notification.updated"
DELETED: Final = "notification.deleted"
EXPIRED: Final = "notification.expired"
READ_ALL: Final = "notifications.read_all"
SEEN: Final = "notifications.seen"
CLEANED: Final = "notifications.cleaned"
QUIET_ENDED: Final = "quiet_hours.ended"
PREFERENCES: Final = "preferences.updated"
ERASED: Final = "inbox.erased"


class Inbox:
    """One user's stream under its lock: where it stands, and what is appended to it.

    `events` are those of this transaction, contiguous from the head that was read, each with its kind.
    """

    __slots__ = ("counts", "events", "head", "user_id")

    def __init__(self, user_id: int, head: int, counts: Counts) -> None:
        self.user_id = user_id
        self.head = head
        self.counts = counts
        self.events: list[tuple[str, Event]] = []

    def append(
        self,
        kind: EventKind,
        priority: Priority,
        at: datetime,
        data: Any,
        *,
        counts: Counts | None = None,
        rings: bool = False,
        released: bool = False,
    ) -> int:
        """Add one event, with the counts after it where it changes them. Returns its number."""
        if counts is not None:
            self.counts = counts
        self.head += 1
        tail = encode_tail(kind, priority, at, data, counts)
        self.events.append((kind, Event(self.head, lane_of(kind, priority), rings, tail, released)))
        return self.head


class Changes:
    """Rows, deliveries and events to write, for any number of locked users.

    `now` is the database's clock, read under the locks. A row that is put in and taken out again
    within the transaction is never written, though its events are.
    """

    __slots__ = (
        "cancelled",
        "deleted",
        "deliveries",
        "delivery_changes",
        "inboxes",
        "inserted",
        "now",
        "read_elsewhere",
        "steps",
        "updated",
    )

    def __init__(self, now: datetime, inboxes: Iterable[Inbox]) -> None:
        self.now = now
        self.inboxes = {inbox.user_id: inbox for inbox in inboxes}
        self.inserted: dict[int, Row] = {}
        self.updated: dict[int, Row] = {}
        self.deleted: dict[int, Row] = {}
        self.deliveries: dict[int, list[Delivery]] = {}
        """Rows to insert, by notification."""
        self.delivery_changes: list[Delivery | Pending] = []
        self.read_elsewhere: list[int] = []
        """Notifications that were read: their pending e-mails and SMS are needless."""
        self.cancelled: dict[int, str] = {}
        """Notifications whose every pending delivery is cancelled, with the reason."""
        self.steps = 0
        """How often something was put: the same before and after a decision that changed nothing."""

    @property
    def events_count(self) -> int:
        return sum(len(inbox.events) for inbox in self.inboxes.values())

    def put(
        self,
        before: Row | None,
        after: Row | None,
        kind: EventKind | None,
        *,
        data: Any = None,
        rings: bool = False,
        released: bool = False,
        reason: str | None = None,
    ) -> None:
        """Make `before` into `after` (None = not there), told by an event of `kind`, or by none.

        `data` is the event's, by default the notification. `reason` is the rule that decided, for the
        in-app delivery. A change of the counts needs an event: a silent one would let badges drift.
        """
        row = after or before
        assert row is not None
        self.steps += 1
        inbox = self.inboxes[row.user_id]
        if after is not None and before is not None:
            after.updated_at = self.now
        was_unread, was_unseen = contribution(before)
        is_unread, is_unseen = contribution(after)
        counts: Counts | None = None
        if (was_unread, was_unseen) != (is_unread, is_unseen):
            assert kind is not None, "a change of the counts must be told"
            counts = inbox.counts.changed(row.priority, unread=is_unread - was_unread, unseen=is_unseen - was_unseen)
        if kind is not None:
            if after is not None and after.state == "live" and (kind == CREATED or after.live_seq is None):
                after.live_seq = inbox.head + 1
            if data is None:
                data = as_released(row) if released else shown(row)
            inbox.append(kind, row.priority, self.now, data, counts=counts, rings=rings, released=released)
        self._record(before, after, reason)

    def _record(self, before: Row | None, after: Row | None, reason: str | None) -> None:
        if after is None:
            assert before is not None
            self.updated.pop(before.id, None)
            if self.inserted.pop(before.id, None) is None:
                self.deleted[before.id] = before
            else:
                self.deliveries.pop(before.id, None)
            return
        if before is None:
            self.inserted[after.id] = after
            return
        (self.inserted if after.id in self.inserted else self.updated)[after.id] = after
        # What was delivered, or dropped by another rule, and has expired since: that stays as it was.
        told = (before.state, before.due_at) != (after.state, after.due_at)
        if told and not (after.state == "expired" and before.state != "held"):
            self.delivery_changes.append(in_app(after, reason, self.now))
