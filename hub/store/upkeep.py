"""What is asked of all tenants at once: who has something due, and what may be forgotten. Names and times only."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("upkeep")


async def find_due_releases(tx: Tx, lim: int) -> list[tuple[str, int]]:
    """(tenant, user) with something held that is to be judged again now; tenants in turn."""
    return [(row["tenant_id"], row["user_id"]) for row in await tx.fetch(_SQL["find_due_releases"], lim)]


async def find_due_expiries(tx: Tx, lim: int) -> list[tuple[str, int]]:
    """(tenant, user) with something whose time has passed; tenants in turn."""
    return [(row["tenant_id"], row["user_id"]) for row in await tx.fetch(_SQL["find_due_expiries"], lim)]


async def find_due_broadcasts(tx: Tx, lim: int) -> list[tuple[str, int]]:
    """(tenant, broadcast) that somebody of its audience waits for; tenants in turn, of each the most urgent first."""
    return [(row["tenant_id"], row["broadcast_id"]) for row in await tx.fetch(_SQL["find_due_broadcasts"], lim)]


async def find_due_tasks(tx: Tx, lim: int) -> list[tuple[str, int]]:
    """(tenant, task) with a reminder due, or past its due date; tenants in turn, of each the longest due first."""
    return [(row["tenant_id"], row["task_id"]) for row in await tx.fetch(_SQL["find_due_tasks"], lim)]


async def find_due_erasures(tx: Tx, lim: int, idle: timedelta) -> list[tuple[str, int]]:
    """(tenant, user) whose erasing was begun and has not gone on for `idle`; tenants in turn."""
    return [(row["tenant_id"], row["user_id"]) for row in await tx.fetch(_SQL["find_due_erasures"], lim, idle)]


async def forget_keys(tx: Tx, older_than: timedelta, lim: int) -> int:
    """Delete idempotency keys past their time; how many, at most `lim`."""
    return await tx.fetchval(_SQL["forget_keys"], older_than, lim)
