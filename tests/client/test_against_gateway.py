"""The client against the real gateway: sockets, sessions, replays, calls; only the log and the bus are in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hub.client.client import HubClient
from hub.client.errors import CallError
from hub.client.event import Event, Item, Reset
from hub.client.place import Place
from hub.client.tuning import Tuning
from hub.core.priority import PRIORITIES
from hub.gateway.limits import GatewayLimits
from tests.client.fakes import States, eventually, take, take_seqs
from tests.gateway.harness import Bus, Hub, MemoryLog

AT_ONCE = Tuning(backoff_base_s=0.0, ack_interval_s=0.01)


@pytest.fixture
async def real() -> AsyncIterator[Hub]:
    limits = GatewayLimits(sweep_interval_s=60, node_beat_s=0.05, node_silence_max_s=1.0, ack_flush_interval_s=0.01)
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(Hub(MemoryLog(), Bus(), limits).serving())


@pytest.mark.parametrize("wire", ["json", "msgpack"])
async def test_it_resumes_where_it_was_cut(real: Hub, wire: str) -> None:
    """Cut again and again, at every point of a replay: each event once."""
    async with HubClient(real.url, token="acme:7", place=Place("e1", 0), tuning=AT_ONCE, format=wire) as client:  # type: ignore[arg-type]
        shown: list[int | None] = []
        for round_number in range(12):
            for number in range(25):
                real.commit(priority=PRIORITIES[number % 4], hint=number % 3 != 0)
            while len(shown) < 25 * round_number + 20:
                shown += await take_seqs(client, 1)
            if client._link is not None:
                client._link.cut("the test pulls the cable")
        shown += await take_seqs(client, 300 - len(shown))
        assert sorted(seq or 0 for seq in shown) == list(range(1, 301))
        assert client.place.snapshot() == {"epoch": "e1", "cursor": 300, "had": []}
        assert client.counts is not None
        assert client.counts.unread == 300


async def test_a_first_connection_a_place_of_rest_and_a_reset(real: Hub) -> None:
    real.commit()
    async with HubClient(real.url, token="acme:7", tuning=AT_ONCE) as client:
        (fresh,) = await take(client, 1)
        assert isinstance(fresh, Reset)
        assert (fresh.cause, fresh.cursor) == ("fresh", 1)
        real.commit()
        assert await take_seqs(client, 1) == [2]
    async with HubClient(real.url, token="acme:7", place=Place("e1", 1), tuning=AT_ONCE) as client:
        (missed,) = await take(client, 1)
        assert isinstance(missed, Event)
        assert (missed.seq, missed.replayed) == (2, True)
    async with HubClient(real.url, token="acme:7", place=Place("of another hub", 1), tuning=AT_ONCE) as client:
        (reset,) = await take(client, 1)
        assert isinstance(reset, Reset)
        assert (reset.cause, reset.epoch, reset.cursor) == ("reset", "e1", 2)


async def test_calls_and_acks(real: Hub) -> None:
    async with HubClient(real.url, token="acme:7", place=Place("e1", 0), tuning=AT_ONCE) as client:
        assert await client.call("echo", id=5) == {"id": 5}
        with pytest.raises(CallError) as refused:
            await client.call("notifications.of_tomorrow")
        assert refused.value.status == 404
        real.commit()
        assert await take_seqs(client, 1) == [1]
        waiting = asyncio.ensure_future(anext(client))
        await eventually(lambda: real.log.delivered.get(("acme", 7)) == 1)
        waiting.cancel()


async def test_a_hub_that_stops_and_comes_back(real: Hub) -> None:
    """`bye` 1012, and the same port again with the same log: what was committed meanwhile is there."""
    states = States()
    tuning = Tuning(backoff_base_s=0.0, retry_after_max_s=0.05)
    async with HubClient(real.url, token="acme:7", place=Place("e1", 0), tuning=tuning, on_state=states) as client:
        await states.until("live")
        await real.node.drain(within_s=2)
        state = await states.until("waiting")
        assert "restarting" in state.why
        real.commit(hint=False)
        real.node.is_draining = False
        assert await take_seqs(client, 1) == [1]


async def test_a_token_that_is_refused(real: Hub) -> None:
    names = ["nonsense", "acme:7"]

    async def get_token() -> str:
        return names.pop(0)

    async with HubClient(real.url, get_token=get_token, place=Place("e1", 0), tuning=AT_ONCE) as client:
        real.commit()
        assert await take_seqs(client, 1) == [1]


async def test_the_ring_goes_over_to_another_device_and_shows_no_event_twice(memory_log: MemoryLog, bus: Bus) -> None:
    limits = GatewayLimits(sweep_interval_s=60, ring_again_s=0.05, node_beat_s=0.05, node_silence_max_s=1.0)
    async with Hub(memory_log, bus, limits).serving() as hub:
        options = {"token": "acme:7", "can_ring": True, "auto_ack": False}
        async with HubClient(hub.url, place=Place("e1", 0), **options) as one:  # type: ignore[arg-type]
            await one.call("echo")
            async with HubClient(hub.url, place=Place("e1", 0), **options) as two:  # type: ignore[arg-type]
                await two.call("echo")
                hub.commit(priority="critical")
                first: list[Item] = await take(one, 1)
                second = await take(two, 1)
                rings = [item.ring for item in (*first, *second) if isinstance(item, Event)]
                assert sorted(rings) == [False, True]
                other = two if rings[0] else one
                again = await take(other, 1)
                assert [type(item).__name__ for item in again] == ["RingAgain"]


@pytest.fixture
def memory_log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def bus() -> Bus:
    return Bus()
