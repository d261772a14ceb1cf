"""The daily partitions of the log: made ahead, dropped behind.

Owns retention of events, in UTC days. Making ahead is a function that any node
may call. Dropping is the owner's alone, and outside a transaction, so that it
never stands in the way of a writer.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from hub.store.owner import owning
from hub.store.pool import Database, Tx

DAYS_AHEAD: Final = 7
"""A hub that nobody restarts and whose workers fail still writes for a week."""

_LOCK: Final = 0x6875622D70617274
"""The advisory lock of dropping: "hub-part"."""

_OLD: Final = """
SELECT c.relname AS name, i.inhrelid IS NOT NULL AS is_attached, coalesce(i.inhdetachpending, false) AS is_half_detached
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'public.events'::regclass
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^events_[0-9]{8}$'
  AND c.relname < $1
ORDER BY is_half_detached DESC, c.relname
"""


async def make_ahead(database: Database, days_ahead: int = DAYS_AHEAD) -> list[str]:
    """Make the missing partitions from yesterday to `days_ahead` from today; answers their names. Idempotent.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached, or a lock was not to be had in time.
    """
    async with database.system() as tx:
        rows = await tx.fetch("SELECT hub_make_partitions($1::int) AS name", days_ahead)
    return [row["name"] for row in rows]


async def drop_behind(owner_url: str, retention_days: int, *, lock_timeout_s: float = 2.0) -> list[str]:
    """Drop the partitions whose last instant is `retention_days` ago or more; answers their names, oldest first.

    `owner_url` leads to the owner of the tables: the role that migrates. One node does it at a time, and
    another answers nothing. What a killed one has left half done is finished. Cancelling loses nothing.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached, or a partition was in use for `lock_timeout_s`.
    """
    dropped: list[str] = []
    async with owning(owner_url) as connection:
        await connection.execute("SELECT set_config('lock_timeout', $1, false)", f"{round(lock_timeout_s * 1000)}ms")
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return []
        oldest_kept = name_of(await _first_day_kept(connection, retention_days))
        for row in await connection.fetch(_OLD, oldest_kept):
            await _drop(connection, row["name"], is_attached=row["is_attached"], is_half_done=row["is_half_detached"])
            dropped.append(row["name"])
    return sorted(dropped)


def name_of(day: date) -> str:
    """The partition with the events of a UTC day."""
    return f"events_{day:%Y%m%d}"


async def _first_day_kept(connection: Tx, retention_days: int) -> date:
    now: datetime = await connection.fetchval("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
    return (now - timedelta(days=retention_days)).date()


async def _drop(connection: Tx, name: str, *, is_attached: bool, is_half_done: bool) -> None:
    # Names are digits after a fixed word (the query says so): nothing to quote.
    if is_attached:
        # Plain DETACH would wait for, and then hold up, everyone who reads or writes any day's events.
        how = "FINALIZE" if is_half_done else "CONCURRENTLY"
        await connection.execute(f"ALTER TABLE public.events DETACH PARTITION public.{name} {how}")
    await connection.execute(f"DROP TABLE public.{name}")
