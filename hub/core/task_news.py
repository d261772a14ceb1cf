"""What is held of a task while it changes, and what is told of the change: the shapes only."""

from __future__ import annotations

from typing import Any

import msgspec

from hub.core.event import EventKind
from hub.core.principal import Role
from hub.core.priority import Priority
from hub.core.task import Assignment, Task, TaskRow, people_of


class Held(msgspec.Struct):
    """A task under its lock, with everyone who is assigned to it, by user."""

    row: TaskRow
    assignments: dict[int, Assignment]

    @property
    def people(self) -> set[int]:
        return people_of(self.row, self.assignments.values())


class Assigned(Assignment, kw_only=True):
    """The data of `task.assigned`: with the task, for those who did not have it."""

    task: Task


class Telling(msgspec.Struct, frozen=True):
    """One event, for each of these people. `data` is JSON, encoded once for all of them."""

    user_ids: frozenset[int]
    kind: EventKind
    priority: Priority
    data: msgspec.Raw


class History(msgspec.Struct, frozen=True):
    """One entry: fields by name, each with what it was and what it is."""

    task_id: int
    action: str
    version: int
    changes: dict[str, Any]
    actor_id: int | None
    actor_role: Role


class BoardChange(msgspec.Struct, frozen=True, array_like=True):
    """What those hear who watch more than their own tasks.

    `groups` are those that it belonged to before and after, None for no group. `was_free`: nobody was assigned to
    it before the change, or nobody is after it.
    """

    id: int
    version: int
    status: str
    assigned_to: int | None
    groups: tuple[str | None, ...]
    was_free: bool
