"""Ringing, and an app that is slower than its hub."""

from __future__ import annotations

import asyncio

import pytest

from hub.client.client import HubClient
from hub.client.event import Event, RingAgain
from hub.client.place import Place
from hub.client.tuning import Tuning
from tests.client.fakes import FakeClock, Peer, ScriptedHub, badge, eventually, take, take_seqs


def client_of(scripted: ScriptedHub, clock: FakeClock, place: Place | None = None, **options: object) -> HubClient:
    fields = {"token": "t", "clock": clock, "place": place, **options}
    return HubClient(scripted.url, **fields)  # type: ignore[arg-type]


async def _next(client: HubClient, peer: Peer, seq: int) -> list[object]:
    """Everything that is handed out up to an event of this number."""
    await peer.event(seq, 0, kind="marker")
    items: list[object] = []
    while True:
        items += await take(client, 1)
        if isinstance(items[-1], Event) and items[-1].seq == seq:
            return items[:-1]


async def test_a_critical_one_rings_here_when_nobody_answered_elsewhere(
    scripted: ScriptedHub, fake_clock: FakeClock
) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1, priority="critical")
        await take(client, 1)
        await peer.event(1, priority="critical", ring=True)
        await peer.event(1, priority="critical", ring=True)
        assert await _next(client, peer, 50) == [RingAgain(seq=1, id=1)]


@pytest.mark.parametrize(
    "fields",
    [{"priority": "high", "ring": True}, {"priority": "critical"}, {"priority": "critical", "ring": True, "kind": "x"}],
)
async def test_no_other_number_that_was_had_rings(
    scripted: ScriptedHub, fake_clock: FakeClock, fields: dict[str, object]
) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1, **{**fields, "ring": False})
        await take(client, 1)
        await peer.event(1, **fields)
        assert await _next(client, peer, 50) == []


async def test_the_device_that_rang_is_not_asked_twice(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1, priority="critical", ring=True)
        await take(client, 1)
        await peer.event(1, priority="critical", ring=True)
        assert await _next(client, peer, 50) == []


async def test_a_replay_of_what_had_overtaken_does_not_ring(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place.restore({"epoch": "e1", "cursor": 0, "had": [2]})) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 2)
        await peer.event(1)
        await peer.event(2, priority="critical", ring=True)
        assert [type(item) for item in await _next(client, peer, 50)] == [Event]
        await peer.event(2, priority="critical", ring=True)
        assert await _next(client, peer, 51) == [RingAgain(seq=2, id=2)]


async def test_the_numbers_of_another_history_have_not_rung(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1, priority="critical", ring=True)
        await peer.say({"type": "reset", "epoch": "e2", "cursor": 0, "head": 0, "counts": badge(0)})
        await peer.event(1, priority="critical")
        await take(client, 3)
        await peer.event(1, priority="critical", ring=True)
        assert await _next(client, peer, 50) == [RingAgain(seq=1, id=1)]


# -- a slow app --------------------------------------------------------------------------------------------------------


async def test_a_slow_app_makes_the_client_stop_reading_and_loses_nothing(
    scripted: ScriptedHub, fake_clock: FakeClock
) -> None:
    tuning = Tuning(items_max=5)
    async with client_of(scripted, fake_clock, Place("e1", 0), tuning=tuning) as client:
        peer = await scripted.accept()
        await peer.welcome()
        count, filler = 400, "x" * 50_000

        async def flood() -> None:
            for seq in range(1, count + 1):
                await peer.event(seq, data={"id": seq, "filler": filler})

        flooding = asyncio.create_task(flood())
        await eventually(lambda: peer.socket.transport.get_write_buffer_size() > 0 and client.is_full)
        await asyncio.sleep(0)
        held = client._intake._queue
        assert len(held) == 5, "the hub has sent more, and it was not read"
        assert not flooding.done()
        # It is not silent while it does not read: the hub hears pongs, and the time that passes is no silence of it.
        heard_before = peer.bytes_heard
        fake_clock.advance(200)
        await eventually(lambda: peer.bytes_heard > heard_before)
        shown = [await take_seqs(client, 1) for _ in range(count)]
        assert shown == [[seq] for seq in range(1, count + 1)]
        await flooding
        fake_clock.advance(30)
        await peer.event(count + 1)
        assert await take_seqs(client, 1) == [count + 1]
        assert scripted.attempts == 1


async def test_a_wait_for_the_app_is_no_silence_of_the_hub(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0), tuning=Tuning(items_max=2)) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 3)
        await peer.event(1)
        await eventually(lambda: client.is_full)
        fake_clock.advance(200)
        # The welcome and one event: the second leaves room again, and nothing more is there to be read.
        assert await take_seqs(client, 1) == [1]
        await asyncio.sleep(0)
        fake_clock.advance(30)
        await peer.event(2)
        await peer.event(3)
        assert await take_seqs(client, 2) == [2, 3]
        assert scripted.attempts == 1


async def test_a_call_from_the_loop_of_a_slow_app_is_answered(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0), tuning=Tuning(items_max=2)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        for seq in range(1, 9):
            await peer.event(seq)
        await eventually(lambda: client.is_full)
        assert await take_seqs(client, 1) == [1]
        call = asyncio.create_task(client.call("notifications.read", id=1))
        asked = await peer.hear("call")
        await peer.say({"type": "result", "id": asked["id"], "data": {"id": 1}})
        async with asyncio.timeout(5):
            assert await call == {"id": 1}
        assert await take_seqs(client, 7) == list(range(2, 9))


async def test_cancelling_a_wait_for_the_next_item_takes_nothing(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        waiting = asyncio.ensure_future(anext(client))
        await asyncio.sleep(0)
        waiting.cancel()
        await peer.event(1)
        await eventually(lambda: client.head == 1)
        assert await take_seqs(client, 1) == [1]
