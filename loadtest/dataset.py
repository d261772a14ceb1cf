"""Fill a migrated database with what a large installation has, to measure and to plan on.

    python -m loadtest.dataset --database-url postgresql://… [--scale 0.01] [--seed 1]

At scale 1: 2 million notifications, about 5 million events and 300,000 tasks over 200
tenants, of which a few are large, and three people of the largest have 50,000
notifications each. Seeded: the same seed and day make the same rows but for their
instants. The URL is that of the owner of the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec

from hub import clock
from loadtest.dataset_rows import COLUMNS, DAY_S, DAYS, GROUPS, Inbox, Rows, no_rows, put_person, put_tasks

TENANTS: Final = 200
NOTIFICATIONS: Final = 2_000_000
TASKS: Final = 300_000
USERS: Final = 20_000
LARGE_INBOX: Final = 50_000
LARGE_INBOXES: Final = 3
_USERS_MIN: Final = 3
_ROWS_A_COPY: Final = 50_000
"""Enough that a COPY is cheap, few enough that the rows of a step fit in some hundred megabytes."""
_PROGRESS_EVERY_S: Final = 5.0

_PAST_DAYS: Final = f"""
DO $$
DECLARE
    day date;
    name text;
BEGIN
    FOR back IN 0..{DAYS + 1} LOOP
        day := (clock_timestamp() AT TIME ZONE 'UTC')::date - back;
        name := format('events_%s', to_char(day, 'YYYYMMDD'));
        CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS
            INCLUDING STORAGE)', name);
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE public.events ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
            name, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END
$$
"""
"""As `hub_make_partitions` makes them, which makes none of the past. Nothing in it comes from outside."""


class NotEmpty(Exception):
    """The database has streams already: what is in it would not add up with what is made here."""


class Tenant(msgspec.Struct, frozen=True):
    """How much one tenant has. `inboxes[i]` is the number of notifications of user `i + 1`."""

    name: str
    inboxes: list[int]
    tasks: int


def plan_tenants(scale: float) -> list[Tenant]:
    """The largest first. The sizes go down as 1/rank, among the people of a tenant too."""
    weights = [1 / rank for rank in range(1, TENANTS + 1)]
    whole = sum(weights)
    large = [round(LARGE_INBOX * scale)] * LARGE_INBOXES
    tenants: list[Tenant] = []
    for rank, weight in enumerate(weights, 1):
        share = scale * weight / whole
        first = large if rank == 1 else []
        rest = max(round(NOTIFICATIONS * share) - sum(first), 0)
        people = max(round(USERS * share), _USERS_MIN)
        by_person = [1 / (n + 10) for n in range(people)]
        inboxes = [round(rest * part / sum(by_person)) for part in by_person]
        tenants.append(Tenant(f"t{rank:03d}", [*first, *inboxes], max(round(TASKS * share), 1)))
    return tenants


async def fill(database_url: str, *, scale: float = 1.0, seed: int = 1) -> dict[str, int]:
    """Write it all, gather statistics, and answer the rows by table.

    Not one transaction: what is cancelled half-way is a database to be thrown away.

    Raises:
        NotEmpty: there are streams already.
    """
    connection = await asyncpg.connect(database_url)
    try:
        if await connection.fetchval("SELECT EXISTS (SELECT FROM user_streams)"):
            raise NotEmpty("the database is not empty")
        await connection.execute(_PAST_DAYS)
        await connection.execute("SET synchronous_commit = off")
        written = dict.fromkeys(COLUMNS, 0)
        began, told = time.monotonic(), 0.0
        for rows in _batches(plan_tenants(scale), random.Random(seed), clock.now()):
            await _copy(connection, rows, written)
            if time.monotonic() - told > _PROGRESS_EVERY_S:
                told = time.monotonic()
                print(f"{told - began:6.0f} s  {written['notifications']:,} notifications", flush=True)
        # The ids were given, not drawn.
        for table in ("notifications", "tasks"):
            await connection.execute(
                "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)", table, max(written[table], 1)
            )
        await connection.execute("VACUUM (ANALYZE)")
        return written
    finally:
        await connection.close()


def _batches(tenants: list[Tenant], chance: random.Random, now: datetime) -> Iterator[Rows]:
    """All rows, about `_ROWS_A_COPY` at a time; what is referred to is never in a later one."""
    rows, notification_id, task_id = no_rows(), 1, 1
    for tenant in tenants:
        rows["groups"] += [(tenant.name, group) for group in GROUPS]
        for user, count in enumerate(tenant.inboxes, 1):
            put_person(rows, chance, tenant.name, user)
            inbox = Inbox(rows, tenant.name, user)
            for at in sorted(now - timedelta(seconds=chance.random() * DAYS * DAY_S) for _ in range(count)):
                inbox.receive(chance, notification_id, at, now)
                notification_id += 1
                if len(rows["events"]) >= _ROWS_A_COPY:
                    yield rows
            inbox.finish()
        ids = range(task_id, task_id + tenant.tasks)
        for _ in put_tasks(rows, chance, tenant.name, ids, len(tenant.inboxes), now):
            if len(rows["tasks"]) >= _ROWS_A_COPY:
                yield rows
        task_id = ids.stop
    yield rows


async def _copy(connection: Any, rows: Rows, written: dict[str, int]) -> None:
    """Write and empty them."""
    for table, columns in COLUMNS.items():
        if rows[table]:
            await connection.copy_records_to_table(table, schema_name="public", columns=columns, records=rows[table])
            written[table] += len(rows[table])
            rows[table].clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        written = asyncio.run(fill(given.database_url, scale=given.scale, seed=given.seed))
    except NotEmpty as error:
        raise SystemExit(str(error)) from None
    for table, count in written.items():
        print(f"{table:26} {count:>12,}")


if __name__ == "__main__":
    main()
