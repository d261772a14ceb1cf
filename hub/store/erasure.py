"""Every trace of a person in PostgreSQL: to be forgotten, or to be shown.

What is forgotten and what only loses its author is said statement by statement in `queries/erasure.sql`; a test
looks through every table of the catalog for what was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from hub.core.task import Task
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("erasure")

_ERASE: Final = tuple(name for name in _SQL if name.startswith("erase_"))
_LEAVE: Final = tuple(name for name in _SQL if name.startswith("leave_") and name != "leave_tasks")
_EXPORT: Final = tuple(name for name in _SQL if name.startswith("export_"))


ANSWERS_MAX: Final = 5000
"""Kept answers looked through by one statement."""


async def lock_tasks_of(tx: Tx, tenant_id: str, user_id: int, count_max: int) -> list[int]:
    """Tasks that the user is on or made, ascending; locked until the end. Before any stream."""
    return [row["id"] for row in await tx.fetch(_SQL["find_tasks_of"], tenant_id, user_id, count_max)]


async def read_people_on(tx: Tx, tenant_id: str, user_id: int, task_ids: Sequence[int]) -> dict[int, list[int]]:
    """Who else is on these tasks, by task."""
    found: dict[int, list[int]] = {task_id: [] for task_id in task_ids}
    for row in await tx.fetch(_SQL["read_people_on"], tenant_id, user_id, list(task_ids)):
        found[row["task_id"]].append(row["user_id"])
    return found


async def leave_tasks(tx: Tx, tenant_id: str, user_id: int, task_ids: Sequence[int]) -> list[Task]:
    """Take the user off these locked tasks, whatever they were on them."""
    rows = await tx.fetch(_SQL["leave_tasks"], tenant_id, user_id, list(task_ids))
    return sorted((msgspec.json.decode(row[0], type=Task) for row in rows), key=lambda task: task.id)


async def find_told_by(tx: Tx, tenant_id: str, user_id: int, after: int, count_max: int) -> list[int]:
    """Users above `after`, ascending, who have a notification of this user's; no lock."""
    return [row["user_id"] for row in await tx.fetch(_SQL["find_told_by"], tenant_id, user_id, after, count_max)]


async def forget_author(tx: Tx, tenant_id: str, user_id: int, told: Sequence[int]) -> None:
    """Nobody is the author any more of what this user told those, whose streams are locked."""
    await tx.execute(_SQL["forget_author"], tenant_id, user_id, list(told))


async def erase(tx: Tx, tenant_id: str, user_id: int, erased_seq: int) -> None:
    """Delete what is the user's own, and take them out of what is shared. Under the lock of their stream.

    `erased_seq` is the number that their `inbox.erased` will have.
    """
    for name in (*_ERASE, *_LEAVE):
        await tx.execute(_SQL[name], tenant_id, user_id)
    await _blank_answers(tx, tenant_id, user_id)
    await tx.execute(_SQL["mark_erased"], tenant_id, user_id, erased_seq)


async def _blank_answers(tx: Tx, tenant_id: str, user_id: int) -> None:
    """Answers kept for other callers that tell of this user lose their content."""
    last: tuple[int, str, str, str] | None = (-(2**63), "", "", "")
    while last is not None:
        rows = await tx.fetch(_SQL["find_answers"], tenant_id, user_id, *last, ANSWERS_MAX)
        keys: list[tuple[int, str, str, str]] = [(row[0], row[1], row[2], row[3]) for row in rows]
        for row, key in zip(rows, keys, strict=True):
            if row["tells"]:
                await tx.execute(_SQL["blank_answer"], tenant_id, *key)
        last = keys[-1] if len(keys) == ANSWERS_MAX else None


async def export(tx: Tx, tenant_id: str, user_id: int, count_max: int) -> dict[str, list[dict[str, Any]]]:
    """What is known of the user, by section: at most `count_max` rows of each, the newest."""
    return {
        name.removeprefix("export_"): [
            _dated(row[0]) for row in await tx.fetch(_SQL[name], tenant_id, user_id, count_max)
        ]
        for name in _EXPORT
    }


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its own instants as instants; what is within content stays as it is."""
    return {
        name: datetime.fromisoformat(value)
        if isinstance(value, str) and (name in ("at", "due_date", "quiet_until") or name.endswith(("_at", "_until")))
        else value
        for name, value in row.items()
    }
