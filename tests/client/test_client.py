"""The client against a hub that says exactly what the test wants: resume, doubles, resets, order."""

from __future__ import annotations

import asyncio

import pytest

from hub.client.client import HubClient
from hub.client.event import Event, Reset
from hub.client.place import Place
from hub.core.counts import Counts
from tests.client.fakes import FakeClock, ScriptedHub, States, badge, event, eventually, take, take_seqs


def client_of(scripted: ScriptedHub, clock: FakeClock, place: Place | None = None, **options: object) -> HubClient:
    fields = {"token": "t", "clock": clock, "place": place, **options}
    return HubClient(scripted.url, **fields)  # type: ignore[arg-type]


async def test_a_first_connection_loads_afresh_and_then_listens(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, device="desktop-3f", can_ring=True) as client:
        peer = await scripted.accept()
        hello = await peer.welcome("fresh", 12, counts=badge(4))
        assert hello == {"type": "hello", "device": "desktop-3f", "can_ring": True}
        assert peer.token == "t"
        await peer.event(13, ring=True, counts=badge(5))
        reset, first = await take(client, 2)
        assert isinstance(reset, Reset)
        assert (reset.cause, reset.epoch, reset.cursor) == ("fresh", "e1", 12)
        assert isinstance(first, Event)
        assert (first.seq, first.ring, first.replayed, first.data) == (13, True, False, {"id": 13})
        assert client.place.snapshot() == {"epoch": "e1", "cursor": 13, "had": []}
        assert client.counts == Counts(unread=5, unseen=5, normal=5)
        assert client.head == 13


async def test_it_resumes_from_where_it_was(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    place = Place("e1", 10)
    async with client_of(scripted, fake_clock, place, on_state=states) as client:
        peer = await scripted.accept()
        hello = await peer.welcome("replay", 10, 12)
        assert (hello["epoch"], hello["cursor"]) == ("e1", 10)
        await peer.say({"type": "events", "items": [event(11), event(12)], "cursor": 12})
        await peer.event(13)
        items = await take(client, 3)
        assert [(item.seq, item.replayed) for item in items] == [(11, True), (12, True), (13, False)]  # type: ignore[union-attr]
        peer.cut()
        await states.until("waiting")
        fake_clock.advance(1)
        peer = await scripted.accept()
        assert (await peer.welcome("replay", 13, 14))["cursor"] == 13
        await peer.event(14)
        assert await take_seqs(client, 1) == [14]


async def test_what_was_overtaken_comes_after_a_cut_and_what_overtook_does_not(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 10), on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 10, 14)
        await peer.event(14, 10, priority="critical")
        assert await take_seqs(client, 1) == [14]
        peer.cut()
        await states.until("waiting")
        fake_clock.advance(1)
        peer = await scripted.accept()
        assert (await peer.welcome("replay", 10, 15))["cursor"] == 10
        for seq in (11, 12, 13, 14, 15):
            await peer.event(seq)
        assert await take_seqs(client, 4) == [11, 12, 13, 15]


async def test_a_cut_at_any_point_of_a_replay_loses_and_doubles_nothing(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    shown: list[int | None] = []
    async with client_of(scripted, fake_clock, Place("e1", 0), on_state=states) as client:
        for cut_after in range(1, 13):
            peer = await scripted.accept()
            hello = await peer.hear()
            await peer.say({**(await _welcome_of(hello, 12))})
            seqs = [seq for seq in (12, *range(1, 12)) if seq > hello["cursor"]][:cut_after]
            sent: set[int] = set()
            for seq in seqs:
                sent.add(seq)
                cursor = max(
                    n for n in range(hello["cursor"], 13) if all(m in sent for m in range(hello["cursor"] + 1, n + 1))
                )
                await peer.event(seq, cursor)
            new = [seq for seq in seqs if seq not in shown]
            shown += await take_seqs(client, len(new))
            peer.cut()
            await states.until("waiting", count=cut_after)
            if hello["cursor"] >= 12:
                break
            fake_clock.advance(60)
    assert sorted(shown) == list(range(1, 13))  # type: ignore[type-var]


async def _welcome_of(hello: dict[str, int], head: int) -> dict[str, object]:
    return {"type": "welcome", "session": "s", "tenant_id": "acme", "user_id": 7, "epoch": "e1",
            "cursor": hello["cursor"], "head": head, "resume": "replay", "heartbeat_ms": 25000,
            "counts": badge(0)}  # fmt: skip


async def test_a_double_on_the_same_connection_is_dropped(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        for seq in (1, 1, 2, 1, 3):
            await peer.event(seq)
        assert await take_seqs(client, 3) == [1, 2, 3]


async def test_merged_numbers_are_not_waited_for(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 3)
        await peer.event(3, 3, kind="task.updated", merged=[1, 2])
        (item,) = await take(client, 1)
        assert isinstance(item, Event)
        assert item.merged == (1, 2)
        assert client.place.cursor == 3


async def test_a_batch_moves_the_cursor_even_where_all_of_it_was_had(
    scripted: ScriptedHub, fake_clock: FakeClock
) -> None:
    async with client_of(scripted, fake_clock, Place.restore({"epoch": "e1", "cursor": 4, "had": [6]})) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 4, 7)
        await peer.event(5)
        await peer.say({"type": "events", "items": [event(6)], "cursor": 6})
        await peer.event(7, 7)
        assert await take_seqs(client, 1) == [5]
        await eventually(lambda: client.head == 7)
        assert client.place.cursor == 6
        assert await take_seqs(client, 1) == [7]


async def test_items_of_a_batch_may_leave_the_cursor_to_it(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0), on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 3)
        items = [{key: value for key, value in event(seq).items() if key != "cursor"} for seq in (1, 2, 3)]
        await peer.say({"type": "events", "items": items, "cursor": 3})
        assert await take_seqs(client, 3) == [1, 2, 3]
        assert client.place.snapshot() == {"epoch": "e1", "cursor": 3, "had": []}
        peer.cut()
        await states.until("waiting")
        fake_clock.advance(1)
        assert (await (await scripted.accept()).hear("hello"))["cursor"] == 3


async def test_what_waits_for_the_app_is_not_asked_for_again(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0), on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 2)
        await peer.event(1)
        await peer.event(2)
        await eventually(lambda: client.head == 2 and not client.is_behind)
        peer.cut()
        await states.until("waiting")
        fake_clock.advance(1)
        peer = await scripted.accept()
        assert (await peer.welcome("replay", 2, 3))["cursor"] == 2
        await peer.event(3)
        assert await take_seqs(client, 3) == [1, 2, 3]


async def test_a_double_may_bring_a_higher_cursor(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(2, 0, priority="critical")
        await peer.event(1, 1)
        assert await take_seqs(client, 2) == [2, 1]
        waiting = asyncio.ensure_future(anext(client))
        await peer.event(1, 2)
        await eventually(lambda: client.place.cursor == 2)
        waiting.cancel()


@pytest.mark.parametrize("epoch", ["e1", "e2"])
async def test_a_reset_of_an_open_connection(scripted: ScriptedHub, fake_clock: FakeClock, epoch: str) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 100)) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 100)
        await peer.event(101)
        await peer.say({"type": "reset", "epoch": epoch, "cursor": 40, "head": 40, "counts": badge(3)})
        await peer.event(41, counts=badge(4))
        before, reset, after = await take(client, 3)
        assert isinstance(before, Event)
        assert isinstance(reset, Reset)
        assert (reset.cause, reset.epoch, reset.cursor) == ("reset", epoch, 40)
        assert isinstance(after, Event)
        assert client.place.snapshot() == {"epoch": epoch, "cursor": 41, "had": []}
        assert client.counts == Counts(unread=4, unseen=4, normal=4)


async def test_a_welcome_that_resets(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("old", 100)) as client:
        peer = await scripted.accept()
        await peer.welcome("reset", 3)
        await peer.event(4)
        reset, first = await take(client, 2)
        assert isinstance(reset, Reset)
        assert reset.cause == "reset"
        assert isinstance(first, Event)


async def test_counts_are_those_of_the_highest_number(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 2, counts=badge(9))
        await peer.event(1, counts=badge(1))
        await take(client, 1)
        assert client.counts == Counts(unread=9, unseen=9, normal=9)
        await peer.event(4, 1, priority="critical", counts=badge(12))
        await peer.event(2, counts=badge(2))
        await take(client, 2)
        assert client.counts == Counts(unread=12, unseen=12, normal=12)


async def test_the_place_moves_only_when_the_app_has_taken(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 3)
        for seq in (1, 2, 3):
            await peer.event(seq)
        await eventually(lambda: client.head == 3 and not client.is_behind)
        assert client.place.cursor == 0
        assert await take_seqs(client, 1) == [1]
        kept = client.place.snapshot()
    async with client_of(scripted, fake_clock, Place.restore(kept)) as again:
        peer = await scripted.accept()
        assert (await peer.welcome("replay", 1, 3))["cursor"] == 1
        await peer.event(2)
        assert await take_seqs(again, 1) == [2]


async def test_msgpack_carries_the_same(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0), format="msgpack") as client:
        peer = await scripted.accept()
        assert not peer.is_text
        await peer.welcome("replay", 0, 2)
        await peer.say({"type": "events", "items": [event(1), event(2)], "cursor": 2})
        assert await take_seqs(client, 2) == [1, 2]
        assert (await peer.hear("ack"))["cursor"] == 2


async def test_what_a_later_hub_says_is_ignored_or_handed_on(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome(colour="blue")
        await peer.say({"type": "of.tomorrow", "seq": "?"})
        await peer.event(1, kind="lead.dreamt", shape=3)
        await peer.say({"type": "event", "kind": "presence.changed", "data": {"user_id": 8, "online": True}})
        known, other = await take(client, 2)
        assert isinstance(known, Event)
        assert isinstance(other, Event)
        assert (known.kind, other.kind, other.seq) == ("lead.dreamt", "presence.changed", None)
        assert client.place.cursor == 1


@pytest.mark.parametrize(
    "said",
    [{"type": "event", "kind": 5}, {"type": "events", "items": [{"kind": "x"}], "cursor": "1"}, {"no": "type"}, [1]],
)
async def test_what_breaks_the_protocol_ends_the_connection_not_the_client(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States, said: object
) -> None:
    async with client_of(scripted, fake_clock, Place("e1", 0), on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await peer.say(said)  # type: ignore[arg-type]
        assert "no frame of the protocol" in (await states.until("waiting")).why
        fake_clock.advance(1)
        peer = await scripted.accept()
        await peer.welcome()
        await peer.event(1)
        assert await take_seqs(client, 1) == [1]
