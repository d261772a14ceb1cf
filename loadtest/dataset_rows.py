"""The rows of the data set: what one person's inbox and one task come to, events and counts included.

Pure but for the generator of chance that is passed in: the same seed makes the
same rows. A person's events are numbered without a hole, in the order of time,
and the counts that they carry and that the stream keeps follow from
`hub.core.notification.contribution`, as everywhere.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import structs
from msgspec.structs import astuple

from hub.core.counts import Counts
from hub.core.event import EventKind, encode_tail, lane_of
from hub.core.notification import Row, contribution, shown
from hub.core.priority import Priority
from hub.core.task import TaskRow

DAYS: Final = 6
"""All of it is younger than the log's own retention of 7 days, so that a hub that is started on it drops nothing."""
DAY_S: Final = 86_400.0
GROUPS: Final = ("sales", "support", "back-office", "night-shift")
CHANNELS: Final = ("email", "sms", "whatsapp", "slack")

_KINDS: Final = ("lead_assigned", "task_assigned", "deadline_reminder", "call_missed", "message_received", "system")
_CATEGORIES: Final = ("general", "leads", "calls", "chat", "billing", "alerts")
_PRIORITIES: Final[tuple[Priority, ...]] = ("critical", "high", "normal", "low")
_OF_PRIORITIES: Final = (2, 13, 70, 15)

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "user_streams": (
        "tenant_id", "user_id", "head", "unread", "unseen", "unread_critical", "unread_high", "unread_normal",
        "unread_low", "delivered_seq",
    ),
    "people": ("tenant_id", "user_id", "display_name", "external_id"),
    "notification_preferences": ("tenant_id", "user_id", "timezone"),
    "contacts": ("tenant_id", "user_id", "channel", "address"),
    "groups": ("tenant_id", "name"),
    "group_members": ("tenant_id", "group_name", "user_id"),
    "notifications": Row.__struct_fields__,
    "notification_delivery": ("tenant_id", "notification_id", "user_id", "channel", "status", "sent_at", "created_at"),
    "events": ("tenant_id", "user_id", "seq", "kind", "lane", "rings", "at", "tail"),
    "communication_logs": (
        "tenant_id", "user_id", "notification_id", "channel", "recipient", "subject", "status", "sent_at",
        "created_at",
    ),
    "tasks": TaskRow.__struct_fields__,
    "task_assignments": ("tenant_id", "task_id", "user_id", "role", "assigned_by", "assigned_at"),
    "task_comments": ("tenant_id", "task_id", "user_id", "comment", "created_at", "updated_at"),
    "task_history": ("tenant_id", "task_id", "at", "actor_id", "actor_role", "action", "version", "changes"),
    "audit_log": ("tenant_id", "at", "actor_id", "actor_role", "action", "entity_type", "entity_id", "changes"),
}  # fmt: skip
"""What is written, in an order that keeps every foreign key."""

Rows = dict[str, list[tuple[Any, ...]]]


def no_rows() -> Rows:
    """None yet, of each table."""
    return {table: [] for table in COLUMNS}


def put_person(rows: Rows, chance: random.Random, tenant: str, user: int) -> None:
    """Who they are, where they are reached, and the group that they are in."""
    rows["people"].append((tenant, user, f"Person {user}", f"crm-{user}"))
    rows["notification_preferences"].append((tenant, user, "Europe/Berlin" if chance.random() < 0.5 else "UTC"))
    rows["contacts"].append((tenant, user, "email", f"person{user}@{tenant}.example"))
    rows["group_members"].append((tenant, GROUPS[user % len(GROUPS)], user))


class Inbox:
    """One person's log and counts while they are made. `finish` writes the stream that they come to."""

    def __init__(self, rows: Rows, tenant: str, user: int) -> None:
        self._rows = rows
        self._tenant = tenant
        self._user = user
        self._head = 0
        self._counts = Counts()

    def receive(self, chance: random.Random, notification_id: int, at: datetime, now: datetime) -> None:
        """One notification that came at `at`, and what has become of it by `now`."""
        priority = chance.choices(_PRIORITIES, _OF_PRIORITIES)[0]
        row = Row(
            id=notification_id,
            tenant_id=self._tenant,
            user_id=self._user,
            type=chance.choice(_KINDS),
            title=f"Lead {notification_id} waits",
            message=f"Mrs. Ada Byron, +49 30 {notification_id % 10**7:07d}, asks to be called back",
            priority=priority,
            category=chance.choice(_CATEGORIES),
            related_entity_type="lead" if chance.random() < 0.5 else None,
            related_entity_id=str(notification_id % 9973),
            collapse_key=f"lead-{notification_id}" if chance.random() < 0.1 else None,
            created_at=at,
            updated_at=at,
            state="live",
        )
        share = chance.random()
        if share < 0.02:
            row.state, row.hold_reason, row.due_at = "held", "schedule", now + timedelta(days=1 + share)
            row.deliver_at = row.held_until = row.due_at
        elif share < 0.03:
            row.state = "muted"
        else:
            self._live(chance, row, now)
        self._outside(chance, row)
        self._rows["notifications"].append(astuple(row))

    def _live(self, chance: random.Random, row: Row, now: datetime) -> None:
        row.live_seq = self._head + 1
        self._change(None, row, "notification.created")
        # Each step somewhat after the one before; none after now, as a hub would have it.
        step = min(timedelta(seconds=0.2), (now - row.created_at) / 8)
        share = chance.random()
        if share < 0.85:
            self._step(row, step, is_seen=True)
        if share < 0.70:
            self._step(row, step, is_read=True, read_at=row.updated_at + step)
        if share < 0.20:
            self._step(row, step, is_archived=True, archived_at=row.updated_at + step)
        if 0.95 < share < 0.97:
            before = structs.replace(row)
            row.expires_at = row.updated_at = row.created_at + step
            row.state = "expired"
            self._change(before, row, "notification.expired")
        elif share > 0.97:
            row.expires_at = now + timedelta(days=1 + share)

    def _step(self, row: Row, step: timedelta, **changed: Any) -> None:
        before = structs.replace(row)
        for name, value in changed.items():
            setattr(row, name, value)
        row.updated_at = before.updated_at + step
        self._change(before, row, "notification.updated")

    def _change(self, before: Row | None, after: Row, kind: EventKind) -> None:
        was, now = contribution(before), contribution(after)
        self._counts = self._counts.changed(after.priority, unread=now[0] - was[0], unseen=now[1] - was[1])
        self._head += 1
        at = after.updated_at
        tail = encode_tail(kind, after.priority, at, shown(after), self._counts)
        lane = lane_of(kind, after.priority)
        rings = kind == "notification.created"
        self._rows["events"].append((self._tenant, self._user, self._head, kind, lane, rings, at, tail))

    def _outside(self, chance: random.Random, row: Row) -> None:
        """What was planned and sent of it; a held one has not gone out on any channel."""
        status, sent_at = ("held", None) if row.state == "held" else ("sent", row.created_at)
        delivery = self._rows["notification_delivery"]
        delivery.append((self._tenant, row.id, self._user, "in_app", status, sent_at, row.created_at))
        if chance.random() < 0.2:
            delivery.append((self._tenant, row.id, self._user, "email", status, sent_at, row.created_at))
            if sent_at is not None:
                channel = chance.choice(CHANNELS)
                address = f"person{self._user}@{self._tenant}.example"
                self._rows["communication_logs"].append(
                    (self._tenant, self._user, row.id, channel, address, row.title, "sent", sent_at, sent_at)
                )
        if chance.random() < 0.1:
            self._rows["audit_log"].append(
                (
                    self._tenant,
                    row.created_at,
                    None,
                    "service",
                    "notification.create",
                    "notification",
                    str(row.id),
                    "{}",
                )
            )

    def finish(self) -> None:
        """The stream: its head, and the counts as of it."""
        counts = self._counts
        self._rows["user_streams"].append((
            self._tenant, self._user, self._head, counts.unread, counts.unseen, counts.critical, counts.high,
            counts.normal, counts.low, self._head,
        ))  # fmt: skip


def put_tasks(rows: Rows, chance: random.Random, tenant: str, ids: range, users: int, now: datetime) -> Iterator[None]:
    """One task a step: four in five are roots, the others hang below one of the last fifty (trees a few deep)."""
    for task_id in ids:
        created_at = now - timedelta(seconds=chance.random() * DAYS * DAY_S)
        parent = max(ids.start, task_id - chance.randint(1, 50)) if chance.random() < 0.2 else None
        owner = 1 + int(users * chance.random() ** 2) if chance.random() < 0.85 else None
        task = TaskRow(
            id=task_id,
            tenant_id=tenant,
            assigned_to=owner,
            created_by=chance.randint(1, users),
            lead_id=task_id % 9973 + 1,
            parent_task_id=None if parent == task_id else parent,
            title=f"Call lead {task_id} back",
            priority=chance.choices(_PRIORITIES, _OF_PRIORITIES)[0],
            group=chance.choice(GROUPS) if chance.random() < 0.6 else None,
            task_type=chance.choice(("call", "visit", "offer", None)),
            created_at=created_at,
            updated_at=created_at + (now - created_at) * 0.5,
        )
        _settle(chance, task, now)
        rows["tasks"].append(astuple(task))
        _surround(rows, chance, task, users)
        yield


def _settle(chance: random.Random, task: TaskRow, now: datetime) -> None:
    """Its status by chance, with the instants that belong to that."""
    share = chance.random()
    if share < 0.5:
        task.status, task.completed_at, task.progress_percentage = "completed", task.updated_at, 100
    elif share < 0.58:
        task.status, task.cancelled_at = "cancelled", task.updated_at
    elif share < 0.65:
        task.status, task.overdue_from, task.due_date = "overdue", "pending", task.updated_at
        task.overdue_for = task.due_date
    else:
        task.status = "in_progress" if share < 0.8 else "pending"
        task.due_date = task.wake_at = now + timedelta(days=1 + 30 * chance.random())
    task.version = 1 if task.status == "pending" else 2


def _surround(rows: Rows, chance: random.Random, task: TaskRow, users: int) -> None:
    """Who is on it, what was said, and what was done."""
    tenant, at, creator = task.tenant_id, task.created_at, task.created_by
    people = {} if task.assigned_to is None else {task.assigned_to: "assignee"}
    if chance.random() < 0.3:
        people.setdefault(chance.randint(1, users), chance.choice(("watcher", "reviewer")))
    for user, role in people.items():
        rows["task_assignments"].append((tenant, task.id, user, role, creator, at))
    for _ in range(chance.choice((0, 0, 1, 2))):
        rows["task_comments"].append((tenant, task.id, chance.randint(1, users), "Will call tomorrow.", at, at))
    moves = [("created", "{}")]
    if task.version == 2:
        moves.append(("updated", json.dumps({"status": {"from": "pending", "to": task.status}})))
    for version, (action, changes) in enumerate(moves, 1):
        when = at if version == 1 else task.updated_at
        rows["task_history"].append((tenant, task.id, when, creator, "agent", action, version, changes))
        rows["audit_log"].append((tenant, when, creator, "agent", f"task.{action}", "task", str(task.id), changes))
