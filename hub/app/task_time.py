"""What time does to tasks: reminders of a deadline, and becoming overdue. Any node may do it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from hub.app.deps import Deps
from hub.app.due import clock_of
from hub.app.task_desk import settle
from hub.app.unit import Unit, perform
from hub.core.task import OPEN, is_late, next_wake, overdue
from hub.core.task_changes import TaskChanges
from hub.core.task_news import Held
from hub.store import tasks


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
