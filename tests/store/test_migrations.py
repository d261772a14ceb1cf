"""The runner: numbered, recorded, locked; the same schema by whatever way it came about."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from urllib.parse import urlsplit

import asyncpg
import pytest

from hub.store import migrations
from hub.store.errors import DatabaseUnavailable
from hub.store.migrations import Applied, Migration, MigrationError, bundled, migrate, ordered, pending, status
from hub.store.partitions import drop_behind, make_ahead
from hub.store.pool import Database
from tests.conftest import Databases
from tests.store.catalog import schema_of


def test_the_files_are_numbered_from_one_without_a_gap():
    assert [one.version for one in bundled()] == list(range(1, len(bundled()) + 1))
    assert all(len(one.checksum) == 64 and one.sql.strip() for one in bundled())


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["0001_pre_a.sql", "0003_pre_b.sql"], "0003_pre_b.sql stands where number 0002 belongs"),
        (["0001_pre_a.sql", "0001_pre_b.sql"], "0001_pre_b.sql stands where number 0002 belongs"),
        (["0002_pre_a.sql"], "0002_pre_a.sql stands where number 0001 belongs"),
        (["0001_a.sql"], "0001_a.sql is not named like"),
        (["0001_pre_A.sql"], "0001_pre_A.sql is not named like"),
    ],
)
def test_files_that_cannot_be_put_in_order_are_refused(files: list[str], sentence: str):
    with pytest.raises(MigrationError, match=sentence):
        ordered(dict.fromkeys(files, "SELECT 1"))


async def test_every_way_to_the_last_migration_makes_the_same_schema(databases: Databases):
    with (
        databases.fresh(migrated=False) as at_once,
        databases.fresh(migrated=False) as stepwise,
        databases.fresh(migrated=False) as contended,
    ):
        assert [one.version for one in await migrate(at_once)] == [one.version for one in bundled()]
        for one in bundled():
            assert [done.version for done in await migrate(stepwise, to=one.version)] == [one.version]
        ten = await asyncio.gather(*(migrate(contended) for _ in range(10)))

        # One of the ten did it all; the rest waited, and found it done.
        assert sorted(len(applied) for applied in ten) == [0] * 9 + [len(bundled())]
        expected = await schema_of(at_once)
        assert all(expected.values())
        assert await schema_of(stepwise) == expected
        assert await schema_of(contended) == expected


async def test_it_tells_what_is_pending_and_applies_up_to_a_number(empty_database_url: str):
    everything = [one.version for one in bundled()]
    assert await pending(empty_database_url) == everything
    await migrate(empty_database_url, to=2)
    assert await pending(empty_database_url) == everything[2:]
    # Forward only: what is past the number stays.
    assert await migrate(empty_database_url, to=1) == []
    await migrate(empty_database_url)
    assert await pending(empty_database_url) == []
    assert await migrate(empty_database_url) == []
    applied = (await status(empty_database_url)).applied
    assert [(one.name, one.checksum) for one in applied] == [(one.name, one.checksum) for one in bundled()]
    assert all(earlier.applied_at < later.applied_at for earlier, later in pairwise(applied))


@pytest.mark.parametrize("to", [-1, 10_000])
async def test_a_number_that_is_not_there_is_refused(database_url: str, to: int):
    with pytest.raises(MigrationError, match=f"there is no migration {to}: the last is {len(bundled())}"):
        await migrate(database_url, to=to)


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(database_url: str):
    await _execute(database_url, "UPDATE schema_migrations SET checksum = repeat('0', 64) WHERE version = 2")
    for refused in (migrate(database_url), pending(database_url)):
        with pytest.raises(MigrationError, match="0002_pre_streams was changed after it was applied"):
            await refused


async def test_a_database_that_newer_code_has_migrated_is_served_and_reported(
    database_url: str, caplog: pytest.LogCaptureFixture
):
    future = len(bundled()) + 1
    await _execute(database_url, f"INSERT INTO schema_migrations VALUES ({future}, '{future:04}_pre_future', 'x')")
    assert await pending(database_url) == []
    assert [one.version for one in (await status(database_url)).unknown] == [future]
    assert await migrate(database_url) == []
    assert f"{future:04}_pre_future" in caplog.text


async def test_one_that_fails_is_undone_whole_and_those_before_it_stand(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    good = Migration(1, "0001_pre_good", "a", "CREATE TABLE good ()")
    bad = Migration(2, "0002_pre_bad", "b", "CREATE TABLE half (); SELECT 1 / 0")
    monkeypatch.setattr(migrations, "bundled", lambda: (good, bad))
    with pytest.raises(MigrationError, match="0002_pre_bad failed and was undone: division by zero"):
        await migrate(empty_database_url)
    tables = {row[0] for row in (await schema_of(empty_database_url))["tables"]}
    assert tables == {"good", "schema_migrations"}
    # Its lock went with it, so the repaired one goes through.
    monkeypatch.setattr(migrations, "bundled", lambda: (good, Migration(2, "0002_pre_bad", "c", "SELECT 1")))
    assert [one.version for one in await migrate(empty_database_url)] == [2]


async def test_who_waits_too_long_for_another_node_is_told_so(empty_database_url: str):
    holder = await asyncpg.connect(empty_database_url)
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", migrations._LOCK)
        with pytest.raises(MigrationError, match=r"another node has been migrating for more than 0\.05 s"):
            await migrate(empty_database_url, wait_s=0.05)
    finally:
        await holder.close()
    assert await migrate(empty_database_url, to=1)


async def test_a_migrator_that_is_cancelled_leaves_no_lock_and_nothing_half_done(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    slow = Migration(1, "0001_pre_slow", "a", "CREATE TABLE half (); SELECT pg_sleep(3600)")
    monkeypatch.setattr(migrations, "bundled", lambda: (slow,))
    watcher = await asyncpg.connect(empty_database_url)
    try:
        running = asyncio.create_task(migrate(empty_database_url))
        asleep = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        while not await watcher.fetch(asleep):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        await watcher.close()
    monkeypatch.undo()
    assert len(await migrate(empty_database_url)) == len(bundled())


async def test_a_server_that_is_not_there_is_named_unavailable():
    for call in (migrate, pending):
        with pytest.raises(DatabaseUnavailable):
            await call("postgresql://nobody@127.0.0.1:1/none")


async def test_two_databases_make_the_role_of_their_cluster_at_once(databases: Databases):
    with databases.fresh(migrated=False) as one, databases.fresh(migrated=False) as other:
        applied: list[list[Applied]] = await asyncio.gather(migrate(one), migrate(other))
        assert [len(each) for each in applied] == [len(bundled())] * 2


async def test_an_owner_without_other_powers_migrates_serves_and_keeps_the_days(databases: Databases):
    with databases.fresh(migrated=False) as url:
        parts = urlsplit(url)
        name = f"hub_owner_{parts.path[-6:].strip('/_')}"
        owner_url = parts._replace(netloc=f"{name}:x@{parts.netloc.rpartition('@')[2]}").geturl()
        await _execute(url, f"CREATE ROLE {name} LOGIN PASSWORD 'x'; ALTER DATABASE {parts.path[1:]} OWNER TO {name}")
        try:
            is_there = "hub_serve" in await _roles(url)
            refusal = f"{name} may not become hub_serve" if is_there else f"missing, and {name} may not create it"
            with pytest.raises(MigrationError, match=f"{refusal} HINT: As a superuser: .*GRANT hub_serve TO {name}"):
                await migrate(owner_url)
            if not is_there:
                await _execute(url, "CREATE ROLE hub_serve NOLOGIN")
            await _execute(url, f"GRANT hub_serve TO {name}")
            assert len(await migrate(owner_url)) == len(bundled())
            database = await Database.connect(owner_url)
            try:
                await database.ping()
                assert len(await make_ahead(database, 8)) == 1
            finally:
                await database.close()
            await _execute(owner_url, "CREATE TABLE events_20200101 (LIKE events)")
            assert await drop_behind(owner_url, 7) == ["events_20200101"]
        finally:
            await _execute(url, f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


async def _roles(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_writes_check_against_is_not_looked_at_before_it_has_grown(databases: Databases):
    # A plan made for one page reads all of a table, and outlives it: seconds a bulk, on a new hub.
    with databases.fresh() as url:
        connection = await asyncpg.connect(url)
        try:
            options = dict(
                await connection.fetch(
                    "SELECT DISTINCT c.confrelid::regclass::text, t.reloptions FROM pg_constraint c"
                    " JOIN pg_class t ON t.oid = c.confrelid WHERE c.contype = 'f'"
                )
            )
        finally:
            await connection.close()
    for table in ("notifications", "tasks"):
        assert {"autovacuum_analyze_threshold=5000", "autovacuum_vacuum_threshold=5000"} <= set(options[table])
