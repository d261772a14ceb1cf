"""Broadcasts on a real PostgreSQL: the audience, the parts, and every death in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from hub.app import broadcasts, directory, own, withdraw
from hub.app.broadcasts import CHUNK_MAX
from hub.app.errors import Forbidden, Invalid, NotFound
from hub.core.counts import Counts
from hub.core.notification import Draft
from hub.store import broadcasts as stored
from hub.store import upkeep
from hub.store.notifications import Withdrawn
from hub.store.pool import Database
from tests.app.world import ALL_DAY, TENANT, World, draft
from tests.conftest import Databases

ADMIN = 900_000


@pytest.fixture
def module_database_url(databases: Databases) -> Iterator[str]:
    """A database for each test: a broadcast is for everyone there is."""
    with databases.fresh() as url:
        yield url


def text(**fields: Any) -> Draft:
    return draft(0, **{"title": "All hands", "created_by": ADMIN, "created_by_key": None, **fields})


async def begin(world: World, group: str | None = None, **fields: Any) -> int:
    outcome = await broadcasts.broadcast(world.deps, world.caller(ADMIN, "admin"), text(**fields), group)
    assert outcome.result is not None
    return outcome.result.broadcast_id


async def due(world: World) -> list[int]:
    async with world.database.system() as tx:
        return [broadcast_id for _, broadcast_id in await upkeep.find_due_broadcasts(tx, 100)]


async def finish(world: World) -> int:
    told = 0
    while ids := await due(world):
        told += await broadcasts.fan_out(world.deps, TENANT, ids)
    return told


async def figures(world: World, broadcast_id: int) -> Any:
    return await broadcasts.read_figures(world.deps, world.caller(ADMIN, "admin"), broadcast_id)


async def begin_inboxes(world: World, count: int) -> None:
    await world.sql(
        "INSERT INTO user_streams (tenant_id, user_id) SELECT $1, n FROM generate_series(1, $2::int) n", TENANT, count
    )


async def test_everyone_with_an_inbox_is_told_once(world: World):
    await begin_inboxes(world, CHUNK_MAX + 20)
    broadcast_id = await begin(world)
    assert (await figures(world, broadcast_id)).audience == CHUNK_MAX + 20
    assert await finish(world) == CHUNK_MAX + 20
    for user_id in (1, CHUNK_MAX + 20):
        assert await world.kinds(user_id) == ["notification.created"]
        await world.check(user_id)
    found = await figures(world, broadcast_id)
    assert (found.told, found.delivered, found.seen, found.read) == (CHUNK_MAX + 20, 0, 0, 0)
    assert found.completed_at is not None
    assert await broadcasts.fan_out(world.deps, TENANT, [broadcast_id]) == 0


async def test_an_audience_of_several_parts_is_whole(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "PART_MAX", 3)
    await begin_inboxes(world, 7)
    await directory.put_group(world.deps, world.caller(ADMIN, "admin"), "night", [1, 2, 3, 4, 5, 6])
    for broadcast_id, size in ((await begin(world), 7), (await begin(world, "night"), 6)):
        assert (await figures(world, broadcast_id)).audience == size
        rows = await world.sql("SELECT user_id FROM broadcast_audience WHERE broadcast_id = $1", broadcast_id)
        assert sorted(row[0] for row in rows) == list(range(1, size + 1))


async def test_the_audience_is_fixed_when_it_is_accepted(world: World):
    await begin_inboxes(world, 2)
    await begin(world)
    await world.send(3)
    await finish(world)
    assert [await world.head(user_id) for user_id in (1, 2, 3)] == [1, 1, 1]


async def test_a_group_is_told_and_nobody_else(world: World):
    await begin_inboxes(world, 3)
    await directory.put_group(world.deps, world.caller(ADMIN, "admin"), "night", [2, 7, 2])
    await begin(world, "night")
    await finish(world)
    assert [await world.head(user_id) for user_id in (1, 2, 3, 7)] == [0, 1, 0, 1]


async def test_a_group_that_is_not_there_is_refused_and_leaves_nothing(world: World):
    with pytest.raises(Invalid):
        await begin(world, "nobody")
    assert await world.sql("SELECT FROM broadcasts") == []


async def test_only_an_admin_broadcasts_and_looks(world: World):
    for role in ("agent", "supervisor", "service"):
        with pytest.raises(Forbidden):
            await broadcasts.broadcast(world.deps, world.caller(1, role), text(), None)  # pyright: ignore[reportArgumentType]
        with pytest.raises(Forbidden):
            await broadcasts.read_figures(world.deps, world.caller(1, role), 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotFound):
        await figures(world, 1)


async def test_without_anyone_it_is_complete_at_once(world: World):
    assert (await figures(world, await begin(world))).completed_at is not None
    assert await due(world) == []


async def test_each_recipient_has_their_own_verdict(world: World):
    await begin_inboxes(world, 2)
    await world.prefer(1, **ALL_DAY)
    await begin(world)
    await finish(world)
    assert await world.kinds(1) == ["preferences.updated"]
    assert (await world.counts(2)).unread == 1


async def test_seen_read_and_who_has_not(world: World):
    await begin_inboxes(world, 3)
    broadcast_id = await begin(world)
    admin = world.caller(ADMIN, "admin")

    async def unread(after: int = 0, limit: int = 10) -> list[int]:
        _, page = await broadcasts.read_unread(
            world.deps, admin, broadcast_id, after=after, limit=limit, offset=0, with_total=True
        )
        assert page.total is not None
        return [reader.user_id for reader in page.items]

    assert await unread() == [1, 2, 3]
    await finish(world)
    rows = await world.sql("SELECT id FROM notifications WHERE user_id = 2")
    await world.act(2, "read", rows[0]["id"])
    await own.sweep(world.deps, world.caller(3), "seen", None)
    found = await figures(world, broadcast_id)
    assert (found.delivered, found.seen, found.read) == (2, 2, 1)
    assert await unread() == [1, 3]
    assert await unread(after=1, limit=1) == [3]


async def test_withdrawn_it_is_taken_back_and_told_to_nobody_more(world: World):
    await begin_inboxes(world, CHUNK_MAX + 5)
    broadcast_id = await begin(world)
    await broadcasts.fan_out(world.deps, TENANT, [broadcast_id])
    asked = Withdrawn(created_by=ADMIN, created_by_key=None, broadcast_id=broadcast_id)
    taken = await withdraw.withdraw(world.deps, world.caller(ADMIN, "admin"), asked)
    assert taken.result is not None
    assert taken.result.count == CHUNK_MAX
    assert await finish(world) == 0
    assert await broadcasts.fan_out(world.deps, TENANT, [broadcast_id]) == 0
    assert await world.kinds(1) == ["notification.created", "notification.deleted"]
    assert await world.counts(1) == Counts()
    assert await world.head(CHUNK_MAX + 5) == 0


async def test_nobody_else_withdraws_it(world: World):
    await begin_inboxes(world, 1)
    broadcast_id = await begin(world)
    asked = Withdrawn(created_by=7, created_by_key=None, broadcast_id=broadcast_id)
    await withdraw.withdraw(world.deps, world.caller(7, "supervisor"), asked)
    assert await finish(world) == 1


async def test_tenants_take_turns_and_the_urgent_goes_first(world: World):
    await begin_inboxes(world, 1)
    low = await begin(world, priority="low")
    critical = await begin(world, priority="critical")
    assert await due(world) == [critical, low]


async def test_many_workers_at_once_tell_each_once(world: World):
    await begin_inboxes(world, 3 * CHUNK_MAX)
    broadcast_id = await begin(world)
    told = 0
    while await due(world):
        told += sum(await asyncio.gather(*(broadcasts.fan_out(world.deps, TENANT, [broadcast_id]) for _ in range(4))))
    assert told == 3 * CHUNK_MAX
    rows = await world.sql("SELECT min(head) AS least, max(head) AS most FROM user_streams")
    assert tuple(rows[0]) == (1, 1)


async def test_who_was_told_since_they_were_looked_for_is_not_told_again(world: World, monkeypatch: pytest.MonkeyPatch):
    await begin_inboxes(world, CHUNK_MAX + 1)
    broadcast_id = await begin(world)
    await broadcasts.fan_out(world.deps, TENANT, [broadcast_id])

    async def stale(*_: Any) -> list[int]:
        return list(range(1, CHUNK_MAX + 2))

    monkeypatch.setattr(stored, "read_waiting", stale)
    assert await broadcasts.fan_out(world.deps, TENANT, [broadcast_id]) == 1
    rows = await world.sql("SELECT min(head) AS least, max(head) AS most FROM user_streams")
    assert tuple(rows[0]) == (1, 1)


async def test_one_that_cannot_be_told_does_not_keep_the_others_waiting(world: World):
    await begin_inboxes(world, 2)
    broken, sound = await begin(world), await begin(world)
    await world.sql("UPDATE broadcasts SET draft = '{}' WHERE id = $1", broken)
    with pytest.raises(msgspec.ValidationError):
        await broadcasts.fan_out(world.deps, TENANT, [broken, sound])
    assert (await figures(world, sound)).told == 2
    assert (await figures(world, broken)).told == 0


class Dying:
    """A database whose connection dies before the statement of a given number."""

    def __init__(self, database: Database, at: int) -> None:
        self._database = database
        self.left = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @asynccontextmanager
    async def transaction(self, tenant_id: str) -> AsyncIterator[Any]:
        async with self._database.transaction(tenant_id) as tx:
            yield _DyingTx(tx, self)


class _DyingTx:
    def __init__(self, tx: Any, owner: Dying) -> None:
        self._tx = tx
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        statement = getattr(self._tx, name)

        async def run(*args: Any) -> Any:
            if self._owner.left == 0:
                self._tx.terminate()
            self._owner.left -= 1
            return await statement(*args)

        return run


async def test_killed_at_every_step_each_recipient_is_told_exactly_once(world: World):
    await begin_inboxes(world, CHUNK_MAX + 10)
    whole = world.deps.database
    deaths = 0
    for step in range(200):
        broadcast_id = await begin(world)
        world.deps.database = dying = Dying(whole, step)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            while ids := await due(world):
                await broadcasts.fan_out(world.deps, TENANT, ids)
        except Exception:
            deaths += 1
        finally:
            world.deps.database = whole
        await finish(world)
        rows = await world.sql(
            "SELECT count(*) AS rows, count(DISTINCT user_id) AS users FROM notifications WHERE broadcast_id = $1",
            broadcast_id,
        )
        assert tuple(rows[0]) == (CHUNK_MAX + 10, CHUNK_MAX + 10), f"killed before statement {step}"
        if dying.left > 0:
            break
    assert deaths >= 15, "every statement of two chunks was one to die before"
    await world.check(1)
