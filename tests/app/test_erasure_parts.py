"""Erasing much of a person: in small parts, with a death between any two, gone on with by a worker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from hub.app import broadcasts, erasure, inbox
from hub.app.create import create
from hub.app.erasure import resume_erasures
from hub.core.counts import Counts
from hub.store import erasure as stored
from hub.store import upkeep
from hub.store.log import StreamLog
from hub.store.pool import Database, Tx
from tests.app.test_broadcasts import Dying
from tests.app.test_erasure import KEEPS_IDS, MARK, USER, fill, found_in
from tests.app.world import TENANT, World, draft, once


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "ROWS_MAX", 3)
    monkeypatch.setattr(erasure, "TASKS_MAX", 1)
    monkeypatch.setattr(erasure, "USERS_MAX", 1)


class Killed(Exception):
    pass


class Meddled:
    """A database with something to be done before a transaction is begun, given its number from 0 on."""

    def __init__(self, database: Database, before: Callable[[int], Awaitable[None]]) -> None:
        self._database = database
        self._before = before
        self.begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def transaction(self, tenant_id: str) -> AbstractAsyncContextManager[Tx]:
        return _After(self, self._database.transaction(tenant_id))

    async def begin(self) -> None:
        self.begun += 1
        await self._before(self.begun - 1)


class _After(AbstractAsyncContextManager[Tx]):
    def __init__(self, meddled: Meddled, transaction: AbstractAsyncContextManager[Tx]) -> None:
        self._meddled = meddled
        self._transaction = transaction

    async def __aenter__(self) -> Tx:
        await self._meddled.begin()
        return await self._transaction.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._transaction.__aexit__(*error)


async def with_database(world: World, database: Any, work: Callable[[], Awaitable[Any]]) -> bool:
    """Whether it came to its end on this database, and was not killed."""
    whole = world.deps.database
    world.deps.database = database
    try:
        await work()
    except Killed:
        return False
    finally:
        world.deps.database = whole
    return True


def mortal(world: World, transactions: int) -> Meddled:
    async def before(number: int) -> None:
        if number >= transactions:
            raise Killed

    return Meddled(world.database, before)


async def erase(world: World, user: int = USER) -> bool | None:
    return (await erasure.erase_user(world.deps, world.caller(1, "admin"), user)).result


async def is_marked(world: World, user: int = USER) -> bool:
    return bool(await world.sql("SELECT FROM user_streams WHERE user_id = $1 AND erasing_at IS NOT NULL", user))


async def work_on(world: World) -> int:
    """What a worker does once the time has come."""
    await world.sql("UPDATE user_streams SET erasing_at = now() - interval '1 hour' WHERE erasing_at IS NOT NULL")
    async with world.database.system() as tx:
        due = await upkeep.find_due_erasures(tx, 10, timedelta(seconds=erasure.IDLE_S))
    return await resume_erasures(world.deps, TENANT, [user for tenant, user in due if tenant == TENANT])


async def check_reads_empty(world: World, user: int) -> None:
    """Nobody is shown what is left as if it were all."""
    agent = world.caller(user)
    asked = inbox.Asked(limit=50)
    for page in (
        (await inbox.list_notifications(world.deps, agent, asked, with_total=True)).result,
        (await inbox.list_unread(world.deps, agent, asked, with_total=True)).result,
    ):
        assert page is not None
        assert (page.items, page.total) == ([], 0)
    figures = (await inbox.read_figures(world.deps, world.caller(1, "supervisor"), user)).result
    assert figures is not None
    assert (figures.total, figures.unread, figures.unread_by_type) == (0, Counts(), {})
    export = await erasure.export_user(world.deps, world.caller(1, "admin"), user)
    assert [rows for rows in export.sections.values() if rows] == []
    state = await StreamLog(world.database).read_state(TENANT, user, None)
    assert (state.counts, state.resumable) == (Counts(), False)
    begun = await broadcasts.broadcast(world.deps, world.caller(1, "admin"), draft(0), None)
    assert begun.result is not None
    rows = await world.sql(
        "SELECT FROM broadcast_audience WHERE broadcast_id = $1 AND user_id = $2", begun.result.broadcast_id, user
    )
    assert rows == []


async def others(world: World) -> tuple[Any, ...]:
    """What all others have: rows and badges."""
    rows = await world.sql(
        "SELECT sum((SELECT count(*) FROM notifications n WHERE n.user_id = s.user_id)), sum(unread), sum(unseen)"
        " FROM user_streams s WHERE user_id <> $1",
        USER,
    )
    return tuple(rows[0])


def told_erased(world: World, user: int) -> int:
    return sum(b'"inbox.erased"' in event.tail for hint in world.broker.hints(user) for event in hint.events)


@pytest.mark.usefixtures("small_parts")
async def test_killed_between_any_two_parts_a_worker_finishes_it(world: World, owner: asyncpg.Connection):
    await fill(world)
    await world.send_many([draft(USER, title=MARK) for _ in range(20)])
    unread = (await world.counts(USER)).unread
    beside = await others(world)
    assert not await with_database(world, mortal(world, 1), lambda: erase(world))
    assert await is_marked(world)
    deaths = 0
    while await is_marked(world):
        await check_reads_empty(world, USER)
        assert told_erased(world, USER) == 0
        # The fifth transaction deletes: what follows are one more of these, and a death, each time.
        transactions = min(deaths + 1, 5)
        if not await with_database(world, mortal(world, transactions), lambda: work_on(world)):
            deaths += 1
        if await is_marked(world) and deaths % 5 == 0:
            await world.send(USER, title=MARK, data={"late": MARK})
            unread += 1
            assert (await world.counts(USER)).unread == unread, "the badge counts on until the end"
    assert deaths > 15

    assert await found_in(owner, MARK) == set()
    assert await found_in(owner, str(USER)) - KEEPS_IDS == {"events"}
    assert await world.kinds(USER) == ["inbox.erased"]
    assert await world.counts(USER) == Counts()
    assert await others(world) == beside
    trail = await world.sql(
        "SELECT action, actor_id FROM audit_log WHERE entity_id = $1 AND action LIKE 'user.erase%' ORDER BY id",
        str(USER),
    )
    assert [tuple(row) for row in trail] == [("user.erase", 1), ("user.erased", None)]
    assert await work_on(world) == 0
    assert told_erased(world, USER) == 1
    await world.send(USER)
    assert (await world.counts(USER)).unread == 1


async def test_killed_at_every_statement_it_is_finished_by_asking_again_or_by_a_worker(world: World, user: int):
    deaths = resumed = 0
    for step in range(0, 300, 3):
        await world.send(user, title=MARK)
        await world.sql(
            "INSERT INTO tasks (tenant_id, title, assigned_to, created_by) VALUES ($1, 't', $2, 6)", TENANT, user
        )
        await create(world.deps, world.caller(user, "admin"), [draft(7, created_by=user, created_by_key=None)])
        world.broker.messages.clear()
        world.deps.database = dying = Dying(world.database, step)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            await erase(world, user)
        except Exception:
            has_died = True
            deaths += 1
        else:
            has_died = False
        finally:
            world.deps.database = world.database
        if step % 2 and await is_marked(world, user):
            resumed += await work_on(world)
        elif has_died:
            await erase(world, user)
        assert not await is_marked(world, user)
        assert told_erased(world, user) == 1
        assert await world.kinds(user) == ["inbox.erased"]
        assert await world.sql("SELECT FROM notifications WHERE user_id = $1 OR created_by = $1", user) == []
        assert await world.sql("SELECT FROM tasks WHERE assigned_to = $1", user) == []
        if dying.left > 0:
            break
    assert deaths >= 10
    assert resumed >= 5
    await world.check_log(6)


@pytest.mark.usefixtures("small_parts")
async def test_a_part_takes_no_more_rows_than_it_may(world: World, user: int):
    other = user + 1
    await world.send_many([draft(user) for _ in range(7)])
    await create(world.deps, world.caller(user, "admin"), [draft(other, created_by=user) for _ in range(7)])
    left = "SELECT (SELECT count(*) FROM notifications WHERE user_id = $1 OR created_by = $1),"
    left += " (SELECT count(*) FROM events WHERE user_id = $1)"
    seen: list[int] = []

    async def before(_: int) -> None:
        seen.append(sum((await world.sql(left, user))[0]))

    assert await with_database(world, Meddled(world.database, before), lambda: erase(world, user))
    parts = [before - after for before, after in itertools.pairwise(seen)]
    assert max(parts) == 3
    assert seen[0] == 21


@pytest.mark.usefixtures("small_parts")
async def test_the_log_is_never_left_with_a_hole(world: World, user: int):
    await world.send_many([draft(user) for _ in range(10)])
    log = StreamLog(world.database)
    firsts: set[int] = set()

    async def before(_: int) -> None:
        events = await world.events(user)
        if events:
            firsts.add(events[0]["seq"])
            assert [event["seq"] for event in events] == list(range(events[0]["seq"], 11))
            # Who had all before that goes on where they were, and with the badge that they have.
            state = await log.read_state(TENANT, user, events[0]["seq"] - 1)
            assert (state.resumable, state.counts.unread) == (True, 10)

    assert await with_database(world, Meddled(world.database, before), lambda: erase(world, user))
    assert len(firsts) >= 3


async def test_what_comes_behind_its_back_does_not_survive(world: World, user: int):
    deeds: list[int] = []
    beside = World(world.database)

    async def before(number: int) -> None:
        # Begun, and through with tasks, what others were told, and kept answers.
        if number == 4:
            deeds.append(number)
            await create(
                beside.deps, world.caller(6, "supervisor", once=once(f"late-{user}")), [draft(user, title=MARK)]
            )
            await world.sql("INSERT INTO tasks (tenant_id, title, assigned_to) VALUES ($1, 't', $2)", TENANT, user)
            await create(beside.deps, world.caller(user, "admin"), [draft(8, created_by=user)])

    assert await with_database(world, Meddled(world.database, before), lambda: erase(world, user))
    assert deeds
    assert await world.kinds(user) == ["inbox.erased"]
    assert await world.sql("SELECT FROM tasks WHERE assigned_to = $1", user) == []
    assert await world.sql("SELECT FROM notifications WHERE user_id = $1 OR created_by = $1", user) == []
    kept = await world.sql("SELECT answer FROM idempotency_keys WHERE key = $1", f"late-{user}")
    assert [row[0] for row in kept] == [b"{}"]


async def test_answers_are_looked_through_in_parts(world: World, user: int, monkeypatch: pytest.MonkeyPatch):
    # Long ago, so that only the way through all of them finds these.
    monkeypatch.setattr(erasure, "LATE_COMMIT_S", -60.0)
    monkeypatch.setattr(stored, "ANSWERS_MAX", 2)
    for number in range(5):
        caller = world.caller(6, "supervisor", once=once(f"{user}-{number}"))
        await create(world.deps, caller, [draft(user, title=MARK)])
    assert await erase(world, user)
    kept = await world.sql("SELECT DISTINCT answer FROM idempotency_keys WHERE key LIKE $1", f"{user}-%")
    assert [row[0] for row in kept] == [b"{}"]


async def test_who_asks_is_answered_in_time_and_asks_again(world: World, user: int, monkeypatch: pytest.MonkeyPatch):
    await world.send(user)
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "ANSWER_WITHIN_S", -1.0)
        assert await erase(world, user) is False
    assert await is_marked(world, user)
    assert await erase(world, user) is True
    trail = await world.sql(
        "SELECT action FROM audit_log WHERE entity_id = $1 AND action LIKE 'user.erase%' ORDER BY id", str(user)
    )
    assert [row[0] for row in trail] == ["user.erase", "user.erased"]


@pytest.mark.usefixtures("small_parts")
async def test_asked_for_by_several_at_once_each_erasing_is_told_once(world: World, user: int):
    await world.send_many([draft(user) for _ in range(20)])
    assert await asyncio.gather(*(erase(world, user) for _ in range(4))) == [True] * 4
    begun = await world.sql("SELECT FROM audit_log WHERE action = 'user.erase' AND entity_id = $1", str(user))
    assert told_erased(world, user) == len(begun)
    assert await world.kinds(user) == ["inbox.erased"]
    assert not await is_marked(world, user)


async def test_what_another_has_in_hand_is_passed_over(world: World, user: int):
    idle = timedelta(seconds=erasure.IDLE_S)

    async def take() -> bool:
        async with world.database.transaction(TENANT) as tx:
            return await stored.take(tx, TENANT, user, idle)

    await world.sql("INSERT INTO user_streams (tenant_id, user_id, erasing_at) VALUES ($1, $2, now())", TENANT, user)
    assert not await take(), "it goes on just now"
    await world.sql("UPDATE user_streams SET erasing_at = now() - interval '1 hour' WHERE user_id = $1", user)
    async with world.database.transaction(TENANT) as tx:
        await tx.fetch("SELECT FROM user_streams WHERE user_id = $1 FOR UPDATE", user)
        assert not await take(), "and nobody waits for the lock"
    assert await take()
    assert not await take()
    assert await work_on(world) == 1
