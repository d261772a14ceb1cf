"""Looking at tasks: one, its tree, lists, figures, comments, assignments, history.

Reads take no lock. Each comes from one snapshot, the caller's position with the rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Conflict, Forbidden, Invalid
from hub.app.names import NamedAssignment, NamedComment, NamedEntry, NamedTask, with_names
from hub.app.task_desk import OVERSEERS, TREE_MAX, Viewer, seen_by, viewer_of
from hub.app.unit import Outcome, Position
from hub.store import streams, task_lists, tasks
from hub.store.pool import Tx
from hub.store.task_lists import Asked

T = TypeVar("T")


class TaskView(NamedTask, kw_only=True):
    """One task, with its direct subtasks and its comments counted."""

    subtasks_count: int
    comments_count: int


class TaskTree(NamedTask, kw_only=True):
    """A task with all that is below it."""

    subtasks: list[TaskTree]


class ListedTask(msgspec.Struct):
    """A task of a page, with its place in the order."""

    task: NamedTask
    key: str


class Page(msgspec.Struct, Generic[T]):
    """One page; `total` only where it was asked for."""

    items: list[T]
    total: int | None


class Figures(msgspec.Struct):
    """`completion_rate` of all, None where there are none; `mean_completion_s` seconds from creation."""

    user_id: int | None
    total: int
    by_status: dict[str, int]
    by_priority: dict[str, int]
    overdue: int
    completion_rate: float | None
    mean_completion_s: float | None


async def _look(
    deps: Deps, caller: Caller, read: Callable[[Tx, Viewer], Awaitable[T]], *, is_list: bool = False
) -> Outcome[T]:
    async with deps.database.snapshot(caller.tenant_id, plans_anew=is_list) as tx:
        viewer = await viewer_of(tx, caller)
        assert viewer.user_id is not None
        standing = await streams.read_standing(tx, caller.tenant_id, viewer.user_id)
        result = await read(tx, viewer)
    return Outcome(result, None, Position(standing.epoch, standing.head))


async def _see(tx: Tx, viewer: Viewer, task_id: int) -> TaskView:
    tenant_id = viewer.caller.tenant_id
    seen = seen_by(viewer, await tasks.read_visible(tx, tenant_id, task_id, viewer.user_id))
    (task,) = await with_names(tx, tenant_id, NamedTask, [seen.task])
    return TaskView(
        **msgspec.structs.asdict(task),
        subtasks_count=seen.subtasks_count,
        comments_count=seen.comments_count,
    )


async def read_task(deps: Deps, caller: Caller, task_id: int) -> Outcome[TaskView]:
    """One task. Raises `NotFound`, `Forbidden` (a service)."""

    async def read(tx: Tx, viewer: Viewer) -> TaskView:
        return await _see(tx, viewer, task_id)

    return await _look(deps, caller, read)


async def read_subtasks(deps: Deps, caller: Caller, task_id: int) -> Outcome[list[TaskTree]]:
    """The tree below a task: who may know of a task may know what it is made of.

    Raises:
        NotFound, Forbidden
        Conflict: it is too large to be answered whole.
    """

    async def read(tx: Tx, viewer: Viewer) -> list[TaskTree]:
        await _see(tx, viewer, task_id)
        rows = await tasks.read_subtree(tx, caller.tenant_id, task_id, TREE_MAX + 1)
        if len(rows) > TREE_MAX:
            raise Conflict(f"The task has more than {TREE_MAX} subtasks: ask for those of a part.")
        below: dict[int, TaskTree] = {}
        first: list[TaskTree] = []
        for row in await with_names(tx, caller.tenant_id, NamedTask, rows):
            node = below[row.id] = TaskTree(**msgspec.structs.asdict(row), subtasks=[])
            parent = None if row.parent_task_id is None else below.get(row.parent_task_id)
            (first if parent is None else parent.subtasks).append(node)
        return first

    return await _look(deps, caller, read)


async def list_tasks(deps: Deps, caller: Caller, asked: Asked, *, with_total: bool) -> Outcome[Page[ListedTask]]:
    """One page of what the caller may see. Raises `Forbidden` where an agent asks for somebody else's."""
    principal = caller.principal
    if principal.role not in OVERSEERS:
        if asked.assigned_to is not None and asked.assigned_to != principal.user_id:
            raise Forbidden("Only a supervisor asks for the tasks of somebody else.")
        asked = replace(asked, visible_to=principal.user_id)
    for name in ("due_before", "due_after"):
        at: datetime | None = getattr(asked, name)
        if at is not None and at.tzinfo is None:
            raise Invalid([(f"query.{name}", "Must have an offset.")])

    async def read(tx: Tx, viewer: Viewer) -> Page[ListedTask]:
        tenant_id = viewer.caller.tenant_id
        rows = await task_lists.read_page(tx, tenant_id, asked)
        total = await task_lists.count_all(tx, tenant_id, asked) if with_total else None
        named = await with_names(tx, tenant_id, NamedTask, [one.row for one in rows])
        return Page([ListedTask(task, one.key) for task, one in zip(named, rows, strict=True)], total)

    return await _look(deps, caller, read, is_list=True)


async def read_figures(deps: Deps, caller: Caller, user_id: int | None) -> Outcome[Figures]:
    """An agent's own work; for an overseer anyone's, or the whole tenant's. Raises `Forbidden`."""
    principal = caller.principal
    if principal.role not in OVERSEERS:
        if user_id is not None and user_id != principal.user_id:
            raise Forbidden("Only a supervisor sees the figures of somebody else.")
        user_id = principal.user_id

    async def read(tx: Tx, viewer: Viewer) -> Figures:
        stats = await tasks.read_stats(tx, viewer.caller.tenant_id, user_id)
        return Figures(
            user_id=user_id,
            total=stats.total,
            by_status={"pending": 0, "in_progress": 0, "completed": 0, "overdue": 0, "cancelled": 0} | stats.by_status,
            by_priority={"critical": 0, "high": 0, "normal": 0, "low": 0} | stats.by_priority,
            overdue=stats.overdue,
            completion_rate=stats.completed / stats.total if stats.total else None,
            mean_completion_s=stats.mean_completion_s,
        )

    return await _look(deps, caller, read)


async def list_comments(
    deps: Deps,
    caller: Caller,
    task_id: int,
    after: tuple[datetime, int] | None,
    limit: int,
    offset: int,
    *,
    with_total: bool,
) -> Outcome[Page[NamedComment]]:
    """One page, oldest first. Raises `NotFound`, `Forbidden`."""

    async def read(tx: Tx, viewer: Viewer) -> Page[NamedComment]:
        await _see(tx, viewer, task_id)
        comments = await tasks.read_comments(tx, caller.tenant_id, task_id, after, limit, offset)
        items = await with_names(tx, caller.tenant_id, NamedComment, comments)
        return Page(items, await tasks.count_comments(tx, caller.tenant_id, task_id) if with_total else None)

    return await _look(deps, caller, read)


async def list_assignments(deps: Deps, caller: Caller, task_id: int) -> Outcome[list[NamedAssignment]]:
    """Everyone who is assigned to it. Raises `NotFound`, `Forbidden`."""

    async def read(tx: Tx, viewer: Viewer) -> list[NamedAssignment]:
        await _see(tx, viewer, task_id)
        assignments = await tasks.read_assignments(tx, caller.tenant_id, task_id)
        return await with_names(tx, caller.tenant_id, NamedAssignment, assignments)

    return await _look(deps, caller, read)


async def list_history(
    deps: Deps, caller: Caller, task_id: int, before: int | None, limit: int, offset: int, *, with_total: bool
) -> Outcome[Page[NamedEntry]]:
    """One page, newest first. Raises `NotFound`, `Forbidden`."""

    async def read(tx: Tx, viewer: Viewer) -> Page[NamedEntry]:
        await _see(tx, viewer, task_id)
        entries = await tasks.read_history(tx, caller.tenant_id, task_id, before, limit, offset)
        items = await with_names(tx, caller.tenant_id, NamedEntry, entries)
        return Page(items, await tasks.count_history(tx, caller.tenant_id, task_id) if with_total else None)

    return await _look(deps, caller, read)
