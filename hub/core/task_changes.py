"""What one transaction does to tasks, and whom it tells.

Every change of a task passes through `TaskChanges.put`, so that the row, its assignments, its history, the events of
everyone who is on it and the notifications that it causes cannot drift. Pure: rows, read under their locks, in;
what to write and to tell, out. Does not own which change is legal (`hub.core.task`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from hub.core.event import EventKind
from hub.core.notification import Draft
from hub.core.notification import Kind as NotificationKind
from hub.core.principal import Principal, Role
from hub.core.task import (
    Assignment,
    AssignmentRole,
    Comment,
    Status,
    Task,
    TaskRow,
    assignees_of,
    next_wake,
    plans_anew,
    shown,
)
from hub.core.task_news import Assigned, BoardChange, Held, History, Telling

CREATED: Final = "task.created"
UPDATED: Final = "task.updated"
DELETED: Final = "task.deleted"
ASSIGNED: Final = "task.assigned"
UNASSIGNED: Final = "task.unassigned"
COMMENTED: Final = "task.commented"
_BY_STATUS: Final[dict[Status, EventKind]] = {
    "completed": "task.completed",
    "cancelled": "task.cancelled",
    "overdue": "task.overdue",
}

TITLE_MAX: Final = 200
MESSAGE_MAX: Final = 4000

_UNTOLD: Final = frozenset({"version", "updated_at", "created_at", "id", "tenant_id", "created_by"})
_TOLD: Final = tuple(name for name in Task.__struct_fields__ if name not in _UNTOLD)
_told: Final = attrgetter(*_TOLD)

Step = Literal["accept", "decline", "complete"]
_INSTANTS: Final[dict[Step, str]] = {"accept": "accepted_at", "decline": "declined_at", "complete": "completed_at"}
_SAID: Final[dict[Step, str]] = {"accept": "Accepted", "decline": "Declined", "complete": "Done"}


_encode = msgspec.json.Encoder().encode


class TaskChanges:
    """Rows to write, by id, and what is told, in order. `now` is the database's clock, read under the tasks' locks."""

    def __init__(self, now: datetime, doer: Principal | None, reminder_minutes: int) -> None:
        self.now = now
        self.doer_id: int | None = None
        self.doer_key: int | None = None
        self._doer_role: Role = "service"
        self.act_for(doer)
        self._reminder_minutes = reminder_minutes
        self.inserted: dict[int, TaskRow] = {}
        self.updated: dict[int, TaskRow] = {}
        self.deleted: list[int] = []
        self.assigned: dict[tuple[int, int], Assignment] = {}
        self.unassigned: dict[tuple[int, int], Assignment] = {}
        self.history: list[History] = []
        self.tellings: list[Telling] = []
        self.drafts: list[Draft] = []
        self.board: list[BoardChange] = []

    def act_for(self, doer: Principal | None) -> None:
        """From here on it is this one who changes something; None is time itself."""
        self.doer_id = None if doer is None or doer.role == "service" else doer.user_id
        self.doer_key = None if doer is None else doer.api_key_id
        self._doer_role = "service" if doer is None else doer.role

    @property
    def steps(self) -> int:
        """How much was changed so far: the same before and after a decision that changed nothing."""
        return len(self.history) + len(self.deleted)

    @property
    def people(self) -> set[int]:
        """Everyone whose stream this touches."""
        told = {user_id for telling in self.tellings for user_id in telling.user_ids}
        return told | {draft.user_id for draft in self.drafts}

    # -- tasks -------------------------------------------------------------------------------------------------------

    def create(self, row: TaskRow) -> Held:
        """A new task, with whom it is assigned to."""
        row.wake_at = next_wake(row, self.now, self._reminder_minutes)
        held = Held(row, {})
        self.inserted[row.id] = row
        if row.assigned_to is not None:
            self._assign(held, row.assigned_to, "assignee", None)
        self._remember(held, "create", None)
        if people := held.people:
            self._tell(people, CREATED, row, shown(row))
        if row.assigned_to is not None:
            self._tell_assigned(held, row.assigned_to)
            self._notify_assigned(row, row.assigned_to)
        self._show(None, row)
        return held

    def put(self, held: Held, after: TaskRow, action: str, *, force: bool = False) -> bool:
        """Make of a task what `after` says; `held` has it from here on. False where nothing changes: nothing is told.

        `force` counts and tells a change that is not in the row itself.
        """
        before = held.row
        changed = _changed(before, after)
        if not changed and not force:
            return False
        was_on = held.people
        after.version = before.version + 1
        after.updated_at = self.now
        if plans_anew(before, after):
            after.wake_at = next_wake(after, self.now, self._reminder_minutes)
        held.row = after
        (self.inserted if after.id in self.inserted else self.updated)[after.id] = after
        left: list[Assignment] = []
        if before.assigned_to != after.assigned_to:
            left = self._hand_over(held, before.assigned_to)
        self._remember(held, action, before)
        kind = _BY_STATUS.get(after.status, UPDATED) if after.status != before.status else UPDATED
        self._tell_change(held, was_on, kind, left)
        if after.assigned_to is not None and after.assigned_to != before.assigned_to:
            self._notify_handed(after, action)
        if after.status == "completed" != before.status:
            self._notify(after, after.created_by, "task_completed", "Task completed")
        self._show(before, after)
        return True

    def delete(self, held: Held) -> None:
        """The task is gone, with all that belongs to it."""
        row = held.row
        self.deleted.append(row.id)
        self.updated.pop(row.id, None)
        self._tell(held.people, DELETED, row, {"id": row.id})
        self.board.append(
            BoardChange(row.id, row.version + 1, "deleted", row.assigned_to, (row.group,), row.assigned_to is None)
        )

    def remind(self, held: Held) -> None:
        """Tell the assignees of its deadline."""
        for user_id in sorted(assignees_of(held.row, held.assignments.values())):
            self._notify(held.row, user_id, "deadline_reminder", "Deadline")

    # -- who is on it ------------------------------------------------------------------------------------------------

    def assign(self, held: Held, user_id: int, role: AssignmentRole, percentage: int | None) -> Assignment:
        """Put someone on a task, or change what they are on it. The first assignee of a free one becomes its own.

        Who is `assigned_to` stays an assignee.
        """
        before = held.row
        was_on = held.people
        is_new = user_id not in held.assignments
        if user_id == before.assigned_to:
            role = "assignee"
        after = replace(before)
        if role == "assignee" and before.assigned_to is None:
            after.assigned_to = user_id
        after.version, after.updated_at = before.version + 1, self.now
        assignment = self._assign(held, user_id, role, percentage)
        held.row = after
        self.updated[after.id] = after
        self._remember(held, "assign", before, {"assignment": [None, {"user_id": user_id, "role": role}]})
        self._tell_change(held, was_on, UPDATED, [])
        if user_id in was_on:
            self._tell_assigned(held, user_id)
        if is_new:
            self._notify_assigned(after, user_id)
        self._show(before, after)
        return assignment

    def unassign(self, held: Held, user_id: int) -> None:
        """Take someone off it. Where it was theirs, it is nobody's then."""
        before = held.row
        was_on = held.people
        gone = held.assignments.pop(user_id)
        self._unassign(gone)
        after = replace(before, version=before.version + 1, updated_at=self.now)
        if before.assigned_to == user_id:
            after.assigned_to = None
        held.row = after
        self.updated[after.id] = after
        self._remember(held, "unassign", before, {"assignment": [{"user_id": user_id, "role": gone.role}, None]})
        self._tell_change(held, was_on, UPDATED, [gone])
        self._show(before, after)

    def step(self, held: Held, user_id: int, step: Step) -> Assignment:
        """The assigned one accepts, declines or is done with their part; who assigned them is told. Idempotent."""
        before = held.assignments[user_id]
        if getattr(before, _INSTANTS[step]) is not None:
            return before
        after = replace(before)
        setattr(after, _INSTANTS[step], self.now)
        if step == "accept":
            after.declined_at = None
        elif step == "decline":
            after.accepted_at = None
        held.assignments[user_id] = after
        self.assigned[after.task_id, user_id] = after
        self._note(held, f"assign.{step}", {"user_id": [user_id, user_id]})
        self._tell_assigned(held, user_id)
        kind: NotificationKind = "task_completed" if step == "complete" else "task_assigned"
        self._notify(held.row, after.assigned_by, kind, _SAID[step])
        return after

    # -- comments ----------------------------------------------------------------------------------------------------

    def comment(self, held: Held, comment: Comment, action: str) -> None:
        """Something was said, changed or taken back: told to everyone on the task; what is new, by a notification."""
        self._note(held, f"comment.{action}", {})
        data = {"id": comment.id, "task_id": comment.task_id, "deleted": True} if action == "delete" else comment
        self._tell(held.people, COMMENTED, held.row, data)
        if action == "create":
            for user_id in sorted(held.people):
                self._notify(
                    held.row, user_id, "message_received", "Comment", category="comment", message=comment.comment
                )

    # -- within ------------------------------------------------------------------------------------------------------

    def _assign(self, held: Held, user_id: int, role: AssignmentRole, percentage: int | None) -> Assignment:
        known = held.assignments.get(user_id)
        if known is None:
            one = Assignment(
                tenant_id=held.row.tenant_id,
                task_id=held.row.id,
                user_id=user_id,
                role=role,
                responsibility_percentage=percentage,
                assigned_by=self.doer_id,
                assigned_at=self.now,
            )
        else:
            one = replace(known, role=role)
            if percentage is not None:
                one.responsibility_percentage = percentage
        held.assignments[user_id] = one
        self.assigned[held.row.id, user_id] = one
        self.unassigned.pop((held.row.id, user_id), None)
        return one

    def _unassign(self, one: Assignment) -> None:
        self.assigned.pop((one.task_id, one.user_id), None)
        self.unassigned[one.task_id, one.user_id] = one

    def _hand_over(self, held: Held, before: int | None) -> list[Assignment]:
        left: list[Assignment] = []
        if before is not None and before in held.assignments:
            left.append(held.assignments.pop(before))
            self._unassign(left[0])
        if held.row.assigned_to is not None:
            self._assign(held, held.row.assigned_to, "assignee", None)
        return left

    def _tell_change(self, held: Held, was_on: set[int], kind: EventKind, left: Iterable[Assignment]) -> None:
        """The change to those who knew of it, then who left, then who came: a reader in order ends with what is."""
        row, is_on = held.row, held.people
        came = is_on - was_on
        task = shown(row)
        self._tell((was_on | is_on) - came, kind, row, task)
        for one in left:
            self._tell((was_on | is_on) - came, UNASSIGNED, row, one)
            # Off their work, and yet on the task in another way: they have dropped it, and get it back.
            self._tell(is_on & {one.user_id}, UPDATED, row, task)
        for user_id in sorted(came):
            self._tell_assigned(held, user_id)

    def _tell_assigned(self, held: Held, user_id: int) -> None:
        one = held.assignments[user_id]
        told = held.people if one.assigned_by is None else held.people | {one.assigned_by}
        data = Assigned(**msgspec.structs.asdict(one), task=shown(held.row))
        self._tell(held.people, ASSIGNED, held.row, data)
        # Who has handed it on, and is not on it, hears of the assignment alone.
        self._tell(told - held.people, ASSIGNED, held.row, one)

    def _tell(self, user_ids: set[int], kind: EventKind, row: TaskRow, data: Any) -> None:
        if user_ids:
            self.tellings.append(Telling(frozenset(user_ids), kind, row.priority, msgspec.Raw(_encode(data))))

    def _notify_assigned(self, row: TaskRow, user_id: int) -> None:
        self._notify(row, user_id, "task_assigned", "Task assigned")

    def _notify_handed(self, row: TaskRow, action: str) -> None:
        if action == "claim":
            self._notify(row, row.created_by, "task_assigned", "Task claimed")
        elif row.assigned_to is not None:
            self._notify_assigned(row, row.assigned_to)

    def _notify(
        self,
        row: TaskRow,
        user_id: int | None,
        kind: NotificationKind,
        said: str,
        *,
        category: str = "general",
        message: str | None = None,
    ) -> None:
        # Nobody is notified of what they did themselves.
        if user_id is None or user_id == self.doer_id:
            return
        self.drafts.append(
            Draft(
                user_id=user_id,
                type=kind,
                title=f"{said}: {row.title}"[:TITLE_MAX],
                message=(message or row.title)[:MESSAGE_MAX],
                priority=row.priority,
                category=category,
                action_url=f"/tasks/{row.id}",
                related_entity_type="task",
                related_entity_id=str(row.id),
                created_by=self.doer_id,
                created_by_key=self.doer_key,
            )
        )

    def _remember(self, held: Held, action: str, before: TaskRow | None, more: dict[str, Any] | None = None) -> None:
        self._note(held, action, _changed(before, held.row) | (more or {}))

    def _note(self, held: Held, action: str, changes: dict[str, Any]) -> None:
        self.history.append(History(held.row.id, action, held.row.version, changes, self.doer_id, self._doer_role))

    def _show(self, before: TaskRow | None, after: TaskRow) -> None:
        groups = (after.group,) if before is None or before.group == after.group else (before.group, after.group)
        was_free = after.assigned_to is None or (before is not None and before.assigned_to is None)
        status: Status = after.status
        self.board.append(BoardChange(after.id, after.version, status, after.assigned_to, groups, was_free))


def _changed(before: TaskRow | None, after: TaskRow) -> dict[str, Any]:
    """Shown fields that differ, each with what it was and what it is."""
    values = zip(_TOLD, _told(after), strict=True)
    if before is None:
        # What is true first: a date takes long to see that it is no list.
        return {name: [None, value] for name, value in values if value or value not in (None, [], 0)}
    return {name: [was, value] for (name, value), was in zip(values, _told(before), strict=True) if was != value}
