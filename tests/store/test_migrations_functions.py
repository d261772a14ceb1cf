"""The functions in the schema: locking and numbering, the sweep, what is due, the epoch, the partitions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from hub.store.errors import LockTimedOut
from hub.store.partitions import drop_behind, make_ahead, name_of
from hub.store.pool import Database

LOCK = "SELECT user_id, head FROM hub_lock_streams($1, $2)"


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url, pool_max=20, acquire_s=60)
    yield database
    await database.close()


async def test_streams_that_are_missing_are_made_and_all_come_locked_in_ascending_order(database: Database):
    async with database.transaction("a") as tx:
        assert [tuple(row) for row in await tx.fetch(LOCK, "a", [7])] == [(7, 0)]
        await tx.execute("UPDATE user_streams SET head = 3")
    async with database.transaction("a") as tx:
        rows = await tx.fetch(LOCK, "a", [9, 7, None, 2, 9])
        assert [tuple(row) for row in rows] == [(2, 0), (7, 3), (9, 0)]
        assert await tx.fetch(LOCK, "a", []) == []
        assert await tx.fetch(LOCK, "a", None) == []


async def test_a_stream_has_an_id_that_every_client_can_hold(database: Database):
    for user_id in (0, -1, 2**53):
        with pytest.raises(asyncpg.CheckViolationError, match="user_streams_user_id_is_1_to_2_pow_53_minus_1"):
            async with database.transaction("a") as tx:
                await tx.fetch(LOCK, "a", [user_id])


async def test_the_lock_sees_what_was_committed_while_it_waited(database: Database):
    async with database.transaction("a") as first:
        await first.fetch(LOCK, "a", [1])
        await first.execute("UPDATE user_streams SET head = 1")
        second = asyncio.create_task(_append(database, [1]))
        await _until_somebody_waits_for_a_lock(first)
    assert await second == {1: 2}


async def test_fifty_writers_to_overlapping_users_number_without_a_gap_and_without_a_deadlock(
    database: Database, owner: Any
):
    choice = random.Random(20261123)
    audiences = [choice.sample(range(1, 13), choice.randint(1, 8)) for _ in range(300)]
    queue = list(audiences)
    taken: dict[int, list[int]] = {user_id: [] for user_id in range(1, 13)}

    async def writer() -> None:
        while queue:
            for user_id, seq in (await _append(database, queue.pop())).items():
                taken[user_id].append(seq)

    await asyncio.gather(*(writer() for _ in range(50)))
    for user_id, seqs in taken.items():
        written = sum(user_id in audience for audience in audiences)
        assert sorted(seqs) == list(range(1, written + 1))
        stored = await owner.fetch("SELECT seq FROM events WHERE user_id = $1 ORDER BY at, seq", user_id)
        # In the order of their commits: the clock was read under the lock.
        assert [row[0] for row in stored] == list(range(1, written + 1))


async def test_a_sweep_names_only_those_whose_head_is_elsewhere(database: Database):
    for tenant, user_id, count in (("a", 1, 2), ("a", 2, 1), ("b", 1, 5)):
        for _ in range(count):
            await _append(database, [user_id], tenant=tenant)
    asked = [("a", 1, 2), ("a", 2, 0), ("b", 1, 7), ("b", 2, 0), ("c", 9, 4)]
    async with database.system() as tx:
        rows = await tx.fetch("SELECT * FROM hub_sweep($1, $2, $3)", *map(list, zip(*asked, strict=True)))
        assert await tx.fetch("SELECT * FROM hub_sweep('{}', '{}', '{}')") == []
    assert {tuple(row) for row in rows} == {("a", 2, 1), ("b", 1, 5), ("c", 9, 0)}


async def test_due_releases_give_every_tenant_its_turn(database: Database, owner: Any):
    now = await owner.fetchval("SELECT clock_timestamp()")
    for user_id in range(1, 21):
        await _hold(owner, "flood", user_id, now - timedelta(hours=2, seconds=-user_id))
        await _hold(owner, "flood", user_id, now - timedelta(hours=1))
    await _hold(owner, "small", 1, now - timedelta(seconds=1))
    await _hold(owner, "future", 1, now + timedelta(hours=1))
    await _hold(owner, "forever", 1, None)
    async with database.system() as tx:
        rows = await tx.fetch("SELECT * FROM hub_due_releases(4)")
        everyone = await tx.fetch("SELECT * FROM hub_due_releases(100)")
        assert len(await tx.fetch("SELECT * FROM hub_due_releases(1)")) == 1
    assert [(row["tenant_id"], row["user_id"]) for row in rows] == [
        ("flood", 1),
        ("small", 1),
        ("flood", 2),
        ("flood", 3),
    ]
    # Distinct users, each with the instant since which the longest has waited.
    assert len(everyone) == 21
    assert rows[0]["due_at"] == now - timedelta(hours=2, seconds=-1)


async def test_due_expiries_are_of_what_is_in_the_inbox_or_held(database: Database, owner: Any):
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for user_id, state in enumerate(("live", "held", "muted", "expired"), start=1):
        await owner.execute(
            """INSERT INTO notifications (
                   tenant_id, user_id, type, title, message, state, live_seq, hold_reason, expires_at)
               VALUES ('a', $1, 'system', 't', 'm', $2, CASE $2 WHEN 'live' THEN 1 END,
                       CASE $2 WHEN 'held' THEN 'quiet' END, $3)""",
            user_id, state, past,
        )  # fmt: skip
    async with database.system() as tx:
        rows = await tx.fetch("SELECT * FROM hub_due_expiries(10)")
    assert [tuple(row) for row in rows] == [("a", 1, past), ("a", 2, past)]


async def test_broadcasts_are_due_until_they_are_complete_or_withdrawn(database: Database, owner: Any):
    await owner.execute(
        """INSERT INTO broadcasts (tenant_id, id, draft, completed_at, withdrawn_at) VALUES
           ('a', 1, '{}', now(), NULL), ('a', 2, '{}', NULL, NULL), ('a', 3, '{}', NULL, NULL),
           ('b', 4, '{}', NULL, NULL), ('b', 5, '{}', NULL, now())"""
    )
    async with database.system() as tx:
        rows = await tx.fetch("SELECT * FROM hub_due_broadcasts(2)")
    assert [tuple(row) for row in rows] == [("a", 2), ("b", 4)]


async def test_an_erasing_is_due_once_nobody_goes_on_with_it(database: Database, owner: Any):
    await owner.execute(
        """INSERT INTO user_streams (tenant_id, user_id, erasing_at) VALUES
           ('a', 1, now() - interval '1 minute'), ('a', 2, now() - interval '3 minutes'), ('a', 3, now()),
           ('a', 4, NULL), ('b', 1, now() - interval '2 minutes')"""
    )
    async with database.system() as tx:
        rows = await tx.fetch("SELECT * FROM hub_due_erasures(2, '30 seconds')")
        everyone = await tx.fetch("SELECT * FROM hub_due_erasures(10, '30 seconds')")
    assert [tuple(row) for row in rows] == [("a", 2), ("b", 1)]
    assert [tuple(row) for row in everyone] == [("a", 2), ("b", 1), ("a", 1)]


async def test_revocations_since_an_instant(database: Database, owner: Any):
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    await owner.execute("INSERT INTO revocations VALUES ('a', 1, $1), ('b', 2, $2)", early, late)
    async with database.system() as tx:
        rows = await tx.fetch("SELECT * FROM hub_revocations($1)", early)
    assert [tuple(row) for row in rows] == [("b", 2, late)]


async def test_old_idempotency_keys_are_forgotten_in_bounded_steps(database: Database, owner: Any):
    await owner.execute(
        """INSERT INTO idempotency_keys (tenant_id, user_id, method, path, key, fingerprint, created_at)
           SELECT 'a', 1, 'POST', '/', hours::text, '', clock_timestamp() - hours * interval '1 hour'
           FROM generate_series(1, 30) hours"""
    )
    async with database.system() as tx:
        forgotten = [await tx.fetchval("SELECT hub_forget_keys('24 hours', 5)") for _ in range(3)]
    assert forgotten == [5, 2, 0]
    assert await owner.fetchval("SELECT count(*) FROM idempotency_keys") == 23


async def test_the_epoch_is_short_and_stays_until_a_new_one_is_stored(database: Database, owner: Any):
    async with database.system() as tx:
        before = await tx.fetchval("SELECT hub_epoch()")
    async with database.transaction("a") as tx:
        assert await tx.fetchval("SELECT hub_epoch()") == before
    assert len(before) == 16
    await owner.execute("UPDATE hub_meta SET epoch = 'restored'")
    async with database.system() as tx:
        assert await tx.fetchval("SELECT hub_epoch()") != before


async def test_partitions_are_made_ahead_by_any_number_of_nodes_at_once(database: Database, owner: Any):
    today = await _today(owner)
    made = await asyncio.gather(*(make_ahead(database, 30) for _ in range(10)))
    # The migration made those up to a week ahead.
    assert sorted(name for names in made for name in names) == [
        name_of(today + timedelta(days=ahead)) for ahead in range(8, 31)
    ]
    assert await make_ahead(database, 30) == []
    for day in (today - timedelta(days=1), today, today + timedelta(days=30)):
        for at in (f"{day} 00:00:00+00", f"{day} 23:59:59.999999+00"):
            where = await owner.fetchval(
                """INSERT INTO events (tenant_id, user_id, seq, kind, lane, at, tail)
                   VALUES ('a', 1, 1, 'k', 4, $1::text::timestamptz, '') RETURNING tableoid::regclass::text""",
                at,
            )
            assert where == name_of(day)
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass"
    assert await owner.fetchval(indexes, name_of(today + timedelta(days=30))) == 2


async def test_no_one_makes_partitions_without_end(database: Database):
    for days in (-1, 367):
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await make_ahead(database, days)


async def test_partitions_past_retention_are_dropped_and_what_was_left_half_done_is_finished(
    database: Database, database_url: str, owner: Any
):
    today = await _today(owner)
    old = [today - timedelta(days=back) for back in (20, 10, 9, 8)]
    for day in (*old, today - timedelta(days=7)):
        await owner.execute(
            f"CREATE TABLE {name_of(day)} PARTITION OF events "
            f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
        )
    # Somebody reads an old day's events; dropping waits its bounded time, and stays half done.
    async with database.transaction("a") as reader:
        await reader.fetch("SELECT FROM events")
        with pytest.raises(LockTimedOut):
            await drop_behind(database_url, 7, lock_timeout_s=0.05)
    assert await owner.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") == 1
    # Another died between the two steps of one.
    alone = today - timedelta(days=30)
    await owner.execute(f"CREATE TABLE {name_of(alone)} (LIKE events)")

    dropped = await asyncio.gather(*(drop_behind(database_url, 7) for _ in range(3)))
    assert sorted(name for names in dropped for name in names) == [name_of(day) for day in (alone, *old)]
    assert await drop_behind(database_url, 7) == []
    left = {row[0] for row in await owner.fetch("SELECT relname FROM pg_class WHERE relname ~ '^events_[0-9]{8}$'")}
    assert left == {name_of(today + timedelta(days=days)) for days in range(-1, 8)} | {
        name_of(today - timedelta(days=7))
    }


async def test_every_index_says_which_query_it_is_for(owner: Any):
    rows = await owner.fetch(
        """SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('i', 'I')
           AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL"""
    )
    assert [row[0] for row in rows] == []


async def test_every_foreign_key_stays_within_its_tenant_and_is_indexed(owner: Any):
    rows = await owner.fetch(
        """SELECT k.conrelid::regclass::text AS name, pg_get_constraintdef(k.oid) AS definition, k.conkey[1] AS first,
                  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid
                          AND i.indkey[0] = k.conkey[1] AND i.indkey[1] = k.conkey[2]) AS is_indexed
           FROM pg_constraint k WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace"""
    )
    assert len(rows) >= 11
    for row in rows:
        assert row["definition"].startswith("FOREIGN KEY (tenant_id, "), row["name"]
        assert row["is_indexed"], row["name"]
        # A bare SET NULL would take the tenant with it.
        assert "SET NULL" not in row["definition"] or "SET NULL (" in row["definition"]


async def test_what_outlives_keeps_its_tenant_what_belongs_goes_and_a_parent_stays(owner: Any):
    await owner.execute(
        """INSERT INTO tasks (tenant_id, id, parent_task_id, title) VALUES ('a', 1, NULL, 't'), ('a', 2, 1, 't');
           INSERT INTO task_comments (tenant_id, task_id, comment) VALUES ('a', 2, 'c');
           INSERT INTO communication_templates (tenant_id, id, name, channel, body) VALUES ('a', 1, 'n', 'email', 'b');
           INSERT INTO communication_logs (tenant_id, template_id, channel) VALUES ('a', 1, 'email');"""
    )
    await owner.execute("DELETE FROM communication_templates")
    assert tuple(await owner.fetchrow("SELECT tenant_id, template_id FROM communication_logs")) == ("a", None)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="tasks_tenant_id_parent_task_id_fkey"):
        await owner.execute("DELETE FROM tasks WHERE id = 1")
    # A whole tree goes in one statement, and what belongs to it too.
    assert await owner.execute("DELETE FROM tasks WHERE id IN (1, 2)") == "DELETE 2"
    assert await owner.fetchval("SELECT count(*) FROM task_comments") == 0


async def _append(database: Database, users: list[int], *, tenant: str = "a") -> dict[int, int]:
    """One event for each user, numbered as the hub does it: read under the lock, written, committed."""
    async with database.transaction(tenant) as tx:
        heads = {row["user_id"]: row["head"] + 1 for row in await tx.fetch(LOCK, tenant, users)}
        await tx.execute(
            """INSERT INTO events (tenant_id, user_id, seq, kind, lane, at, tail)
               SELECT $1, u, s, 'k', 4, clock_timestamp(), '' FROM unnest($2::bigint[], $3::bigint[]) AS x (u, s)""",
            tenant, list(heads), list(heads.values()),
        )  # fmt: skip
        await tx.execute(
            """UPDATE user_streams s SET head = x.head FROM unnest($2::bigint[], $3::bigint[]) AS x (u, head)
               WHERE s.tenant_id = $1 AND s.user_id = x.u""",
            tenant, list(heads), list(heads.values()),
        )  # fmt: skip
    return heads


async def _hold(owner: Any, tenant: str, user_id: int, due_at: datetime | None) -> None:
    await owner.execute(
        """INSERT INTO notifications (tenant_id, user_id, type, title, message, state, hold_reason, due_at)
           VALUES ($1, $2, 'system', 't', 'm', 'held', 'quiet', $3)""",
        tenant, user_id, due_at,
    )  # fmt: skip


async def _today(owner: Any) -> Any:
    return await owner.fetchval("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")


async def _until_somebody_waits_for_a_lock(tx: Any) -> None:
    # The view is a snapshot for a whole transaction, unless it is cleared.
    while not await tx.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0)
