"""Tasks in PostgreSQL: locked and written in sets. How they are listed is `hub.store.task_lists`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from hub.core.task import Assignment, AssignmentRole, Comment, Status, TaskRow
from hub.core.task_changes import TaskChanges
from hub.core.task_news import Held
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("tasks")


class Taken(msgspec.Struct):
    """What was read under the locks; `ids` are for new tasks, ascending."""

    now: datetime
    reminder_minutes: int
    ids: list[int]
    tasks: list[TaskRow]
    assignments: list[Assignment]

    def held(self) -> dict[int, Held]:
        """The tasks by id, each with its people."""
        found = {row.id: Held(row, {}) for row in self.tasks}
        for one in self.assignments:
            found[one.task_id].assignments[one.user_id] = one
        for held in found.values():
            own = held.row.assigned_to
            if own is not None and own not in held.assignments:
                held.assignments[own] = Assignment(
                    tenant_id=held.row.tenant_id, task_id=held.row.id, user_id=own, assigned_at=held.row.created_at
                )
        return found


class Seen(msgspec.Struct):
    """A task as one user finds it. `role` is that of the user's assignment."""

    task: TaskRow
    subtasks_count: int
    comments_count: int
    is_in_group: bool
    role: AssignmentRole | None


class Entry(msgspec.Struct, kw_only=True):
    """Who changed what, and when. `changes`: fields by name, each with what it was and what it is."""

    id: int
    task_id: int
    at: datetime
    actor_id: int | None
    actor_role: str
    action: str
    version: int
    changes: dict[str, Any]


class Stats(msgspec.Struct):
    """Tasks in figures."""

    total: int
    by_status: dict[str, int]
    by_priority: dict[str, int]
    overdue: int
    completed: int
    mean_completion_s: float | None


_taken: Final = msgspec.json.Decoder(Taken).decode
_seen: Final = msgspec.json.Decoder(Seen).decode
_comment: Final = msgspec.json.Decoder(Comment).decode
_assignment: Final = msgspec.json.Decoder(Assignment).decode
_entry: Final = msgspec.json.Decoder(Entry).decode
_task: Final = msgspec.json.Decoder(TaskRow).decode


# -- locks -------------------------------------------------------------------------------------------------------------


async def lock_tree(tx: Tx, tenant_id: str, *, shared: bool = False) -> None:
    """Before any task: who moves subtasks about goes alone; who asks whether there are some goes beside others."""
    await tx.execute(_SQL["lock_tree_shared" if shared else "lock_tree"], tenant_id)


async def lock_tasks(tx: Tx, tenant_id: str, ids: Collection[int]) -> None:
    """Lock these, ascending. A statement of its own: what is read comes after it."""
    if ids:
        await tx.execute(_SQL["lock_tasks"], tenant_id, sorted(set(ids)))


async def lock_reminded(tx: Tx, tenant_id: str, after: int, count_max: int) -> list[int]:
    """Lock a part of those that are reminded of before their due date, ascending after an id."""
    return [row["id"] for row in await tx.fetch(_SQL["lock_reminded"], tenant_id, after, count_max)]


async def replan(tx: Tx, tenant_id: str, wakes: Mapping[int, datetime | None]) -> None:
    """Wake these, which are locked, at other instants."""
    if wakes:
        await tx.execute(_SQL["replan_tasks"], tenant_id, list(wakes), list(wakes.values()))


async def claim_due(tx: Tx, tenant_id: str, ids: Collection[int]) -> list[int]:
    """Lock those of these that are due still and that nobody else has in hand."""
    return [row["id"] for row in await tx.fetch(_SQL["claim_due_tasks"], tenant_id, sorted(set(ids)))]


async def read_held(tx: Tx, tenant_id: str, ids: Collection[int], fresh: int = 0) -> Taken:
    """Locked tasks with their people, the clock, and `fresh` ids for new ones. What does not exist is left out."""
    taken = _taken(await tx.fetchval(_SQL["read_held"], tenant_id, list(ids), fresh))
    taken.ids.sort()
    return taken


async def read_tree(tx: Tx, tenant_id: str, ids: Collection[int], count_max: int) -> list[tuple[int, str]]:
    """(id, status) of all that is below these, at any depth, themselves not; at most `count_max`."""
    rows = await tx.fetch(_SQL["read_tree"], tenant_id, list(ids), count_max)
    return [(row["id"], row["status"]) for row in rows]


async def read_below(
    tx: Tx, tenant_id: str, ids: Collection[int], held: Collection[int]
) -> dict[int, list[tuple[int, Status]]]:
    """(id, status) of what is below each of these tasks, at any depth: what is open, and what is of `held`."""
    below: dict[int, list[tuple[int, Status]]] = {}
    for row in await tx.fetch(_SQL["read_below"], tenant_id, list(ids), list(held)):
        below.setdefault(row["root"], []).append((row["id"], row["status"]))
    return below


async def read_parents(tx: Tx, tenant_id: str, ids: Collection[int]) -> dict[int, int | None]:
    """The parent of each of these, and of all above them."""
    return {row["id"]: row["parent"] for row in await tx.fetch(_SQL["read_ancestors"], tenant_id, list(ids))}


# -- writing -----------------------------------------------------------------------------------------------------------


async def write_changes(tx: Tx, tenant_id: str, changes: TaskChanges) -> None:
    """Write what was planned, set by set. What is deleted takes its people, comments and history with it."""
    gone = set(changes.deleted)
    if changes.inserted:
        await tx.execute(_SQL["insert_tasks"], _encode(list(changes.inserted.values())))
    if updated := [row for row in changes.updated.values() if row.id not in gone]:
        await tx.execute(_SQL["update_tasks"], tenant_id, [row.id for row in updated], _encode(updated))
    if changes.unassigned:
        tasks, users = zip(*changes.unassigned, strict=True)
        await tx.execute(_SQL["delete_assignments"], tenant_id, list(tasks), list(users))
    if changes.assigned:
        await tx.execute(_SQL["save_assignments"], tenant_id, _encode(list(changes.assigned.values())))
    if history := [entry for entry in changes.history if entry.task_id not in gone]:
        await tx.execute(_SQL["insert_history"], tenant_id, _encode(history), changes.now)
    if gone:
        await tx.execute(_SQL["delete_tasks"], tenant_id, sorted(gone))


async def insert_comment(
    tx: Tx, tenant_id: str, task_id: int, user_id: int | None, text: str, attachment_urls: Sequence[str], now: datetime
) -> Comment:
    """Keep what was said."""
    comment_id = await tx.fetchval(
        _SQL["insert_comment"], tenant_id, task_id, user_id, text, list(attachment_urls), now
    )
    return Comment(
        id=comment_id,
        tenant_id=tenant_id,
        task_id=task_id,
        user_id=user_id,
        comment=text,
        attachment_urls=list(attachment_urls),
        created_at=now,
        updated_at=now,
    )


async def update_comment(tx: Tx, tenant_id: str, comment: Comment) -> None:
    """Keep what it says now."""
    await tx.execute(
        _SQL["update_comment"], tenant_id, comment.id, comment.comment, comment.attachment_urls, comment.updated_at
    )


async def delete_comment(tx: Tx, tenant_id: str, comment_id: int) -> None:
    """It was never said."""
    await tx.execute(_SQL["delete_comment"], tenant_id, comment_id)


# -- reading -----------------------------------------------------------------------------------------------------------


async def read_visible(tx: Tx, tenant_id: str, task_id: int, user_id: int | None) -> Seen | None:
    """One task, and how the user stands to it; whether they may know of it is not decided here."""
    text = await tx.fetchval(_SQL["read_visible"], tenant_id, task_id, user_id)
    return None if text is None else _seen(text)


async def read_subtree(tx: Tx, tenant_id: str, task_id: int, count_max: int) -> list[TaskRow]:
    """All below a task, parents before their children."""
    return [_task(row[0]) for row in await tx.fetch(_SQL["read_subtree"], tenant_id, task_id, count_max)]


async def read_groups(tx: Tx, tenant_id: str, user_id: int) -> list[str]:
    """The groups that a user is in."""
    return [row["group_name"] for row in await tx.fetch(_SQL["read_groups"], tenant_id, user_id)]


async def read_groups_of(tx: Tx, tenant_id: str, user_ids: Collection[int]) -> dict[int, frozenset[str]]:
    """The groups that each of these users is in; who is in none is not there."""
    groups: dict[int, set[str]] = {}
    for row in await tx.fetch(_SQL["read_groups_of"], tenant_id, list(user_ids)):
        groups.setdefault(row["user_id"], set()).add(row["group_name"])
    return {user_id: frozenset(own) for user_id, own in groups.items()}


async def read_comment(tx: Tx, tenant_id: str, task_id: int, comment_id: int) -> Comment | None:
    """One of this task's."""
    text = await tx.fetchval(_SQL["read_comment"], tenant_id, task_id, comment_id)
    return None if text is None else _comment(text)


async def read_comments(
    tx: Tx, tenant_id: str, task_id: int, after: tuple[datetime, int] | None, limit: int, offset: int
) -> list[Comment]:
    """One page, oldest first."""
    at, last_id = after or (None, None)
    rows = await tx.fetch(_SQL["read_comments"], tenant_id, task_id, at, last_id, limit, offset)
    return [_comment(row[0]) for row in rows]


async def count_comments(tx: Tx, tenant_id: str, task_id: int) -> int:
    """How many there are."""
    return await tx.fetchval(_SQL["count_comments"], tenant_id, task_id)


async def read_assignments(tx: Tx, tenant_id: str, task_id: int) -> list[Assignment]:
    """Everyone who is assigned to it, the longest first."""
    return [_assignment(row[0]) for row in await tx.fetch(_SQL["read_assignments"], tenant_id, task_id)]


async def read_history(
    tx: Tx, tenant_id: str, task_id: int, before: int | None, limit: int, offset: int
) -> list[Entry]:
    """One page, newest first."""
    rows = await tx.fetch(_SQL["read_history"], tenant_id, task_id, before, limit, offset)
    return [_entry(row[0]) for row in rows]


async def count_history(tx: Tx, tenant_id: str, task_id: int) -> int:
    """How many entries there are."""
    return await tx.fetchval(_SQL["count_history"], tenant_id, task_id)


async def read_stats(tx: Tx, tenant_id: str, user_id: int | None) -> Stats:
    """Of one user's work, or of the whole tenant's."""
    if user_id is None:
        text = await tx.fetchval(_SQL["read_stats"], tenant_id)
    else:
        text = await tx.fetchval(_SQL["read_stats_of_user"], tenant_id, user_id)
    return msgspec.json.decode(text, type=Stats)


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
