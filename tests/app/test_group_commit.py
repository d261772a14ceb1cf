"""Writes that share a transaction: the same comes of them as alone, and a fault stays with whose it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hub.app import create, group_commit, own
from hub.app.errors import AppError, IdempotencyMismatch, NotFound
from hub.app.joint import Joint, Locked
from hub.app.lanes import GROUP_MAX, ROWS_MAX, Job, take_group
from hub.store.errors import DatabaseUnavailable
from hub.store.pool import Database
from tests.app.world import TENANT, World, draft, once


async def settled(*writes: Any) -> list[Any]:
    return await asyncio.gather(*writes, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_what_comes_in_one_turn_is_one_transaction(world: World, user: int):
    sent = await asyncio.gather(*(world.send(user + n % 10) for n in range(50)))
    assert (world.deps.lanes.figures.groups, world.deps.lanes.figures.writes) == (1, 50)
    assert len({one.id for one in sent}) == 50
    for n in range(10):
        await world.check(user + n)
    await world.deps.lanes.drain()
    assert len(world.broker.messages) == 10, "one hint a user"


async def test_what_waits_while_one_commits_goes_together_in_the_order_it_came(world: World, user: int):
    first = asyncio.create_task(world.send(user, title="0"))
    await until(
        lambda: (TENANT, "inbox") in world.deps.lanes.by_tenant and not world.deps.lanes.by_tenant[TENANT, "inbox"]
    )
    await asyncio.gather(first, *(world.send(user, title=str(n)) for n in range(1, 20)))
    assert world.deps.lanes.figures.groups == 2
    assert [event["data"]["title"] for event in await world.events(user)] == [str(n) for n in range(20)]


async def test_what_one_is_refused_is_its_own(world: World, user: int):
    mine = await world.send(user)
    results = await settled(
        world.send(user),
        own.act(world.deps, world.caller(user), [mine.id + 10_000_000], "read"),
        own.act(world.deps, world.caller(user + 1), [mine.id], "read"),
        own.act(world.deps, world.caller(user), [mine.id], "read"),
    )
    assert [type(one) for one in results[1:3]] == [NotFound, NotFound]
    assert results[3].result.items[0].is_read
    assert (world.deps.lanes.figures.groups, world.deps.lanes.figures.undone) == (2, 0)
    await world.check(user)


async def test_who_has_nothing_gets_no_inbox_by_being_refused(world: World, user: int):
    mine = await world.send(user)
    results = await settled(
        own.act(world.deps, world.caller(user + 1), [mine.id], "read"),
        own.act(world.deps, world.caller(user + 2), [mine.id], "read"),
        world.send(user + 2),
    )
    assert [type(one) for one in results[:2]] == [NotFound, NotFound]
    rows = await world.sql("SELECT user_id FROM user_streams WHERE user_id BETWEEN $1 AND $1 + 2 ORDER BY 1", user)
    assert [row[0] for row in rows] == [user, user + 2]


async def test_a_refused_one_frees_its_key(world: World, user: int):
    caller = world.caller(user, once=once("refused"))
    results = await settled(own.act(world.deps, caller, [1], "read"), world.send(user))
    assert isinstance(results[0], NotFound)
    outcome = await own.act(world.deps, caller, [results[1].id], "read")
    assert not outcome.repeated


async def test_a_row_that_the_database_refuses_fails_alone(world: World, user: int):
    results = await settled(
        world.send(user), world.send(user + 1, category="No Such Category!"), world.send(user), world.send(user + 2)
    )
    assert [isinstance(one, asyncpg.CheckViolationError) for one in results] == [False, True, False, False]
    assert world.deps.lanes.figures.undone == 1
    assert await world.head(user) == 2
    for n in range(3):
        await world.check(user + n)


async def test_a_decision_that_breaks_fails_alone(world: World, user: int):
    def breaks(locked: Locked) -> None:
        raise ZeroDivisionError

    def changes_then_refuses(locked: Locked) -> None:
        [row] = locked.own_rows(user, [mine.id])
        own.ACTIONS["read"](locked.changes, row)
        raise NotFound("after all")

    mine = await world.send(user)
    results = await settled(
        world.send(user),
        group_commit.perform_joint(world.deps, world.producer, Joint(user_ids=[user], decide=breaks)),
        group_commit.perform_joint(
            world.deps, world.producer, Joint(user_ids=[user], own_ids=[mine.id], decide=changes_then_refuses)
        ),
        world.send(user),
    )
    assert [type(one) for one in results[1:3]] == [ZeroDivisionError, NotFound]
    refused = await settled(
        world.send(user),
        group_commit.perform_joint(
            world.deps, world.producer, Joint(user_ids=[user], own_ids=[mine.id], decide=changes_then_refuses)
        ),
    )
    assert isinstance(refused[1], NotFound)
    row = await world.row(mine.id)
    assert row is not None
    assert not row.is_read
    assert await world.head(user) == 4
    await world.check(user)


async def test_one_key_twice_at_once_is_done_once(world: World, user: int):
    caller = world.caller(None, "service", once=once("twice"), key=9)
    other = world.caller(None, "service", once=once("twice", b"other bytes"), key=9)
    first, again, mismatch, free = await settled(
        create.create(world.deps, caller, [draft(user)]),
        create.create(world.deps, caller, [draft(user)]),
        create.create(world.deps, other, [draft(user)]),
        world.send(user),
    )
    assert (first.repeated, again.repeated) == (False, True)
    assert first.answer == again.answer
    assert isinstance(mismatch, IdempotencyMismatch)
    assert free.user_id == user
    assert await world.head(user) == 2


async def test_one_key_on_several_nodes_is_done_once(world: World, user: int):
    nodes = [World(world.database) for _ in range(6)]
    caller = world.caller(None, "service", once=once("nodes"), key=9)
    results = await asyncio.gather(
        *(create.create(node.deps, caller, [draft(user)]) for node in nodes for _ in range(2)),
        *(node.send(user + 1) for node in nodes),
    )
    outcomes = results[:12]
    assert sorted(outcome.repeated for outcome in outcomes) == [False] + [True] * 11
    assert len({outcome.answer for outcome in outcomes}) == 1
    assert await world.head(user) == 1


async def test_a_key_past_its_time_is_free(world: World, user: int):
    caller = world.caller(None, "service", once=once("old"), key=9)
    first = await create.create(world.deps, caller, [draft(user)])
    await world.sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    again = await create.create(world.deps, caller, [draft(user)])
    assert not again.repeated
    assert first.answer != again.answer
    third = await create.create(world.deps, caller, [draft(user)])
    assert third.answer == again.answer


@asynccontextmanager
async def locked_stream(world: World, user: int) -> Any:
    async with world.database.transaction(TENANT) as tx:
        await tx.fetch("SELECT * FROM user_streams WHERE user_id = $1 FOR NO KEY UPDATE", user)
        # What keeps the transaction from looking idle is not what is tested.
        await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


async def test_only_those_who_need_a_lock_wait_for_it(user: int, module_database_url: str):
    # So patient that a group which waits for as long as one alone does never gets here.
    database = await Database.connect(module_database_url, pool_max=8, statement_timeout_s=900, lock_timeout_s=900)
    world = World(database)
    await world.send(user)
    async with asyncio.timeout(60), locked_stream(world, user):
        waits = asyncio.create_task(world.send(user))
        others = await asyncio.gather(*(world.send(user + n) for n in range(1, 6)))
        assert {one.user_id for one in others} == {user + n for n in range(1, 6)}
        # The lane is not held up by it either.
        await world.send(user + 6)
        elsewhere = await create.create(
            world.deps, world.caller(None, "service", key=9, tenant="globex"), [draft(user)]
        )
        assert elsewhere.result is not None
        assert not waits.done()
    await waits
    assert world.deps.lanes.figures.undone == 1
    assert await world.head(user) == 2
    await database.close()


async def test_whoever_goes_away_while_it_waits_has_written_nothing(world: World, user: int):
    first = asyncio.create_task(world.send(user))
    await until(
        lambda: (TENANT, "inbox") in world.deps.lanes.by_tenant and not world.deps.lanes.by_tenant[TENANT, "inbox"]
    )
    gone, stays = (asyncio.create_task(world.send(user + 1)) for _ in range(2))
    await until(lambda: len(world.deps.lanes.by_tenant[TENANT, "inbox"]) == 2)
    gone.cancel()
    await asyncio.gather(first, stays)
    assert gone.cancelled()
    assert await world.head(user + 1) == 1


async def test_a_lost_connection_is_everybodys(world: World, user: int, module_database_url: str):
    await world.send(user)
    async with locked_stream(world, user):
        writes = [asyncio.create_task(world.send(user + n)) for n in range(4)]
        killer = await asyncpg.connect(module_database_url)
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not await killer.fetch(waiting):
            pass
        results = await settled(*writes)
        await killer.close()
    assert all(isinstance(one, DatabaseUnavailable) for one in results), results
    assert await world.head(user) == 1
    assert await world.head(user + 1) == 0
    await world.send(user + 1)


# -- who goes together -----------------------------------------------------------------------------------------------


def job(users: int = 1, key: Any = None) -> Job:
    joint = Joint(user_ids=range(users), decide=lambda _: None)
    return Job(None, joint, key, asyncio.get_running_loop().create_future())  # type: ignore[arg-type]


async def test_a_group_is_bounded():
    lane = deque(job() for _ in range(GROUP_MAX + 1))
    assert (len(take_group(lane)), len(take_group(lane)), take_group(lane)) == (GROUP_MAX, 1, [])
    lane.extend(job(16) for _ in range(ROWS_MAX // 16 + 1))
    assert len(take_group(lane)) == ROWS_MAX // 16
    assert len(take_group(lane)) == 1


async def test_a_key_is_not_twice_in_a_group():
    lane = deque([job(key="a"), job(key="b"), job(key="a"), job()])
    assert [len(take_group(lane)) for _ in range(3)] == [2, 2, 0]


# -- as alone --------------------------------------------------------------------------------------------------------

Op = tuple[str, int, str | None, str, int]
OPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "read", "unread", "archive", "unarchive", "delete"]),
        st.integers(0, 1),  # whose
        st.sampled_from([None, "a", "b"]),  # the collapse key of what is sent
        st.sampled_from(["normal", "critical"]),
        st.integers(0, 2),  # which of those that were there before
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def take_users(user: int) -> Callable[[], tuple[int, int]]:
    taken = [1_000_000_000 + user * 1_000_000]

    def take() -> tuple[int, int]:
        taken[0] += 2
        return taken[0], taken[0] + 1

    return take


@given(ops=OPS)
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_together_comes_to_what_one_by_one_does(
    module_database_url: str, take_users: Callable[[], tuple[int, int]], ops: list[Op]
):
    database = await Database.connect(module_database_url, pool_max=4)
    try:
        world = World(database)
        one_by_one = await _history(world, take_users(), ops, together=False)
        groups = world.deps.lanes.figures.groups
        together = await _history(world, take_users(), ops, together=True)
        assert together == one_by_one
        assert world.deps.lanes.figures.groups == groups + 7, "six that are there before, and all in one"
    finally:
        await database.close()


async def _history(world: World, users: tuple[int, int], ops: list[Op], *, together: bool) -> Any:
    there = [[(await world.send(user, title=str(n), collapse_key=key)).id for n, key in enumerate((None, "a", "b"))]
             for user in users]  # fmt: skip

    async def one(op: Op, n: int) -> Any:
        what, whose, key, priority, which = op
        try:
            if what == "send":
                return (await world.send(users[whose], title=f"new {n}", collapse_key=key, priority=priority)).outcome
            done = await world.act(users[whose], what, there[whose][which])
        except AppError as refused:
            return type(refused)
        return [item.title for item in done.items], len(done.deleted)

    if together:
        answers = await asyncio.gather(*(one(op, n) for n, op in enumerate(ops)))
    else:
        answers = [await one(op, n) for n, op in enumerate(ops)]
    state: list[Any] = []
    for user in users:
        await world.check(user)
        rows = await world.sql("SELECT title, state, is_read, is_archived, live_seq FROM notifications"
                               " WHERE user_id = $1 ORDER BY title", user)  # fmt: skip
        deliveries = await world.sql("SELECT n.title, d.channel, d.status, d.reason FROM notification_delivery d"
                                     " JOIN notifications n ON n.id = d.notification_id WHERE d.user_id = $1"
                                     " ORDER BY 1, 2", user)  # fmt: skip
        kinds = [(event["kind"], event.get("counts")) for event in await world.events(user)]
        state.append(([tuple(row) for row in rows], [tuple(row) for row in deliveries], kinds))
    return answers, state
