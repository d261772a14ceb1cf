"""Every trace of a person in PostgreSQL: to be forgotten, in parts, or to be shown.

What is forgotten and what only loses its author is said statement by statement in `queries/erasure.sql`; a test
looks through every table of the catalog for what was left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from hub.core.task import Task
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("erasure")

_PARTS: Final = tuple(
    name for name in _SQL if name.startswith("erase_") or (name.startswith("leave_") and name != "leave_tasks")
)
_LAST: Final = tuple(name for name in _SQL if name.startswith("end_"))
_EXPORT: Final = tuple(name for name in _SQL if name.startswith("export_"))

ANSWERS_MAX: Final = 500
"""Kept answers looked through by one statement: that of a bulk may be a megabyte."""

AnswerKey = tuple[int, str, str, str]
"""(user, method, path, key) of a kept answer within its tenant."""

BEFORE_ALL: Final[AnswerKey] = (-(2**63), "", "", "")


async def begin(tx: Tx, tenant_id: str, user_id: int) -> bool:
    """Mark the person as being erased, under the lock of their stream. False where they are already."""
    return await tx.fetchval(_SQL["begin_erasing"], tenant_id, user_id) is not None


async def go_on(tx: Tx, tenant_id: str, user_id: int) -> datetime | None:
    """Say, under the lock of their stream, that the erasing goes on; the instant of it. None: it has ended."""
    return await tx.fetchval(_SQL["go_on_erasing"], tenant_id, user_id)


async def take(tx: Tx, tenant_id: str, user_id: int, idle: timedelta) -> bool:
    """Take over an erasing that nobody has gone on with for `idle`. False: another has it in hand, or it has ended."""
    return await tx.fetchval(_SQL["take_erasing"], tenant_id, user_id, idle) is not None


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


async def find_told_by(tx: Tx, tenant_id: str, user_id: int, rows_max: int, users_max: int) -> list[int]:
    """Some users, ascending, who have a notification of this user's, by at most so many rows; no lock."""
    rows = await tx.fetch(_SQL["find_told_by"], tenant_id, user_id, rows_max, users_max)
    return [row["user_id"] for row in rows]


async def forget_author(tx: Tx, tenant_id: str, user_id: int, told: Sequence[int], rows_max: int) -> None:
    """Nobody is the author any more of at most so many that this user told those, whose streams are locked."""
    await tx.execute(_SQL["forget_author"], tenant_id, user_id, list(told), rows_max)


async def is_on_others(tx: Tx, tenant_id: str, user_id: int) -> bool:
    """Whether the user is on a task still, or the author of what others were told."""
    return await tx.fetchval(_SQL["is_on_others"], tenant_id, user_id)


async def blank_answers(tx: Tx, tenant_id: str, user_id: int, after: AnswerKey) -> AnswerKey | None:
    """Of the next `ANSWERS_MAX` kept answers, those that tell of this user lose their content.

    The key to go on after; None where there are no more.
    """
    rows = await tx.fetch(_SQL["find_answers"], tenant_id, user_id, *after, ANSWERS_MAX)
    last: AnswerKey | None = None
    for row in rows:
        last = (row[0], row[1], row[2], row[3])
        if row["tells"]:
            await tx.execute(_SQL["blank_answer"], tenant_id, *last)
    return last if len(rows) == ANSWERS_MAX else None


async def erase_part(tx: Tx, tenant_id: str, user_id: int, rows_max: int) -> int:
    """Delete, or take the user out of, at most so many rows. How many it were: fewer where nothing is left.

    Under the lock of their stream.
    """
    done = 0
    for name in _PARTS:
        if done >= rows_max:
            break
        status = await tx.execute(_SQL[name], tenant_id, user_id, rows_max - done)
        done += int(status.rpartition(" ")[2])
    return done


async def finish(tx: Tx, tenant_id: str, user_id: int, *, erased_seq: int, answers_since: datetime) -> None:
    """Delete the few rows that go last, and unmark the person. Under the lock of their stream.

    `erased_seq` is the number that their `inbox.erased` will have; `answers_since` the instant from which on
    answers may have been kept behind the back of `blank_answers`.
    """
    for name in _LAST:
        await tx.execute(_SQL[name], tenant_id, user_id)
    await tx.execute(_SQL["blank_recent_answers"], tenant_id, user_id, answers_since)
    await tx.execute(_SQL["mark_erased"], tenant_id, user_id, erased_seq)


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
