"""The loops of a node over what is due. Every node runs all of them; none needs another to be alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from hub.app.broadcasts import fan_out
from hub.app.deps import Deps
from hub.app.due import expire_due, release_due
from hub.app.erasure import IDLE_S, resume_erasures
from hub.auth.revocations import Revocation, Revocations
from hub.store import partitions, people, upkeep
from hub.store.pool import Tx
from hub.workers.due import DueWorker
from hub.workers.overdue import TASKS_INTERVAL_S, due_tasks
from hub.workers.runner import Worker, WorkerStatistics

RELEASE_INTERVAL_S: Final = 1.0
EXPIRE_INTERVAL_S: Final = 1.0
"""What expires is to be gone within 5 s of its time."""
BROADCAST_INTERVAL_S: Final = 1.0
ERASE_INTERVAL_S: Final = 5.0
"""For what somebody died of, or could not wait for."""
REVOKE_INTERVAL_S: Final = 1.0
"""A revoked user's sockets are to be closed within 5 s, on all nodes."""
FORGET_INTERVAL_S: Final = 60.0
PARTITIONS_INTERVAL_S: Final = 3600.0
DAYS_AHEAD: Final = 7
"""A hub whose upkeep fails still has partitions for a week."""
KEYS_MAX: Final = 5000

_Read = Callable[[Tx, int], Awaitable[list[tuple[str, int]]]]

OnRevoked = Callable[[str, int, float], None]
"""(tenant, user, seconds of the wall clock): close the sockets whose tokens were issued no later."""


class Workers:
    """The loops of one node, started once the schema is there."""

    def __init__(self, workers: list[Worker], due: list[DueWorker]) -> None:
        self._workers = workers
        self._due = due
        self._runners: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. Idempotent."""
        if not self._runners:
            self._runners = [asyncio.create_task(worker.run(), name=worker.name) for worker in self._workers]

    async def stop(self) -> None:
        """End all; what was open is rolled back, and due still. Idempotent."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._runners = []
        for due in self._due:
            await due.close()

    def statistics(self) -> dict[str, WorkerStatistics]:
        return {worker.name: worker.statistics() for worker in self._workers}


def background_workers(
    deps: Deps, *, revocations: Revocations, on_revoked: OnRevoked, owner_url: str | None = None
) -> Workers:
    """The loops of a node. `owner_url` is the database as a role that may drop old partitions; without it they stay."""
    release = DueWorker(deps, _find(deps, upkeep.find_due_releases), release_due)
    expire = DueWorker(deps, _find(deps, upkeep.find_due_expiries), expire_due)
    broadcasts = DueWorker(deps, _find(deps, upkeep.find_due_broadcasts), fan_out)
    erasures = DueWorker(deps, _find(deps, _find_idle_erasures), resume_erasures)
    tasks = due_tasks(deps)
    days = _Days(deps, owner_url)
    clock = deps.clock
    return Workers(
        [
            Worker("release", RELEASE_INTERVAL_S, release.step, clock, deps.wakes.release),
            Worker("expire", EXPIRE_INTERVAL_S, expire.step, clock),
            Worker("broadcasts", BROADCAST_INTERVAL_S, broadcasts.step, clock, deps.wakes.broadcast),
            Worker("erasures", ERASE_INTERVAL_S, erasures.step, clock),
            Worker("tasks", TASKS_INTERVAL_S, tasks.step, clock),
            Worker("revocations", REVOKE_INTERVAL_S, _Revoking(deps, revocations, on_revoked).step, clock),
            Worker("idempotency", FORGET_INTERVAL_S, _forgetting(deps), clock),
            Worker("partitions", PARTITIONS_INTERVAL_S, days.step, clock),
        ],
        [release, expire, broadcasts, erasures, tasks],
    )


def _find(deps: Deps, read: _Read) -> Callable[[int], Awaitable[list[tuple[str, int]]]]:
    async def find(lim: int) -> list[tuple[str, int]]:
        async with deps.database.system() as tx:
            return await read(tx, lim)

    return find


async def _find_idle_erasures(tx: Tx, lim: int) -> list[tuple[str, int]]:
    return await upkeep.find_due_erasures(tx, lim, timedelta(seconds=IDLE_S))


def _forgetting(deps: Deps) -> Callable[[], Awaitable[tuple[int, bool]]]:
    async def step() -> tuple[int, bool]:
        async with deps.database.system() as tx:
            forgotten = await upkeep.forget_keys(tx, timedelta(hours=deps.settings.idempotency_ttl_h), KEYS_MAX)
        return forgotten, forgotten == KEYS_MAX

    return step


class _Days:
    """Makes the log's days ahead, and drops those past retention."""

    def __init__(self, deps: Deps, owner_url: str | None) -> None:
        self._deps = deps
        self._owner_url = owner_url

    async def step(self) -> tuple[int, bool]:
        made = await partitions.make_ahead(self._deps.database, DAYS_AHEAD)
        dropped: list[str] = []
        if self._owner_url is not None:
            dropped = await partitions.drop_behind(self._owner_url, self._deps.settings.events_retention_days)
        return len(made) + len(dropped), False


class _Revoking:
    """Learns who was revoked, on whichever node, and has their sockets here closed."""

    def __init__(self, deps: Deps, revocations: Revocations, on_revoked: OnRevoked) -> None:
        self._deps = deps
        self._revocations = revocations
        self._on_revoked = on_revoked
        self._since: datetime | None = None

    async def step(self) -> tuple[int, bool]:
        async with self._deps.database.system() as tx:
            rows = await people.read_revocations(tx, self._since)
        fresh = self._revocations.apply([Revocation(*row) for row in rows])
        if rows:
            self._since = max(revoked_at for _, _, revoked_at in rows)
        for one in fresh:
            self._on_revoked(one.tenant_id, one.user_id, one.revoked_at.timestamp())
        return len(fresh), False
