"""A task: its shape, its legal moves, who is on it, and when time itself does something to it.

Pure. Owns what a change of fields means for the rest of the row (instants of a status, the way back from overdue,
reminders planned anew). Does not own what is told of a change: that is `hub.core.task_changes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from hub.core.priority import Priority

Status = Literal["pending", "in_progress", "completed", "overdue", "cancelled"]
AssignmentRole = Literal["assignee", "reviewer", "watcher"]

OPEN: Final[tuple[Status, ...]] = ("pending", "in_progress", "overdue")

MOVES: Final[dict[Status, tuple[Status, ...]]] = {
    "pending": ("in_progress", "completed", "cancelled"),
    "in_progress": ("completed", "cancelled"),
    "overdue": ("in_progress", "completed", "cancelled"),
    "completed": ("pending",),
    "cancelled": ("pending",),
}
"""What a person may make of a task. Only time makes one overdue."""


class IllegalMove(Exception):
    """The status that the task has does not lead to the one asked for."""

    def __init__(self, status: Status, wanted: Status) -> None:
        super().__init__(f"{status} does not become {wanted}")
        self.status: Status = status
        self.wanted: Status = wanted


class TaskFields(msgspec.Struct, kw_only=True):
    """What a person may write. `status` None = as it is."""

    title: str
    description: str | None = None
    priority: Priority = "normal"
    group: str | None = None
    status: Status | None = None
    task_type: str | None = None
    due_date: datetime | None = None
    scheduled_at: datetime | None = None
    progress_percentage: int = 0
    estimated_duration_min: int | None = None
    actual_duration_min: int | None = None
    tags: list[str] = []
    assigned_to: int | None = None
    lead_id: int | None = None
    parent_task_id: int | None = None


class Task(msgspec.Struct, kw_only=True):
    """What REST answers and what events carry, in the order of the contract."""

    id: int
    tenant_id: str
    assigned_to: int | None = None
    created_by: int | None = None
    lead_id: int | None = None
    parent_task_id: int | None = None
    title: str
    description: str | None = None
    priority: Priority = "normal"
    group: str | None = None
    status: Status = "pending"
    task_type: str | None = None
    due_date: datetime | None = None
    scheduled_at: datetime | None = None
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    progress_percentage: int = 0
    estimated_duration_min: int | None = None
    actual_duration_min: int | None = None
    tags: list[str] = []
    version: int = 1
    created_at: datetime
    updated_at: datetime


class TaskRow(Task, kw_only=True):
    """A task as it is kept.

    `overdue_from` is the status to go back to, `overdue_for` the due date for which it became overdue (so that one
    that is started again does not become so twice), `wake_at` when time does something to it next.
    """

    overdue_from: Literal["pending", "in_progress"] | None = None
    overdue_for: datetime | None = None
    wake_at: datetime | None = None


class Assignment(msgspec.Struct, kw_only=True):
    """Who is on a task, in which role; one a user. `assigned_to` always has one, as an assignee."""

    tenant_id: str
    task_id: int
    user_id: int
    role: AssignmentRole = "assignee"
    responsibility_percentage: int | None = None
    assigned_by: int | None = None
    assigned_at: datetime
    accepted_at: datetime | None = None
    declined_at: datetime | None = None
    completed_at: datetime | None = None


class Comment(msgspec.Struct, kw_only=True):
    """What was said on a task. `user_id` null: by a producer, or its author was erased."""

    id: int
    tenant_id: str
    task_id: int
    user_id: int | None
    comment: str
    attachment_urls: list[str] = []
    created_at: datetime
    updated_at: datetime


_WRITTEN: Final = tuple(name for name in TaskFields.__struct_fields__ if name != "status")


def shown(row: TaskRow) -> Task:
    """The part of a row that people see."""
    return msgspec.convert(row, Task, from_attributes=True)


def fields_of(row: TaskRow) -> TaskFields:
    """What a person may write of it, as it is."""
    return msgspec.convert(row, TaskFields, from_attributes=True)


def people_of(task: Task, assignments: Iterable[Assignment]) -> set[int]:
    """Everyone who is on the task: `assigned_to`, `created_by`, every assignment."""
    people = {one.user_id for one in assignments}
    if task.assigned_to is not None:
        people.add(task.assigned_to)
    if task.created_by is not None:
        people.add(task.created_by)
    return people


def assignees_of(task: Task, assignments: Iterable[Assignment]) -> set[int]:
    """Whose work it is."""
    named = {task.assigned_to, *(one.user_id for one in assignments if one.role == "assignee")}
    return {user_id for user_id in named if user_id is not None}


def is_legal(status: Status, wanted: Status) -> bool:
    """True where a person may make `wanted` of one that is `status`."""
    return wanted in MOVES[status]


def moved(row: TaskRow, wanted: Status, now: datetime) -> TaskRow:
    """The row in another status, with the instants that belong to it.

    Raises:
        IllegalMove: it is none of the legal moves; staying is none either.
    """
    if not is_legal(row.status, wanted):
        raise IllegalMove(row.status, wanted)
    after = replace(row, status=wanted, overdue_from=None)
    after.completed_at = now if wanted == "completed" else None
    after.cancelled_at = now if wanted == "cancelled" else None
    if wanted == "pending":
        # Reopened past its due date it is late once more.
        after.overdue_for = None
    return after


def made(task_id: int, tenant_id: str, fields: TaskFields, created_by: int | None, now: datetime) -> TaskRow:
    """A new task."""
    values = {name: getattr(fields, name) for name in _WRITTEN}
    row = TaskRow(id=task_id, tenant_id=tenant_id, created_by=created_by, created_at=now, updated_at=now, **values)
    row.status = fields.status or "pending"
    return _in_utc(row)


def written(row: TaskRow, fields: TaskFields, now: datetime) -> TaskRow:
    """The row after a person wrote these fields. The version is not counted here.

    Moving `due_date` into the future, or away, takes overdue back to what it was.

    Raises:
        IllegalMove: the status asked for is none that it may get.
    """
    after = replace(row, **{name: getattr(fields, name) for name in _WRITTEN})
    _in_utc(after)
    if fields.status is not None and fields.status != row.status:
        after = moved(after, fields.status, now)
    if after.due_date != row.due_date:
        is_ahead = after.due_date is None or after.due_date > now
        if after.status == "overdue" and is_ahead:
            assert after.overdue_from is not None
            after = replace(after, status=after.overdue_from, overdue_from=None)
        if is_ahead:
            after.overdue_for = None
    return after


def _in_utc(row: TaskRow) -> TaskRow:
    for name in ("due_date", "scheduled_at"):
        at: datetime | None = getattr(row, name)
        if at is not None and at.tzinfo is not UTC:
            setattr(row, name, at.astimezone(UTC))
    return row


def reminders_of(row: TaskRow, reminder_minutes: int) -> set[datetime]:
    """The instants at which its assignees are reminded."""
    instants = {row.scheduled_at, row.due_date}
    if row.due_date is not None:
        instants.add(row.due_date - timedelta(minutes=reminder_minutes))
    return {at for at in instants if at is not None}


def next_wake(row: TaskRow, now: datetime, reminder_minutes: int) -> datetime | None:
    """When time does something to it next, as things are; None = never. In the past: at once."""
    if row.status not in OPEN or (row.due_date is None and row.scheduled_at is None):
        return None
    if is_late(row, now):
        return row.due_date
    return min((at for at in reminders_of(row, reminder_minutes) if at > now), default=None)


def replanned(row: TaskRow, now: datetime, reminder_minutes: int) -> datetime | None:
    """Its `wake_at` where the tenant reminds so long before due dates from now on.

    Only a reminder before the due date that is still to come moves; in the past: at once. What has been reminded of
    is not again, and a `scheduled_at` that comes first is planned on from then.
    """
    if row.wake_at is None or row.due_date is None or row.wake_at >= row.due_date or row.wake_at == row.scheduled_at:
        return row.wake_at
    before = row.due_date - timedelta(minutes=reminder_minutes)
    if row.scheduled_at is not None and row.scheduled_at > now:
        return min(before, row.scheduled_at)
    return before


def is_late(row: TaskRow, now: datetime) -> bool:
    """True where it is to become overdue."""
    is_past = row.due_date is not None and row.due_date <= now
    return is_past and row.status in ("pending", "in_progress") and row.overdue_for != row.due_date


def plans_anew(before: TaskRow, after: TaskRow) -> bool:
    """True where the change moves reminders, or ends or begins them."""
    return (before.due_date, before.scheduled_at, before.status in OPEN) != (
        after.due_date,
        after.scheduled_at,
        after.status in OPEN,
    )


def overdue(row: TaskRow) -> TaskRow:
    """The row once its due date has passed."""
    assert row.status in ("pending", "in_progress")
    return replace(row, status="overdue", overdue_from=row.status, overdue_for=row.due_date)


def makes_loop(parents: Mapping[int, int | None], task_id: int, parent_id: int) -> bool:
    """True where `task_id` is `parent_id` or stands above it. `parents` has everything above `parent_id`."""
    at: int | None = parent_id
    while at is not None:
        if at == task_id:
            return True
        at = parents.get(at)
    return False
