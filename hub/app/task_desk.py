"""What every use case of tasks begins and ends with: who may, the locks in their order, and one settlement.

Order: subtasks' tree, then task rows ascending, then streams ascending, then all else. What decides is read after
the locks that it needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from hub.app.caller import Caller
from hub.app.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from hub.app.unit import Unit
from hub.core.creation import Collapsing, plan_creation
from hub.core.principal import Role
from hub.core.task import OPEN, IllegalMove, Status, TaskRow, assignees_of, moved
from hub.core.task_changes import TaskChanges
from hub.core.task_news import Held
from hub.core.topics import tasks_topic
from hub.store import tasks
from hub.store.pool import Tx
from hub.store.streams import Facts
from hub.store.tasks import Seen

OVERSEERS: Final[tuple[Role, ...]] = ("supervisor", "admin")

TREE_MAX: Final = 1000
"""Tasks that one transaction takes along: their rows and the streams of their people are locked."""
PEOPLE_MAX: Final = 2000
"""Streams that one transaction locks: more would make their people wait."""

_encode = msgspec.msgpack.Encoder().encode


class Viewer(msgspec.Struct, frozen=True):
    """Who looks at tasks: a caller, with the groups that decide what an agent may know of."""

    caller: Caller
    groups: frozenset[str]

    @property
    def user_id(self) -> int | None:
        return self.caller.principal.user_id

    @property
    def is_overseer(self) -> bool:
        return self.caller.principal.role in OVERSEERS

    def is_in_group(self, row: TaskRow) -> bool:
        """True where the task has no group, or one of the viewer's."""
        return row.group is None or row.group in self.groups

    def knows(self, held: Held) -> bool:
        """True for those on the task; where nobody is assigned to it, for its group; and for overseers."""
        if self.is_overseer:
            return True
        return self.user_id in held.people or (held.row.assigned_to is None and self.is_in_group(held.row))

    def find(self, found: dict[int, Held], task_id: int) -> Held:
        """Raises `NotFound` where there is none that the viewer may know of."""
        held = found.get(task_id)
        if held is None or not self.knows(held):
            raise NotFound("There is no such task.")
        return held

    def require_work(self, held: Held) -> None:
        """Raises `Forbidden` unless the task is the viewer's to change: theirs, made by them, or as an overseer."""
        mine = {held.row.created_by, *assignees_of(held.row, held.assignments.values())}
        if not self.is_overseer and self.user_id not in mine:
            raise Forbidden("Only who made the task, who it is assigned to, or a supervisor does this.")


async def viewer_of(tx: Tx, caller: Caller) -> Viewer:
    """The caller with their groups. Raises `Forbidden` for a service, which only makes tasks."""
    principal = caller.principal
    if principal.role == "service" or principal.user_id is None:
        raise Forbidden("A service makes tasks; it does not work on them.")
    if principal.role in OVERSEERS:
        return Viewer(caller, frozenset())
    return Viewer(caller, frozenset(await tasks.read_groups(tx, caller.tenant_id, principal.user_id)))


def seen_by(viewer: Viewer, seen: Seen | None) -> Seen:
    """Raises `NotFound` where the viewer may not know of it."""
    if seen is None:
        raise NotFound("There is no such task.")
    if viewer.is_overseer or seen.role is not None or viewer.user_id in (seen.task.assigned_to, seen.task.created_by):
        return seen
    if seen.task.assigned_to is None and seen.is_in_group:
        return seen
    raise NotFound("There is no such task.")


async def take(unit: Unit, ids: Collection[int], fresh: int = 0) -> tuple[TaskChanges, dict[int, Held], list[int]]:
    """Lock tasks and read them. With them, what will be changed, and `fresh` ids for new ones."""
    await tasks.lock_tasks(unit.tx, unit.tenant_id, ids)
    taken = await tasks.read_held(unit.tx, unit.tenant_id, ids, fresh)
    return TaskChanges(taken.now, unit.caller.principal, taken.reminder_minutes), taken.held(), taken.ids


async def take_one(unit: Unit, caller: Caller, task_id: int) -> tuple[Viewer, TaskChanges, Held]:
    """The same for a task that the caller may know of, with the caller as who looks at it.

    Raises:
        NotFound
        Forbidden: for a service.
    """
    viewer = await viewer_of(unit.tx, caller)
    changes, found, _ = await take(unit, [task_id])
    return viewer, changes, viewer.find(found, task_id)


async def settle(unit: Unit, changes: TaskChanges, callers: Collection[int] | None = None) -> Facts:
    """Lock the streams of all who are told, write the tasks, append what is told, and make the notifications.

    `callers` as for `Unit.read_facts`.

    Raises:
        Conflict: it touches too many people for one transaction.
    """
    people = changes.people
    if len(people) > PEOPLE_MAX:
        raise Conflict(f"This touches {len(people)} people; at most {PEOPLE_MAX} at once.")
    await unit.lock(people)
    notified = {draft.user_id for draft in changes.drafts}
    facts = await unit.read_facts(deciding=notified, fresh=len(changes.drafts), callers=callers)
    await tasks.write_changes(unit.tx, unit.tenant_id, changes)
    for telling in changes.tellings:
        for user_id in sorted(telling.user_ids):
            unit.changes.inboxes[user_id].append(telling.kind, telling.priority, unit.changes.now, telling.data)
    plan_creation(
        unit.changes, unit.tenant_id, changes.drafts, facts.ids, facts.recipients(notified), Collapsing(facts.unread)
    )
    if changes.board:
        unit.said.append((tasks_topic(unit.tenant_id), _encode(changes.board)))
    return facts


def require_version(row: TaskRow, versions: Collection[int] | None) -> None:
    """Raises `PreconditionFailed` where the caller knows another version than there is."""
    if versions is not None and row.version not in versions:
        raise PreconditionFailed(f"The task is at version {row.version}.")


def move(row: TaskRow, wanted: Any, changes: TaskChanges) -> TaskRow:
    """The row in another status. Raises `Conflict`, naming the state."""
    try:
        return moved(row, wanted, changes.now)
    except IllegalMove as illegal:
        raise illegal_move(illegal) from None


def illegal_move(illegal: IllegalMove) -> Conflict:
    """What an illegal move is answered by."""
    return Conflict(f"A task that is {illegal.status} cannot become {illegal.wanted}.", state=illegal.status)


def has_open(below: Iterable[tuple[int, Status]], found: Mapping[int, Held]) -> bool:
    """Whether any of these is open, as it is after the changes to those under lock."""
    return any((status if (held := found.get(one)) is None else held.row.status) in OPEN for one, status in below)


def audit(unit: Unit, action: str, ids: Iterable[int], **changed: Any) -> None:
    """One row of the trail, with ids and names of fields."""
    listed = list(ids)
    if listed:
        unit.audit(f"task.{action}", "task", listed[0] if len(listed) == 1 else None, ids=listed, **changed)
