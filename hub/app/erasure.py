"""Forgetting a person, and showing one what is known of them.

Forgetting begins with what they share with others, a bounded set of rows a transaction, each harmless to repeat;
the last transaction takes all that is their own. Asked again after a death, it goes on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import require
from hub.app.unit import Outcome, Unit, perform
from hub.core.changes import ERASED
from hub.core.counts import Counts
from hub.core.task_changes import UPDATED as TASK_UPDATED
from hub.core.task_changes import BoardChange
from hub.core.topics import tasks_topic
from hub.store import erasure

TASKS_MAX: Final = 50
"""Tasks of one part, with the streams of all who are on them."""
USERS_MAX: Final = 200
"""Streams locked by one part."""
EXPORT_MAX: Final = 10_000
"""Rows of one section: an export is made in memory."""


class Export(msgspec.Struct, kw_only=True):
    """All that is known of a user, by section, the newest first. `truncated` names sections that have more rows."""

    user_id: int
    exported_at: datetime
    truncated: list[str]
    sections: dict[str, list[dict[str, Any]]]


async def erase_user(deps: Deps, caller: Caller, user_id: int) -> Outcome[None]:
    """Delete a person's content, events, addresses; take them out of what they share with others.

    The number of their last event stays and goes on with `inbox.erased`, so that a device forgets them whenever it
    comes. The trail keeps the fact. Being addressed later begins anew. Idempotent.

    Raises:
        Forbidden: for an admin only.
    """
    require(caller, ("admin",))
    while (await perform(deps, caller, lambda unit: _leave_tasks(unit, user_id))).result:
        pass
    await _forget_author(deps, caller, user_id)

    async def work(unit: Unit) -> None:
        await unit.lock([user_id])
        facts = await unit.read_facts()
        inbox = unit.changes.inboxes[user_id]
        await erasure.erase(unit.tx, unit.tenant_id, user_id, inbox.head + 1)
        inbox.append(ERASED, "normal", facts.now, {}, counts=Counts())
        unit.audit("user.erase", "user", user_id)

    return await perform(deps, caller, work)


async def _leave_tasks(unit: Unit, user_id: int) -> int:
    """One part. Whoever else is on a task is told of it."""
    task_ids = await erasure.lock_tasks_of(unit.tx, unit.tenant_id, user_id, TASKS_MAX)
    if not task_ids:
        return 0
    people = await erasure.read_people_on(unit.tx, unit.tenant_id, user_id, task_ids)
    await unit.lock({one for on_it in people.values() for one in on_it})
    facts = await unit.read_facts()
    tasks = await erasure.leave_tasks(unit.tx, unit.tenant_id, user_id, task_ids)
    board = [
        BoardChange(task.id, task.version, task.status, task.assigned_to, (task.group,), task.assigned_to is None)
        for task in tasks
    ]
    unit.said.append((tasks_topic(unit.tenant_id), msgspec.msgpack.encode(board)))
    for task in tasks:
        for one in people[task.id]:
            unit.changes.inboxes[one].append(TASK_UPDATED, task.priority, facts.now, task)
    unit.audit("task.leave", "user", user_id, ids=task_ids)
    return len(task_ids)


async def _forget_author(deps: Deps, caller: Caller, user_id: int) -> None:
    last: int | None = 0
    while last is not None:

        async def part(unit: Unit, after: int = last) -> int | None:
            told = await erasure.find_told_by(unit.tx, unit.tenant_id, user_id, after, USERS_MAX)
            if not told:
                return None
            await unit.lock(told)
            await erasure.forget_author(unit.tx, unit.tenant_id, user_id, told)
            return told[-1]

        last = (await perform(deps, caller, part)).result


async def export_user(deps: Deps, caller: Caller, user_id: int) -> Export:
    """All that is known of a user; that it was asked for is in the trail. Raises `Forbidden` but for an admin."""
    require(caller, ("admin",))

    async def work(unit: Unit) -> Export:
        facts = await unit.read_facts()
        found = await erasure.export(unit.tx, unit.tenant_id, user_id, EXPORT_MAX + 1)
        truncated = [name for name, rows in found.items() if len(rows) > EXPORT_MAX]
        unit.audit("user.export", "user", user_id)
        sections = {name: rows[:EXPORT_MAX] for name, rows in found.items()}
        return Export(user_id=user_id, exported_at=facts.now, truncated=truncated, sections=sections)

    outcome = await perform(deps, caller, work)
    assert outcome.result is not None
    return outcome.result
