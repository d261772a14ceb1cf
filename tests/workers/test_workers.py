"""The loops of a node on a real PostgreSQL: what is due happens by itself, on any node, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.app import credentials
from hub.app.deps import Deps
from hub.auth.revocations import Revocations
from hub.store import upkeep
from hub.store.pool import Database
from hub.workers import Workers, background_workers
from hub.workers.due import DueWorker
from tests.app.world import TENANT, World, draft, later


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    database = await Database.connect(database_url, pool_max=8)
    yield World(database)
    await database.close()


class Node:
    """The workers of one node, and whom they had closed."""

    def __init__(self, world: World) -> None:
        self.closed: list[tuple[str, int, float]] = []
        self.revocations = Revocations()
        self.closed_signal = asyncio.Event()
        self.workers: Workers = background_workers(
            world.deps, revocations=self.revocations, on_revoked=self._on_revoked
        )

    def _on_revoked(self, tenant_id: str, user_id: int, revoked_at: float) -> None:
        self.closed.append((tenant_id, user_id, revoked_at))
        self.closed_signal.set()

    async def __aenter__(self) -> Node:
        self.workers.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.workers.stop()


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait for what another task brings about."""
    async with asyncio.timeout(15):
        while not await condition():
            await asyncio.sleep(0)


async def test_what_is_due_goes_live_by_itself_and_once_on_several_nodes(world: World):
    made = await world.send_many([draft(user, deliver_at=later(3600)) for user in range(1, 31)])
    await world.make_due(*(one.id for one in made))
    async with Node(world), Node(world):
        await until(lambda: _all_live(world, 30))
    for user in range(1, 31):
        assert await world.kinds(user) == ["notification.created"]
        await world.check(user)


async def _all_live(world: World, count: int) -> bool:
    rows = await world.sql("SELECT count(*) FROM notifications WHERE state = 'live'")
    return rows[0][0] == count


async def test_what_has_expired_goes_by_itself(world: World):
    made = await world.send(1, expires_at=later(3600))
    await world.make_expired(made.id)
    async with Node(world):
        await until(lambda: world.sql("SELECT 1 FROM notifications WHERE state = 'expired'"))
    assert await world.kinds(1) == ["notification.created", "notification.expired"]


async def test_a_schedule_comes_live_at_its_time(world: World):
    at = later(1.5)
    await world.send(1, deliver_at=at)
    async with Node(world):
        await until(lambda: _all_live(world, 1))
    [event] = await world.events(1)
    assert at <= datetime.fromisoformat(event["at"]) <= later(0)
    assert event["data"]["released"] is True


async def test_an_erasing_whose_node_died_is_finished_by_another(world: World):
    await world.send_many([draft(1), draft(2)])
    await world.sql("UPDATE user_streams SET erasing_at = now() - interval '1 minute' WHERE user_id = 1")
    async with Node(world), Node(world):
        await until(lambda: world.sql("SELECT FROM user_streams WHERE user_id = 1 AND erasing_at IS NULL"))
    assert await world.kinds(1) == ["inbox.erased"]
    assert await world.kinds(2) == ["notification.created"]


async def test_a_revoked_user_is_closed_on_every_node_once(world: World):
    async with Node(world) as first, Node(world) as second:
        outcome = await credentials.revoke_user(world.deps, world.caller(1, "admin"), 7)
        assert outcome.result is not None
        revoked_at = outcome.result.revoked_at
        async with asyncio.timeout(10):
            await first.closed_signal.wait()
            await second.closed_signal.wait()
        assert first.closed == second.closed == [(TENANT, 7, revoked_at.timestamp())]
        assert first.revocations.refuses(TENANT, 7, revoked_at)
        assert not first.revocations.refuses(TENANT, 7, datetime.now(UTC))


async def test_a_slow_tenant_does_not_keep_others_waiting(world: World):
    is_slow, may_go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def find(lim: int) -> list[tuple[str, int]]:
        return [("slow", 1)] if not is_slow.is_set() else [("slow", 1), ("quick", 2)]

    async def do(deps: Deps, tenant_id: str, user_ids: Sequence[int]) -> int:
        if tenant_id == "slow":
            is_slow.set()
            await may_go_on.wait()
        done.append(tenant_id)
        return len(user_ids)

    worker = DueWorker(world.deps, find, do)
    assert await worker.step() == (0, False)
    assert await worker.step() == (1, True)
    assert done == ["quick"]
    await worker.close()


async def test_due_users_are_asked_for_tenant_by_tenant_in_turn(world: World):
    for user in range(1, 9):
        await world.send(user, deliver_at=later(3600))
    await world.sql("UPDATE notifications SET due_at = now() - interval '1 s'")
    await world.sql(
        "INSERT INTO notifications (tenant_id, user_id, type, title, message, state, hold_reason, due_at)"
        " VALUES ('other', 1, 'system', 't', 'm', 'held', 'schedule', now() - interval '1 ms')",
        tenant="other",
    )
    async with world.database.system() as tx:
        due = await upkeep.find_due_releases(tx, 2)
    assert {tenant for tenant, _ in due} == {TENANT, "other"}


async def test_keys_past_their_time_are_forgotten(world: World):
    await world.sql(
        "INSERT INTO idempotency_keys (tenant_id, user_id, method, path, key, fingerprint, created_at)"
        " SELECT 'acme', 1, 'POST', '/', n::text, 'x', now() - n * interval '10 hours' FROM generate_series(0, 4) n"
    )
    async with Node(world):
        await until(lambda: _forgotten(world))


async def _forgotten(world: World) -> bool:
    rows = await world.sql("SELECT array_agg(key ORDER BY key) FROM idempotency_keys")
    return rows[0][0] == ["0", "1", "2"]
