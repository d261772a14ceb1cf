"""Making tasks, changing them, moving them through their states, claiming and deleting them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Conflict, Forbidden, Invalid, NotFound
from hub.app.group_commit import perform_joint
from hub.app.names import NamedTask, with_names
from hub.app.task_desk import (
    TREE_MAX,
    Viewer,
    audit,
    illegal_move,
    move,
    require_version,
    settle,
    take,
    viewer_of,
)
from hub.app.task_group import Desk, TaskJoint
from hub.app.unit import Outcome, Unit, perform
from hub.core.task import (
    OPEN,
    IllegalMove,
    Status,
    TaskFields,
    TaskRow,
    fields_of,
    made,
    makes_loop,
    written,
)
from hub.core.task_news import Held, History
from hub.store import tasks

BULK_MAX: Final = 1000

Change = Callable[[TaskFields], TaskFields]
"""From what a task says to what it is to say. Called more than once; raises `Invalid`."""


class Write(msgspec.Struct, frozen=True):
    """One task to make (`task_id` None) or to change. `versions`: those that the caller knows, None = any.

    `where` is its place in the request, for errors.
    """

    task_id: int | None
    change: Change
    versions: tuple[int, ...] | None = None
    where: str = "$"


_NOTHING: Final = TaskFields(title="-")


async def write(deps: Deps, caller: Caller, writes: Sequence[Write]) -> Outcome[list[NamedTask]]:
    """Make and change tasks, in the order given, in one transaction; the tasks as they are then.

    Raises:
        NotFound: one that is to be changed, and that the caller may not know of.
        Forbidden: one that is not the caller's to change; a service only makes tasks.
        Conflict: an illegal move, open subtasks of one that is to be closed, a loop.
        PreconditionFailed: another version than the one given.
        Invalid: the values, or a parent that the caller does not know.
    """
    if caller.principal.role == "service" and any(one.task_id is not None for one in writes):
        raise Forbidden("A service makes tasks; it does not change them.")

    async def work(unit: Unit) -> list[NamedTask]:
        done = await _write_all(unit, caller, writes)
        return await with_names(unit.tx, unit.tenant_id, NamedTask, [held.row for held in done])

    return await perform(deps, caller, work)


async def write_one(deps: Deps, caller: Caller, one: Write) -> Outcome[NamedTask]:
    """The same for a single one. Raises likewise."""
    if caller.principal.role == "service" and one.task_id is not None:
        raise Forbidden("A service makes tasks; it does not change them.")
    if not _names_parent(one):

        def decide(desk: Desk) -> TaskRow:
            place = _Place(desk, {}, is_moving=False)
            before = len(desk.changes.history)
            held = _write_one(place, one, list(desk.ids))
            if one.task_id is None:
                desk.audit("create", held.row.id)
            elif entries := desk.changes.history[before:]:
                desk.audit("update", held.row.id, fields=_names(entries))
            return held.row

        joint = TaskJoint(decide=decide, shown=NamedTask, task_id=one.task_id, closes=one.task_id is not None)
        return await perform_joint(deps, caller, joint)

    async def work(unit: Unit) -> NamedTask:
        done = await _write_all(unit, caller, [one])
        return await _named(unit, done[0])

    return await perform(deps, caller, work)


def _names_parent(one: Write) -> bool:
    """Whether it may put the task below another, which takes more locks. A guess on the safe side."""
    try:
        return one.change(_NOTHING).parent_task_id is not None
    except Invalid:
        return True


async def _write_all(unit: Unit, caller: Caller, writes: Sequence[Write]) -> list[Held]:
    is_service = caller.principal.role == "service"
    viewer = Viewer(caller, frozenset()) if is_service else await viewer_of(unit.tx, caller)
    wanted = {one.task_id for one in writes if one.task_id is not None}
    parents, is_moving = await _parents_of(unit, writes, wanted)
    if is_moving:
        await tasks.lock_tree(unit.tx, unit.tenant_id)
    elif wanted:
        await tasks.lock_tree(unit.tx, unit.tenant_id, shared=True)
    fresh = sum(one.task_id is None for one in writes)
    changes, found, ids = await take(unit, wanted | parents, fresh)
    below = await tasks.read_below(unit.tx, unit.tenant_id, wanted, found) if wanted else {}
    tree = await tasks.read_parents(unit.tx, unit.tenant_id, parents) if is_moving else {}
    place = _Place(Desk(viewer, changes, found, below, ids), tree, is_moving)
    done = [_write_one(place, one, ids) for one in writes]
    await settle(unit, changes)
    audit(unit, "create", changes.inserted)
    audit(unit, "update", changes.updated, fields=_names(changes.history))
    return done


class _Place(msgspec.Struct):
    """Where a batch of writes happens. `tree` has the parents of all that stands above a named parent."""

    desk: Desk
    tree: dict[int, int | None]
    is_moving: bool

    def check_parent(self, one: Write, row_id: int | None, before: int | None, parent_id: int | None) -> None:
        """Raises where this parent may not be: unknown to the caller, or below the task itself."""
        if parent_id is None or parent_id == before:
            return
        held = self.desk.held(parent_id)
        viewer = self.desk.viewer
        is_service = viewer.caller.principal.role == "service"
        if held is None or not (is_service or viewer.knows(held)):
            raise Invalid([(f"{one.where}.parent_task_id", "There is no such task.")])
        if not self.is_moving:
            raise Conflict("The task was moved by somebody else meanwhile: try again.")
        if row_id is not None and makes_loop(self.tree, row_id, parent_id):
            raise Conflict("A task cannot be below itself.", loop=[row_id, parent_id])


async def _parents_of(unit: Unit, writes: Sequence[Write], wanted: Collection[int]) -> tuple[set[int], bool]:
    """Parents that the writes name, and whether anything gets another one; as of before the locks."""
    peeked = (await tasks.read_held(unit.tx, unit.tenant_id, wanted)).held() if wanted else {}
    parents: set[int] = set()
    is_moving = False
    for one in writes:
        held = None if one.task_id is None else peeked.get(one.task_id)
        if one.task_id is not None and held is None:
            continue
        parent_id = one.change(_NOTHING if held is None else fields_of(held.row)).parent_task_id
        if parent_id is not None:
            parents.add(parent_id)
            is_moving = is_moving or held is None or held.row.parent_task_id != parent_id
    return parents, is_moving


def _write_one(place: _Place, one: Write, ids: list[int]) -> Held:
    desk, changes = place.desk, place.desk.changes
    if one.task_id is None:
        fields = one.change(_NOTHING)
        place.check_parent(one, None, None, fields.parent_task_id)
        return changes.create(made(ids.pop(0), desk.viewer.caller.tenant_id, fields, changes.doer_id, changes.now))
    held = desk.find(one.task_id)
    require_version(held.row, one.versions)
    desk.viewer.require_work(held)
    fields = one.change(fields_of(held.row))
    place.check_parent(one, held.row.id, held.row.parent_task_id, fields.parent_task_id)
    try:
        after = written(held.row, fields, changes.now)
    except IllegalMove as illegal:
        raise illegal_move(illegal) from None
    if held.row.status in OPEN and after.status not in OPEN and desk.has_open_below(held.row.id):
        raise Conflict("The task has open subtasks.", state=held.row.status)
    changes.put(held, after, "update")
    place.tree[held.row.id] = after.parent_task_id
    return held


def _names(entries: Iterable[History]) -> list[str]:
    """Of the fields that were changed."""
    return sorted({name for entry in entries if entry.action == "update" for name in entry.changes})


async def change_status(
    deps: Deps,
    caller: Caller,
    task_id: int,
    wanted: Status,
    *,
    cascade: bool = False,
    versions: tuple[int, ...] | None = None,
) -> Outcome[NamedTask]:
    """Start, complete, cancel or reopen one. With `cascade`, what is open below it is closed with it.

    Raises:
        NotFound, Forbidden, PreconditionFailed
        Conflict: an illegal move, naming the state; or open subtasks.
    """

    closes = wanted not in OPEN
    if not (closes and cascade):

        def decide(desk: Desk) -> TaskRow:
            held, after = _moved(desk, task_id, wanted, versions)
            if closes and desk.has_open_below(task_id):
                raise Conflict("The task has open subtasks.", state=held.row.status)
            desk.changes.put(held, after, wanted)
            desk.audit("status", task_id, status=wanted)
            return held.row

        return await perform_joint(
            deps, caller, TaskJoint(decide=decide, shown=NamedTask, task_id=task_id, closes=closes)
        )

    async def work(unit: Unit) -> NamedTask:
        viewer = await viewer_of(unit.tx, caller)
        await tasks.lock_tree(unit.tx, unit.tenant_id, shared=True)
        tree = await tasks.read_tree(unit.tx, unit.tenant_id, [task_id], TREE_MAX + 1)
        below = _bounded([below_id for below_id, _ in tree])
        changes, found, _ = await take(unit, [task_id, *below])
        held, after = _moved(Desk(viewer, changes, found, {}, ()), task_id, wanted, versions)
        for one in (found[below_id] for below_id in below if below_id in found):
            if one.row.status in OPEN:
                changes.put(one, move(one.row, wanted, changes), wanted)
        changes.put(held, after, wanted)
        await settle(unit, changes)
        audit(unit, "status", changes.updated, status=wanted)
        return await _named(unit, held)

    return await perform(deps, caller, work)


def _moved(desk: Desk, task_id: int, wanted: Status, versions: tuple[int, ...] | None) -> tuple[Held, TaskRow]:
    """A task, and what it is in another status. Raises what `change_status` does."""
    held = desk.find(task_id)
    require_version(held.row, versions)
    desk.viewer.require_work(held)
    return held, move(held.row, wanted, desk.changes)


async def _named(unit: Unit, held: Held) -> NamedTask:
    return (await with_names(unit.tx, unit.tenant_id, NamedTask, [held.row]))[0]


async def claim(deps: Deps, caller: Caller, task_id: int) -> Outcome[NamedTask]:
    """Take a task that nobody is assigned to. One wins, however many claim; for the winner it is idempotent.

    Raises:
        NotFound: it was never the caller's to claim.
        Conflict: somebody else has it (`winner`), or it is closed.
    """

    def decide(desk: Desk) -> TaskRow:
        held = desk.held(task_id)
        viewer = desk.viewer
        user_id = viewer.user_id
        # Whoever was late may know of it all the same: it was theirs to claim.
        if held is None or user_id is None or not (viewer.knows(held) or viewer.is_in_group(held.row)):
            raise NotFound("There is no such task.")
        if held.row.assigned_to == user_id:
            return held.row
        if held.row.assigned_to is not None:
            raise Conflict("Somebody else has claimed the task.", winner=held.row.assigned_to)
        if held.row.status not in OPEN:
            raise Conflict(f"A task that is {held.row.status} cannot be claimed.", state=held.row.status)
        desk.changes.put(held, msgspec.structs.replace(held.row, assigned_to=user_id), "claim")
        desk.audit("claim", task_id)
        return held.row

    return await perform_joint(deps, caller, TaskJoint(decide=decide, shown=NamedTask, task_id=task_id))


async def delete(
    deps: Deps, caller: Caller, task_id: int, *, cascade: bool, versions: tuple[int, ...] | None = None
) -> Outcome[None]:
    """Delete one, by who made it or an overseer; its subtasks only with `cascade`.

    Raises:
        NotFound, Forbidden, PreconditionFailed
        Conflict: it has subtasks.
    """

    async def work(unit: Unit) -> None:
        viewer = await viewer_of(unit.tx, caller)
        await tasks.lock_tree(unit.tx, unit.tenant_id)
        below = _bounded([one for one, _ in await tasks.read_tree(unit.tx, unit.tenant_id, [task_id], TREE_MAX + 1)])
        changes, found, _ = await take(unit, [task_id, *below])
        held = viewer.find(found, task_id)
        require_version(held.row, versions)
        if not viewer.is_overseer and held.row.created_by != viewer.user_id:
            raise Forbidden("Only who made the task, or a supervisor, deletes it.")
        if below and not cascade:
            raise Conflict("The task has subtasks.", subtasks=len(below))
        for below_id in below:
            if below_id in found:
                changes.delete(found[below_id])
        changes.delete(held)
        await settle(unit, changes)
        audit(unit, "delete", changes.deleted)

    return await perform(deps, caller, work)


def _bounded(below: list[int]) -> list[int]:
    if len(below) > TREE_MAX:
        raise Conflict(f"The task has more than {TREE_MAX} subtasks: close or delete them in parts.")
    return below
