"""One transaction, one announcement, once a key: the frame in which every write runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hub.app import create
from hub.app.announcing import HINT_BYTES_MAX
from hub.app.errors import IdempotencyBusy, IdempotencyMismatch
from hub.app.unit import Unit, perform
from hub.store.errors import DatabaseUnavailable
from hub.store.pool import Database
from tests.app.world import TENANT, World, draft, once


async def test_a_hint_leaves_only_after_the_commit(world: World, user: int):
    seen: list[int] = []

    async def look(messages: Sequence[tuple[str, bytes]]) -> None:
        # From a connection of its own: what it can see is committed.
        seen.append(await world.head(user))

    world.broker.before = look
    await world.send(user)
    # Who sent it does not wait for the broker.
    await world.deps.lanes.drain()
    assert seen == [1]


async def test_what_fails_leaves_nothing_and_tells_nobody(world: World, user: int):
    async def work(unit: Unit) -> None:
        await create.write_drafts(unit, [draft(user)])
        await unit.flush()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await perform(world.deps, world.producer, work)
    assert await world.head(user) == 0
    assert world.broker.messages == []


async def test_a_broker_that_takes_nothing_is_a_figure_and_no_error(world: World, user: int):
    async def refuse(messages: Sequence[tuple[str, bytes]]) -> int:
        return 0

    world.broker.publish_many = refuse  # type: ignore[method-assign]
    await world.send(user)
    assert (world.deps.hints.failed, world.deps.hints.published) == (1, 0)


async def test_a_huge_hint_is_cut_to_its_end(world: World, user: int):
    await world.send_many([draft(user, message="x" * 4000) for _ in range(40)])
    [hint] = world.broker.hints(user)
    assert hint.events[-1].seq == 40
    assert sum(len(event.tail) for event in hint.events) <= HINT_BYTES_MAX
    assert [event.seq for event in hint.events] == list(range(hint.events[0].seq, 41))


async def test_the_same_key_and_bytes_are_done_once(world: World, user: int):
    caller = world.caller(None, "service", once=once("a"), key=9)
    first = await create.create(world.deps, caller, [draft(user)])
    again = await create.create(world.deps, caller, [draft(user)])
    assert (first.repeated, again.repeated) == (False, True)
    assert (first.answer, first.position) == (again.answer, again.position)
    assert await world.head(user) == 1
    assert len(world.broker.messages) == 1


async def test_a_repeated_answer_stands_where_the_first_stood(world: World, user: int):
    """A client that connects with its position must get what came since."""
    caller = world.caller(user, "supervisor", once=once("p"))
    first = await create.create(world.deps, caller, [draft(user)])
    await world.send(user)
    again = await create.create(world.deps, caller, [draft(user)])
    assert again.repeated
    assert str(again.position) == str(first.position)
    assert str(again.position).endswith(":1")


async def test_other_bytes_under_the_same_key_are_refused(world: World, user: int):
    await create.create(world.deps, world.caller(None, "service", once=once("b"), key=9), [draft(user)])
    with pytest.raises(IdempotencyMismatch):
        await create.create(world.deps, world.caller(None, "service", once=once("b", b"other"), key=9), [draft(user)])
    assert await world.head(user) == 1


async def test_a_key_belongs_to_its_caller_and_path(world: World, user: int):
    for caller in (
        world.caller(None, "service", once=once("c"), key=9),
        world.caller(None, "service", once=once("c"), key=10),
        world.caller(user, "supervisor", once=once("c")),
        world.caller(user, "supervisor", once=once("c", path="/elsewhere")),
    ):
        assert not (await create.create(world.deps, caller, [draft(user)])).repeated
    assert await world.head(user) == 4


async def test_a_failed_request_does_not_use_its_key_up(world: World, user: int):
    caller = world.caller(None, "service", once=once("d"), key=9)

    async def work(unit: Unit) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await perform(world.deps, caller, work)
    assert not (await create.create(world.deps, caller, [draft(user)])).repeated


async def test_a_key_past_its_time_is_free_again(world: World, user: int):
    caller = world.caller(None, "service", once=once("e"), key=9)
    await create.create(world.deps, caller, [draft(user)])
    await world.sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'e'")
    assert not (await create.create(world.deps, caller, [draft(user)])).repeated
    assert (await create.create(world.deps, caller, [draft(user)])).repeated


async def test_the_second_waits_for_the_first_and_gets_its_answer(world: World, user: int):
    caller = world.caller(None, "service", once=once("f"), key=9)
    outcomes = await asyncio.gather(*(create.create(world.deps, caller, [draft(user)]) for _ in range(6)))
    assert sorted(outcome.repeated for outcome in outcomes) == [False] + [True] * 5
    assert len({outcome.answer.body for outcome in outcomes if outcome.answer}) == 1
    assert await world.head(user) == 1


async def test_while_the_first_runs_the_second_is_told_to_come_again(module_database_url: str, user: int):
    database = await Database.connect(module_database_url, pool_max=4)
    world = World(database, idempotency_wait_s=0.05)
    caller = world.caller(None, "service", once=once("g"), key=9)
    is_claimed, may_end = asyncio.Event(), asyncio.Event()

    async def slow(unit: Unit) -> str:
        is_claimed.set()
        await may_end.wait()
        return "done"

    running = asyncio.create_task(perform(world.deps, caller, slow))
    await is_claimed.wait()
    with pytest.raises(IdempotencyBusy):
        await create.create(world.deps, caller, [draft(user)])
    may_end.set()
    assert (await running).result == "done"
    await database.close()


async def test_waiting_for_a_twin_leaves_the_lock_timeout_as_it_was(world: World):
    timeouts: list[Any] = []

    async def work(unit: Unit) -> None:
        timeouts.append(await unit.tx.fetchval("SELECT current_setting('lock_timeout')"))

    await perform(world.deps, world.producer, work)
    await perform(world.deps, world.caller(None, "service", once=once("h"), key=9), work)
    assert timeouts[0] == timeouts[1]


async def test_while_the_database_is_away_nothing_is_answered_as_done(world: World, user: int):
    await world.database.close()
    with pytest.raises(DatabaseUnavailable):
        await world.send(user)


async def test_a_single_write_takes_few_round_trips(world: World, user: int):
    statements: list[str] = []
    original = world.database.transaction

    class Counting:
        def __init__(self, tx: Any) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> Any:
            statements.append(name)
            return getattr(self._tx, name)

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def transaction(tenant_id: str, **options: Any) -> Any:
        async with original(tenant_id, **options) as tx:
            yield Counting(tx)

    world.database.transaction = transaction  # type: ignore[method-assign]
    await create.create(world.deps, world.caller(None, "service", once=once("i"), key=9), [draft(user)])
    # Lock, keys, facts, all that is new, answer; begin, enter and commit come on top.
    assert len(statements) == 5
    assert TENANT
