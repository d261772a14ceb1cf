"""Two hundred writers at once, to one user and to overlapping sets, with all else running against them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from hub.app import own
from hub.app.errors import AppError
from hub.core.counts import Counts
from hub.store.log import StreamLog
from hub.store.pool import Database
from tests.app.world import ALL_DAY, TENANT, World, draft, later

WRITERS = 200
NODES = 10


async def test_two_hundred_writers_to_one_user_leave_no_gap(database_url: str):
    database = await Database.connect(database_url, pool_max=12)
    # As many nodes, each with writers of its own that share transactions.
    nodes = [World(database) for _ in range(NODES)]
    world = nodes[0]
    await asyncio.gather(*(nodes[n % NODES].send(1) for n in range(WRITERS)))
    assert await world.counts(1) == Counts(unread=WRITERS, unseen=WRITERS, normal=WRITERS)
    await world.check(1)
    # The hints of one user, in the order of their numbers, leave none out.
    told = [event.seq for node in nodes for hint in node.broker.hints(1) for event in hint.events]
    assert sorted(told) == list(range(1, WRITERS + 1))
    assert sum(node.deps.lanes.figures.writes for node in nodes) == WRITERS
    await database.close()


async def test_overlapping_sets_with_everything_else_running(database_url: str):
    """No deadlock (PostgreSQL would choose a victim, which raises), no gap, counts as SQL counts them."""
    seed = 20261122
    dice = random.Random(seed)
    database = await Database.connect(
        database_url, pool_max=12, statement_timeout_s=30, lock_timeout_s=25, acquire_s=60
    )
    nodes = [World(database) for _ in range(NODES)]
    world = nodes[0]
    log = StreamLog(database)
    users = list(range(1, 9))

    async def create() -> None:
        chosen = dice.sample(users, dice.randint(1, 5))
        fields: dict[str, Any] = {"priority": dice.choice(["critical", "high", "normal", "low"])}
        fields["collapse_key"] = dice.choice([None, None, "a", "b"])
        if dice.random() < 0.3:
            fields["deliver_at"] = later(3600)
        if dice.random() < 0.3:
            fields["expires_at"] = later(7200)
        await dice.choice(nodes).send_many([draft(user, **fields) for user in chosen])

    async def act() -> None:
        user = dice.choice(users)
        rows = await world.sql("SELECT id FROM notifications WHERE user_id = $1 ORDER BY id DESC LIMIT 3", user)
        action = dice.choice(["read", "unread", "archive", "unarchive", "delete"])
        if rows:
            await dice.choice(nodes).act(user, action, *(row["id"] for row in rows))

    async def sweep() -> None:
        await own.sweep(world.deps, world.caller(dice.choice(users)), dice.choice(["read_all", "seen"]), None)

    async def prefer() -> None:
        await world.prefer(dice.choice(users), **(ALL_DAY | {"quiet_hours_enabled": dice.random() < 0.5}))

    async def release() -> None:
        await world.sql("UPDATE notifications SET due_at = now() - interval '1 s', deliver_at = NULL"
                        " WHERE id IN (SELECT id FROM notifications WHERE state = 'held' AND hold_reason = 'schedule'"
                        " ORDER BY id LIMIT 5 FOR UPDATE SKIP LOCKED)")  # fmt: skip
        await world.release(*users)

    async def expire() -> None:
        await world.sql("UPDATE notifications SET expires_at = now() - interval '1 s'"
                        " WHERE id IN (SELECT id FROM notifications WHERE expires_at IS NOT NULL"
                        " ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED)")  # fmt: skip
        await world.expire(*users)

    async def acknowledge() -> None:
        chosen = dice.sample(users, 4)
        await log.acknowledge([(TENANT, user, dice.randint(0, 50)) for user in chosen])

    async def read() -> None:
        user = dice.choice(users)
        page = await log.read_after(TENANT, user, 0, count_max=10_000, bytes_max=100_000_000)
        # Whoever sees 7 can never later find a 6: what is there is there from 1 on, up to the head of that moment.
        assert [event.seq for event in page.events] == list(range(1, page.head + 1))

    steps = [create, create, create, create, act, act, sweep, prefer, release, expire, acknowledge, read]

    async def guarded(step: Any) -> None:
        try:
            await step()
        except AppError:
            pass  # another was quicker: the row is gone

    async with asyncio.timeout(120):
        await asyncio.gather(*(guarded(steps[n % len(steps)]) for n in range(2 * WRITERS)))
    for user in users:
        await world.check_log(user)
    await database.close()
