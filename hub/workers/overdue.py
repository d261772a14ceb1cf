"""The loop over tasks that time does something to: within a second or two of its instant, on whichever node."""

from __future__ import annotations

from typing import Final

from hub.app.deps import Deps
from hub.app.task_time import wake_due
from hub.store import upkeep
from hub.workers.due import DueWorker

TASKS_INTERVAL_S: Final = 2.0
"""Overdue is promised within 30 s of the due date."""


def due_tasks(deps: Deps) -> DueWorker:
    """The step of that loop: tenants beside each other, tasks of one in small sets."""

    async def find(lim: int) -> list[tuple[str, int]]:
        async with deps.database.system() as tx:
            return await upkeep.find_due_tasks(tx, lim)

    return DueWorker(deps, find, wake_due)
