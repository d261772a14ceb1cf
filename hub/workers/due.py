"""What is due now, on whichever node asks first: holds that end, notifications that expire.

Owns the fair sharing: tenants run beside each other, a tenant whose step is slow is passed over until it has
ended, and its users go in small sets. Does not own what happens to them (`hub.app.due`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hub.app.deps import Deps

USERS_MAX: Final = 500
"""Users asked for at once, of all tenants in turn; more are there at the next step, at once."""
SET_MAX: Final = 20
"""Users of one transaction: their streams are locked for some milliseconds."""
TENANTS_AT_ONCE: Final = 3
"""Connections that this may take of the pool."""

PATIENCE_S: Final = 1.0
"""After this it is asked again who has something due, however slow those are that are being done."""

Find = Callable[[int], Awaitable[list[tuple[str, int]]]]
Do = Callable[[Deps, str, Sequence[int]], Awaitable[int]]


class DueWorker:
    """A step of finding and doing. `find(lim)` answers (tenant, user), tenants in turn."""

    def __init__(self, deps: Deps, find: Find, do: Do) -> None:
        self._deps = deps
        self._find = find
        self._do = do
        self._running: dict[str, asyncio.Task[int]] = {}
        self._slots = asyncio.Semaphore(TENANTS_AT_ONCE)

    async def step(self) -> tuple[int, bool]:
        """Do what is due, tenant by tenant. Waits for the quickest to end, not for the slowest, and not for long.

        Raises what the doing of a tenant raised, once the others have been begun.
        """
        due = await self._find(USERS_MAX)
        by_tenant: dict[str, list[int]] = {}
        for tenant_id, user_id in due:
            by_tenant.setdefault(tenant_id, []).append(user_id)
        for tenant_id, user_ids in by_tenant.items():
            if tenant_id not in self._running:
                self._running[tenant_id] = asyncio.create_task(self._do_tenant(tenant_id, user_ids))
        if not self._running:
            return 0, False
        ended, _ = await asyncio.wait(self._running.values(), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        done = self._collect(ended)
        return done, done > 0

    async def close(self) -> None:
        """Stop what runs; what was open is rolled back, and due still."""
        for runner in self._running.values():
            runner.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()

    async def _do_tenant(self, tenant_id: str, user_ids: list[int]) -> int:
        done = 0
        for start in range(0, len(user_ids), SET_MAX):
            async with self._slots:
                done += await self._do(self._deps, tenant_id, user_ids[start : start + SET_MAX])
        return done

    def _collect(self, ended: set[asyncio.Task[int]]) -> int:
        for tenant_id in [tenant_id for tenant_id, runner in self._running.items() if runner in ended]:
            del self._running[tenant_id]
        failures = [error for runner in ended if (error := runner.exception()) is not None]
        if failures:
            raise failures[0]
        return sum(runner.result() for runner in ended)
