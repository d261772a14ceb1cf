"""Transactions: what they leave behind (nothing), and what a caller is told when PostgreSQL is not there."""

# ruff: noqa: PT012 - what raises is a transaction with its block

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from hub.store import pool
from hub.store.errors import Conflicted, DatabaseUnavailable, LockTimedOut, StatementTimedOut, TransactionLost
from hub.store.pool import Database, savepoint
from tests.conftest import Databases
from tests.store.proxy import in_front_of

INSERT = "INSERT INTO user_streams (tenant_id, user_id) VALUES ('a', $1)"
COUNT = "SELECT count(*) FROM user_streams"


@pytest.fixture(scope="module")
def shared_url(databases: Databases) -> Any:
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def owner(shared_url: str) -> AsyncIterator[Any]:
    """A connection beside the pool; the rows of the last test are gone."""
    connection = await asyncpg.connect(shared_url)
    await connection.execute("DELETE FROM user_streams")
    yield connection
    await connection.close()


@pytest.fixture
async def database(shared_url: str, owner: Any) -> AsyncIterator[Database]:
    database = await Database.connect(shared_url, pool_max=2, statement_timeout_s=2, lock_timeout_s=1, acquire_s=2)
    yield database
    await database.close()


async def test_leaving_the_block_commits_and_leaving_by_an_exception_does_not(database: Database, owner: Any):
    async with database.transaction("a") as tx:
        await tx.execute(INSERT, 1)
    with pytest.raises(KeyError):
        async with database.transaction("a") as tx:
            await tx.execute(INSERT, 2)
            raise KeyError
    assert await owner.fetchval("SELECT array_agg(user_id) FROM user_streams") == [1]


@pytest.mark.parametrize("statement_cache", [0, 100])
async def test_nothing_of_a_transaction_stays_on_its_connection(shared_url: str, statement_cache: int):
    database = await Database.connect(shared_url, pool_max=1, statement_cache=statement_cache)
    asked = """SELECT pg_backend_pid(), current_user::text, current_setting('hub.tenant_id', true),
                      current_setting('statement_timeout'), current_setting('lock_timeout'),
                      current_setting('idle_in_transaction_session_timeout')"""
    async with database.transaction("a") as tx:
        pid, *within = await tx.fetchrow(asked)
    assert within == ["hub_serve", "a", "5s", "4s", "2s"]
    connection = await database._pool.acquire()
    try:
        same_pid, user, *after = await connection.fetchrow(asked)
    finally:
        await database._pool.release(connection)
        await database.close()
    assert (same_pid, after) == (pid, ["", "0", "0", "0"])
    assert user != "hub_serve"


async def test_json_comes_and_goes_as_python_values(database: Database):
    value = {"é": [1, None, {"deep": True}], "text": "\u2028\U0001f514"}
    async with database.transaction("a") as tx:
        assert await tx.fetchval("SELECT $1::jsonb", value) == value
        assert await tx.fetchval("SELECT $1::json", value) == value
        assert await tx.fetchval("SELECT $1::jsonb[]", [value, None, {}]) == [value, None, {}]


async def test_a_savepoint_undoes_only_itself(database: Database, owner: Any):
    async with database.transaction("a") as tx:
        await tx.execute(INSERT, 1)
        for error, statement in ((asyncpg.UniqueViolationError, INSERT), (ZeroDivisionError, None)):
            with pytest.raises(error):
                async with savepoint(tx):
                    await tx.execute(INSERT, 2)
                    if statement is None:
                        raise ZeroDivisionError
                    await tx.execute(statement, 1)
        async with savepoint(tx):
            await tx.execute(INSERT, 3)
    assert await owner.fetchval("SELECT array_agg(user_id ORDER BY user_id) FROM user_streams") == [1, 3]


async def test_a_block_that_swallows_an_error_is_told_that_nothing_was_committed(database: Database, owner: Any):
    with pytest.raises(TransactionLost):
        async with database.transaction("a") as tx:
            await tx.execute(INSERT, 1)
            with pytest.raises(asyncpg.UniqueViolationError):
                await tx.execute(INSERT, 1)
    assert await owner.fetchval(COUNT) == 0
    assert database.statistics().idle == 1


async def test_what_a_statement_breaks_passes_through(database: Database):
    with pytest.raises(asyncpg.CheckViolationError, match="user_streams_unread_is_the_sum_of_its_priorities"):
        async with database.transaction("a") as tx:
            await tx.execute("INSERT INTO user_streams (tenant_id, user_id, unread) VALUES ('a', 1, 1)")


async def test_a_statement_that_runs_too_long_is_named(shared_url: str):
    database = await Database.connect(shared_url, statement_timeout_s=0.05)
    with pytest.raises(StatementTimedOut):
        async with database.transaction("a") as tx:
            await tx.execute("SELECT pg_sleep(60)")
    await database.close()


async def test_a_lock_that_is_not_to_be_had_is_named(shared_url: str, owner: Any):
    database = await Database.connect(shared_url, lock_timeout_s=0.05)
    async with owner.transaction():
        await owner.execute(INSERT, 1)
        with pytest.raises(LockTimedOut):
            async with database.transaction("a") as tx:
                await tx.execute(INSERT, 1)
    await database.close()


async def test_a_deadlock_is_named_for_the_one_and_the_other_goes_on(database: Database):
    both_have_one = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with database.transaction("a") as tx:
            await tx.execute("SELECT pg_advisory_xact_lock($1)", first)
            await both_have_one.wait()
            await tx.execute(
                "SET LOCAL lock_timeout = 0; SET LOCAL deadlock_timeout = '20ms'" if first < 0 else "SELECT"
            )
            await tx.execute("SET LOCAL lock_timeout = 0")
            await tx.execute("SELECT pg_advisory_xact_lock($1)", second)

    ended = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["Conflicted", "NoneType"]


async def test_a_server_that_does_not_take_writes_is_unavailable(database: Database):
    with pytest.raises(DatabaseUnavailable, match="ReadOnlySQLTransactionError"):
        async with database.transaction("a") as tx:
            await tx.execute("SET TRANSACTION READ ONLY")
            await tx.execute(INSERT, 1)


async def test_a_database_without_the_schema_is_unavailable_and_says_why(empty_database_url: str):
    database = await Database.connect(empty_database_url)
    with pytest.raises(DatabaseUnavailable, match="hub_epoch"):
        await database.ping()
    await database.close()


async def test_a_pool_without_a_free_connection_is_unavailable(shared_url: str):
    database = await Database.connect(shared_url, pool_max=1, acquire_s=0.05)
    async with database.transaction("a"):
        with pytest.raises(DatabaseUnavailable, match=r"no connection to PostgreSQL within 0\.05 s"):
            async with database.transaction("a"):
                pytest.fail("there was one")
    await database.ping()
    await database.close()


async def test_a_closed_pool_is_unavailable_and_closing_cuts_off_what_does_not_end(shared_url: str):
    database = await Database.connect(shared_url)
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction("a") as tx:
            await database.close(grace_s=0.05)
            await tx.execute("SELECT 1")
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await database.ping()
    await database.close()


async def test_a_body_that_is_cancelled_rolls_back_and_gives_its_connection_back(
    database: Database, owner: Any, caplog: pytest.LogCaptureFixture
):
    entered = asyncio.Event()

    async def body() -> None:
        async with database.transaction("a") as tx:
            await tx.execute(INSERT, 1)
            entered.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(body())
    await entered.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _all_is_quiet(database, owner)
    assert await owner.fetchval(COUNT) == 0
    # asyncpg would complain of a connection that comes back in the middle of a transaction.
    assert caplog.records == []


async def test_a_statement_that_is_cancelled_stops_on_the_server_however_often_one_cancels(
    database: Database, owner: Any
):
    async def body() -> None:
        async with database.transaction("a") as tx:
            await tx.execute(INSERT, 1)
            await tx.execute("SELECT pg_sleep(60)")

    for times in range(1, 5):
        running = asyncio.create_task(body())
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        while not await owner.fetchval(asleep):
            await asyncio.sleep(0)
        for _ in range(times):
            running.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await running
        while await owner.fetchval(asleep):
            await asyncio.sleep(0)
        await _all_is_quiet(database, owner)
    assert await owner.fetchval(COUNT) == 0


async def test_cancelling_at_every_step_leaves_neither_a_transaction_nor_a_connection(database: Database, owner: Any):
    async def body(user_id: int) -> None:
        async with database.transaction("a") as tx:
            await tx.execute(INSERT, user_id)

    finished = 0
    for steps in range(1, 60):
        running = asyncio.create_task(body(steps))
        for _ in range(steps):
            await asyncio.sleep(0)
        finished += running.done()
        running.cancel()
        await asyncio.wait([running])
    await _all_is_quiet(database, owner)
    # What was not cancelled in time is there; what was, may be (cancelled while it committed).
    assert await owner.fetchval(COUNT) >= finished


async def test_who_idles_within_a_transaction_loses_it_and_its_locks(shared_url: str, owner: Any):
    database = await Database.connect(shared_url, idle_in_transaction_timeout_s=0.05)
    with pytest.raises(DatabaseUnavailable):
        async with database.transaction("a") as tx:
            await tx.execute(INSERT, 1)
            # Waits for the lock that the idle one holds: had only when the server has ended that.
            await owner.execute(INSERT, 1)
            await tx.execute("SELECT 1")
    await database.ping()
    await database.close()


async def test_it_starts_while_postgresql_is_away_and_recovers_by_itself(shared_url: str, owner: Any):
    async with in_front_of(shared_url) as (proxy, url):
        await proxy.stop()
        database = await Database.connect(url, pool_max=3)
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
        await proxy.start()
        await database.ping()
        # Several connections at once, then all of them die in the pool: none is handed out again.
        await asyncio.gather(*(_nap(database) for _ in range(3)))
        assert database.statistics().size == 3
        await owner.execute(
            """SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'hub'"""
        )
        await asyncio.gather(*(database.ping() for _ in range(10)))
        proxy.cut()
        await asyncio.gather(*(database.ping() for _ in range(10)))
        await database.close()


async def test_what_was_lost_within_a_transaction_is_unavailable_and_not_repeated(shared_url: str, owner: Any):
    async with in_front_of(shared_url) as (proxy, url):
        database = await Database.connect(url)
        bodies = 0
        with pytest.raises(DatabaseUnavailable) as raised:
            async with database.transaction("a") as tx:
                bodies += 1
                await tx.execute(INSERT, 1)
                proxy.cut()
                await tx.execute(INSERT, 2)
        assert (bodies, raised.value.maybe_committed) == (1, False)
        await database.ping()
        assert await owner.fetchval(COUNT) == 0
        await database.close()


async def test_a_commit_whose_answer_was_lost_may_have_happened(shared_url: str, owner: Any):
    async with in_front_of(shared_url) as (proxy, url):
        database = await Database.connect(url)
        with pytest.raises(DatabaseUnavailable) as raised:
            async with database.transaction("a") as tx:
                await tx.execute(INSERT, 1)
                proxy.swallow_answer_to = b"COMMIT"
        assert raised.value.maybe_committed
        assert await owner.fetchval(COUNT) == 1
        await database.close()


async def test_a_server_that_falls_silent_is_given_up_and_no_connection_to_it_is_used_again(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool, "_ANSWER_SLACK_S", 0.1)
    async with in_front_of(shared_url) as (proxy, url):
        database = await Database.connect(url, pool_max=2, statement_timeout_s=0.2, acquire_s=0.2)
        await asyncio.gather(_nap(database), _nap(database))
        proxy.freeze()
        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            await database.ping()
        # The other one leads to the same silence: nobody else needs to wait to learn it.
        assert database.statistics().size == 0
        with pytest.raises(DatabaseUnavailable, match="no connection"):
            await database.ping()
        proxy.thaw()
        await database.ping()
        await database.close()


async def _nap(database: Database) -> None:
    async with database.system() as tx:
        await tx.execute("SELECT pg_sleep(0.02)")


async def _all_is_quiet(database: Database, owner: Any) -> None:
    """Return once no backend of the pool is in a transaction, and the pool has all its connections back."""
    busy = """SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'hub' AND state <> 'idle'"""
    async with asyncio.timeout(10):
        while await owner.fetchval(busy) or database.statistics().idle != database.statistics().size:
            await asyncio.sleep(0)
    # Both can be had at once: none is lost to the pool.
    async with database.system(), database.system():
        pass


def test_a_conflict_is_one_of_the_things_to_try_again():
    assert issubclass(Conflicted, DatabaseUnavailable)
