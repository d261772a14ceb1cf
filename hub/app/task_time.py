"""What time does to tasks: reminders of a deadline, and becoming overdue. Any node may do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.due import clock_of
from hub.app.task_desk import settle
from hub.app.unit import Unit, perform
from hub.core.task import OPEN, is_late, next_wake, overdue, replanned
from hub.core.task_changes import TaskChanges
from hub.core.task_news import Held
from hub.store import tasks

REPLANNED_MAX: Final = 500
"""Tasks locked by one part of a planning anew."""


async def wake_due(deps: Deps, tenant_id: str, task_ids: Sequence[int]) -> int:
    """Do what is due of these tasks, once; what another node has in hand is passed over. Returns how many."""

    async def work(unit: Unit) -> int:
        mine = await tasks.claim_due(unit.tx, tenant_id, task_ids)
        if not mine:
            return 0
        taken = await tasks.read_held(unit.tx, tenant_id, mine)
        changes = TaskChanges(taken.now, None, taken.reminder_minutes)
        for held in taken.held().values():
            _wake(changes, held, taken.reminder_minutes)
        await settle(unit, changes)
        late = [row.id for row in changes.updated.values() if row.status == "overdue"]
        if late:
            unit.audit("task.overdue", "task", late[0] if len(late) == 1 else None, ids=late)
        return len(mine)

    outcome = await perform(deps, clock_of(tenant_id), work)
    return outcome.result or 0


async def replan_reminders(deps: Deps, caller: Caller) -> None:
    """Move the reminders that are still to come to where the tenant's settings have them now.

    A bounded part a transaction, each harmless to repeat: asked again after a death, it goes on.
    """
    last: int | None = 0
    while last is not None:

        async def part(unit: Unit, after: int = last) -> int | None:
            ids = await tasks.lock_reminded(unit.tx, unit.tenant_id, after, REPLANNED_MAX)
            if not ids:
                return None
            taken = await tasks.read_held(unit.tx, unit.tenant_id, ids)
            rows = [held.row for held in taken.held().values()]
            wakes = {row.id: replanned(row, taken.now, taken.reminder_minutes) for row in rows}
            await tasks.replan(unit.tx, unit.tenant_id, wakes)
            return ids[-1]

        last = (await perform(deps, replace(caller, once=None), part)).result


def _wake(changes: TaskChanges, held: Held, reminder_minutes: int) -> None:
    now = changes.now
    if is_late(held.row, now):
        changes.put(held, overdue(held.row), "overdue")
    if held.row.status in OPEN:
        # Several reminders that have come together, after a night without a hub, are one.
        changes.remind(held)
    after = replace(held.row, wake_at=next_wake(held.row, now, reminder_minutes))
    held.row = after
    changes.updated[after.id] = after
