"""The log as the gateway reads it: one snapshot each, bounded, never another tenant's."""

from __future__ import annotations

import pytest

from hub.core.counts import Counts
from hub.core.log import LogUnavailable, Moved
from hub.store.log import StreamLog
from tests.app.world import TENANT, World, draft


@pytest.fixture
def log(world: World) -> StreamLog:
    return StreamLog(world.database)


async def test_a_user_without_a_stream_gets_one(world: World, log: StreamLog, user: int):
    state = await log.read_state(TENANT, user, None)
    assert (state.head, state.counts, state.resumable) == (0, Counts(), False)
    assert await world.sql("SELECT 1 FROM user_streams WHERE user_id = $1", user) != []
    assert state.epoch == (await log.sweep([])).epoch


@pytest.mark.parametrize(("cursor", "resumable"), [(0, True), (2, True), (3, True), (4, False), (None, False)])
async def test_what_can_be_resumed_from(world: World, log: StreamLog, user: int, cursor: int | None, resumable: bool):
    await world.send_many([draft(user) for _ in range(3)])
    assert (await log.read_state(TENANT, user, cursor)).resumable is resumable


async def test_what_retention_has_taken_cannot(world: World, log: StreamLog, user: int):
    await world.send_many([draft(user) for _ in range(3)])
    await world.sql("DELETE FROM events WHERE user_id = $1 AND seq <= 2", user)
    assert [(await log.read_state(TENANT, user, cursor)).resumable for cursor in range(4)] == [False, False, True, True]


async def test_many_are_read_together_in_the_order_of_asking(world: World, log: StreamLog, user: int):
    """Of two tenants; one of them asks twice, and one has no stream yet."""
    await world.send_many([draft(user) for _ in range(3)])
    asked = [("zeta", user, 0), (TENANT, user, 2), (TENANT, user + 1, None), (TENANT, user, 4)]
    states = await log.read_states(asked)
    assert [(state.head, state.resumable) for state in states] == [(0, True), (3, True), (0, False), (3, False)]
    assert [state.counts.unread for state in states] == [0, 3, 0, 3]
    assert await log.read_states([]) == []


async def test_a_page_is_bounded_by_count_and_by_bytes_but_never_empty(world: World, log: StreamLog, user: int):
    await world.send_many([draft(user, message="x" * 1000) for _ in range(6)])

    async def seqs(after: int, count_max: int, bytes_max: int) -> list[int]:
        page = await log.read_after(TENANT, user, after, count_max=count_max, bytes_max=bytes_max)
        assert page.head == 6
        return [event.seq for event in page.events]

    assert await seqs(0, 100, 1_000_000) == [1, 2, 3, 4, 5, 6]
    assert await seqs(2, 2, 1_000_000) == [3, 4]
    assert await seqs(2, 100, 1) == [3]
    size = len((await log.read_after(TENANT, user, 0, count_max=1, bytes_max=1)).events[0].tail)
    assert await seqs(0, 100, 3 * size + size // 2) == [1, 2, 3]
    assert await seqs(6, 100, 100) == []


async def test_events_come_as_they_were_published(world: World, log: StreamLog, user: int):
    await world.prefer(user, enable_desktop_notifications=True, locale="de")
    await world.send(user, priority="critical")
    page = await log.read_after(TENANT, user, 0, count_max=10, bytes_max=10**6)
    heard = [event for hint in world.broker.hints(user) for event in hint.events]
    assert page.events == heard
    assert {hint.epoch for hint in world.broker.hints(user)} == {page.epoch}


async def test_a_hint_says_when_it_was_committed(world: World, log: StreamLog, user: int):
    before = world.deps.clock.now().timestamp()
    await world.send(user)
    await world.prefer(user, locale="de")
    heard = [hint.committed_at for hint in world.broker.hints(user)]
    assert len(heard) == 2
    assert before <= heard[0] <= heard[1] <= world.deps.clock.now().timestamp()


async def test_critical_ones_ahead(world: World, log: StreamLog, user: int):
    made = await world.send_many([draft(user, priority=one) for one in ("low", "critical", "high", "critical")])
    await world.act(user, "read", made[1].id)
    found = await log.read_critical_after(TENANT, user, 0, count_max=10)
    assert [event.seq for event in found] == [2, 4]
    assert [event.seq for event in await log.read_critical_after(TENANT, user, 2, count_max=10)] == [4]


async def test_a_sweep_answers_only_who_moved_ahead_or_back(world: World, log: StreamLog, user: int):
    await world.send_many([draft(user), draft(user + 1), draft(user + 2)])
    asked = [(TENANT, user, 1), (TENANT, user + 1, 0), (TENANT, user + 2, 5), (TENANT, user + 3, 0), ("other", user, 0)]
    assert sorted((await log.sweep(asked)).moved, key=lambda moved: moved.user_id) == [
        Moved(TENANT, user + 1, 1),
        Moved(TENANT, user + 2, 1),
    ]


async def test_an_ack_never_goes_back_nor_past_the_head(world: World, log: StreamLog, user: int):
    made = await world.send_many([draft(user) for _ in range(3)])

    async def delivered() -> int:
        rows = await world.sql("SELECT delivered_seq FROM user_streams WHERE user_id = $1", user)
        return rows[0][0]

    for cursor, expected in ((2, 2), (1, 2), (99, 3)):
        await log.acknowledge([(TENANT, user, cursor), ("other", user, 3)])
        assert await delivered() == expected
    assert await world.channels(made[0].id) == {"in_app": ("sent", None)}


async def test_away_is_what_the_gateway_knows(world: World, log: StreamLog, user: int):
    await world.database.close()
    with pytest.raises(LogUnavailable):
        await log.read_state(TENANT, user, None)
