"""What the client says: calls and their fates, acks, and the focus."""

from __future__ import annotations

import asyncio

import pytest

from hub.client.client import HubClient
from hub.client.errors import CallError, CallLost, HubStopped, NotSent
from hub.client.place import Place
from tests.client.fakes import FakeClock, Peer, ScriptedHub, States, badge, eventually, take, take_seqs


def client_of(scripted: ScriptedHub, clock: FakeClock, **options: object) -> HubClient:
    fields: dict[str, object] = {"token": "t", "place": Place("e1", 0), "clock": clock, **options}
    if "get_token" in options:
        del fields["token"]
    return HubClient(scripted.url, **fields)  # type: ignore[arg-type]


# -- calls ------------------------------------------------------------------------------------------------------------


async def test_a_call_brings_its_answer_whatever_the_order(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        await peer.welcome()
        calls = [asyncio.create_task(client.call("notifications.read", id=n)) for n in (5, 6)]
        first, second = await peer.hear("call"), await peer.hear("call")
        assert (first["method"], first["params"], second["params"]) == ("notifications.read", {"id": 5}, {"id": 6})
        await peer.say({"type": "result", "id": second["id"], "data": "second"})
        await peer.say({"type": "result", "id": "of nobody", "data": 0})
        await peer.say({"type": "result", "id": first["id"], "data": "first"})
        assert await asyncio.gather(*calls) == ["first", "second"]


async def test_a_refused_call(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        await peer.welcome()
        call = asyncio.create_task(client.call("notifications.read", id=5))
        asked = await peer.hear("call")
        problem = {"type": "about:blank", "title": "Not found", "status": 404, "detail": "there is no notification 5"}
        await peer.say({"type": "error", "id": asked["id"], "error": problem})
        with pytest.raises(CallError, match="Not found: there is no notification 5") as refused:
            await call
        assert (refused.value.status, refused.value.problem) == (404, problem)


async def test_a_call_on_a_cut_connection_may_have_been_done(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        sent = asyncio.create_task(client.call("notifications.read", id=5))
        await peer.hear("call")
        peer.cut()
        with pytest.raises(CallLost, match=r"notifications\.read: the connection was cut; it may have been done"):
            await sent
        waiting = asyncio.create_task(client.call("notifications.read", id=6))
        later = asyncio.create_task(client.call("notifications.read", id=7))
        await states.until("waiting")
        fake_clock.advance(1)
        peer = await scripted.accept()
        await peer.welcome()
        for call, number in ((waiting, 6), (later, 7)):
            asked = await peer.hear("call")
            assert asked["params"] == {"id": number}, "the lost one is not said again; the others keep their order"
            await peer.say({"type": "result", "id": asked["id"], "data": None})
            assert await call is None


async def test_a_call_without_an_answer_in_time(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        await peer.welcome()
        call = asyncio.create_task(client.call("notifications.read", id=5))
        asked = await peer.hear("call")
        fake_clock.advance(10)
        with pytest.raises(CallLost, match="no answer in 10 s"):
            await call
        await peer.say({"type": "result", "id": asked["id"], "data": None})
        await peer.event(1)
        assert await take_seqs(client, 1) == [1]


async def test_a_call_without_a_connection_in_time(fake_clock: FakeClock, states: States) -> None:
    async with HubClient("http://127.0.0.1:1", token="t", clock=fake_clock, on_state=states) as client:
        await states.until("waiting")
        call = asyncio.create_task(client.call("notifications.read", id=5))
        await asyncio.sleep(0)
        fake_clock.advance(10)
        with pytest.raises(NotSent, match="it was not sent"):
            await call


async def test_a_cancelled_call_is_not_sent_later(scripted: ScriptedHub, fake_clock: FakeClock, states: States) -> None:
    async with client_of(scripted, fake_clock, on_state=states) as client:
        peer = await scripted.accept()
        cancelled = asyncio.create_task(client.call("notifications.delete", id=5))
        kept = asyncio.create_task(client.call("notifications.read", id=6))
        await asyncio.sleep(0)
        cancelled.cancel()
        await peer.welcome()
        asked = await peer.hear("call")
        assert asked["method"] == "notifications.read"
        await peer.say({"type": "result", "id": asked["id"], "data": None})
        await kept


async def test_a_call_that_nobody_waits_for_any_more_leaves_no_socket_that_was_full(
    scripted: ScriptedHub, fake_clock: FakeClock
) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        await peer.welcome()
        asked = asyncio.create_task(client.call("mark"))
        await peer.hear("call")
        # The peer reads nothing now: these fill every buffer on the way.
        calls = [asyncio.create_task(client.call("notifications.actions", ids="x" * 60_000)) for _ in range(200)]
        last = asyncio.create_task(client.call("notifications.delete", id=5))
        await eventually(lambda: len(client._calls._pending) == 202)
        await asyncio.sleep(0)
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        marker = asyncio.create_task(client.call("marker"))
        while (await peer.hear("call"))["method"] != "marker":
            pass
        assert "notifications.delete" not in [frame.get("method") for frame in peer.heard]
        for call in (*calls, asked, marker):
            call.cancel()


async def test_what_cannot_be_sent_is_refused_here(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        await peer.welcome()
        with pytest.raises(NotSent, match="bytes are more than the 65536"):
            await client.call("notifications.actions", ids=["x" * 70_000])
        with pytest.raises(TypeError):
            await client.call("notifications.read", id=object())
        await peer.close(4403)
        with pytest.raises(HubStopped):
            await take(client, 1)
        with pytest.raises(NotSent):
            await client.call("notifications.read", id=5)


async def test_calls_that_wait_for_a_connection_hear_that_there_will_be_none(
    scripted: ScriptedHub, fake_clock: FakeClock
) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        call = asyncio.create_task(client.call("notifications.read", id=5))
        await peer.hear("hello")
        await peer.close(4403, "not you")
        with pytest.raises(NotSent, match="not you; it was not sent"):
            await call


async def test_a_fault_while_writing_reaches_the_app(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(scripted, fake_clock, on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await states.until("live")
        assert client._link is not None

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("cannot encode")

        monkeypatch.setattr(client._link._socket, "send", fail)
        await client.focus(True)
        with pytest.raises(RuntimeError, match="cannot encode"):
            await take(client, 1)


async def test_closing_tells_the_calls(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    client = client_of(scripted, fake_clock)
    async with client:
        peer = await scripted.accept()
        await peer.welcome()
        call = asyncio.create_task(client.call("notifications.read", id=5))
        await peer.hear("call")
    with pytest.raises(CallLost):
        await call


# -- acks -------------------------------------------------------------------------------------------------------------


async def _acks(peer: Peer) -> list[int]:
    """The cursors acknowledged so far; a call is answered last, since frames keep their order."""
    return [frame["cursor"] for frame in peer.heard if frame["type"] == "ack"]


async def _marked(client: HubClient, peer: Peer) -> list[int]:
    call = asyncio.create_task(client.call("mark"))
    asked = await peer.hear("call")
    await peer.say({"type": "result", "id": asked["id"], "data": None})
    await call
    return await _acks(peer)


async def test_a_burst_is_acked_once_and_then_at_most_each_second(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 20)
        for seq in range(1, 21):
            await peer.event(seq)
        await eventually(lambda: not client.is_behind and client.head == 20)
        await take_seqs(client, 20)
        assert await _marked(client, peer) == [20]
        for seq in (21, 22, 23):
            await peer.event(seq)
            await take_seqs(client, 1)
        assert await _marked(client, peer) == [20]
        fake_clock.advance(1)
        assert await _marked(client, peer) == [20, 23]
        fake_clock.advance(30)
        assert await _marked(client, peer) == [20, 23]


async def test_only_what_was_handed_out_is_acked(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, auto_ack=False) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 3)
        await peer.event(3, 0, priority="critical")
        for seq in (1, 2):
            await peer.event(seq, 1 if seq == 1 else 3)
        assert await take_seqs(client, 2) == [3, 1]
        fake_clock.advance(5)
        assert await _marked(client, peer) == []
        await client.ack()
        assert await _marked(client, peer) == [1], "the overtaken one has not been handed out"


async def test_an_ack_of_another_history_is_not_said(scripted: ScriptedHub, fake_clock: FakeClock) -> None:
    async with client_of(scripted, fake_clock, place=Place("e1", 0)) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 2)
        await peer.event(1)
        await peer.event(2)
        await peer.say({"type": "reset", "epoch": "e2", "cursor": 1, "head": 1, "counts": badge(0)})
        await eventually(lambda: client.head == 1)
        await take(client, 2)
        assert await _marked(client, peer) == []
        await take(client, 1)
        assert await _marked(client, peer) == [1]


async def test_what_may_have_been_lost_is_acked_again(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, on_state=states) as client:
        peer = await scripted.accept()
        await peer.welcome("replay", 0, 1)
        await peer.event(1)
        await take_seqs(client, 1)
        assert (await peer.hear("ack"))["cursor"] == 1
        peer.cut()
        await states.until("waiting")
        fake_clock.advance(2)
        peer = await scripted.accept()
        await peer.welcome("replay", 1, 1)
        waiting = asyncio.ensure_future(anext(client))
        assert (await peer.hear("ack"))["cursor"] == 1
        waiting.cancel()


# -- focus ------------------------------------------------------------------------------------------------------------


async def test_the_focus_is_said_again_after_a_cut(
    scripted: ScriptedHub, fake_clock: FakeClock, states: States
) -> None:
    async with client_of(scripted, fake_clock, on_state=states, can_ring=True) as client:
        peer = await scripted.accept()
        await peer.welcome()
        await states.until("live")
        await client.focus(True, can_ring=False)
        assert await peer.hear("focus") == {"type": "focus", "focused": True, "can_ring": False}
        peer.cut()
        await states.until("waiting")
        fake_clock.advance(1)
        peer = await scripted.accept()
        assert (await peer.welcome())["can_ring"] is False
        assert await peer.hear("focus") == {"type": "focus", "focused": True}
        await client.focus(False)
        assert await peer.hear("focus") == {"type": "focus", "focused": False}
