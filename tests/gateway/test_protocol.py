"""The sentences of the protocol, on a real socket."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from hub.core.frames import MSGPACK
from hub.gateway.limits import GatewayLimits
from hub.gateway.socket import Socket
from tests.gateway.harness import Hub, device, until

# -- connecting --------------------------------------------------------------------------------------------------------


async def test_a_first_connection_is_fresh_and_hears_what_comes_then(hub: Hub) -> None:
    hub.commit()
    async with device(hub) as client:
        welcome = client.frames[0]
        assert welcome["resume"] == "fresh"
        assert (welcome["cursor"], welcome["head"], welcome["epoch"]) == (1, 1, "e1")
        assert (welcome["tenant_id"], welcome["user_id"], welcome["heartbeat_ms"]) == ("acme", 7, 25000)
        assert set(welcome["counts"]) == {"unread", "unseen", "critical", "high", "normal", "low"}
        hub.commit(priority="high")
        (event,) = await client.events(1)
        assert (event["seq"], event["cursor"], event["kind"], event["priority"]) == (
            2,
            2,
            "notification.created",
            "high",
        )
        assert event["counts"]["unread"] == 2


async def test_a_cursor_brings_everything_after_it_then_live_events(hub: Hub) -> None:
    for _ in range(50):
        hub.commit(hint=False)
    async with device(hub, epoch="e1", cursor=10) as client:
        assert client.frames[0]["resume"] == "replay"
        assert client.frames[0]["cursor"] == 10
        hub.commit()
        events = await client.events(41)
        assert [e["seq"] for e in events] == list(range(11, 52))


@pytest.mark.parametrize(
    ("epoch", "cursor", "kept_from"),
    [("other", 3, 1), ("e1", 99, 1), ("e1", 2, 5), (None, 3, 1)],
    ids=["another epoch", "ahead of the head", "older than what is kept", "no epoch"],
)
async def test_a_cursor_that_cannot_be_trusted_is_reset(hub: Hub, epoch, cursor, kept_from) -> None:
    for _ in range(10):
        hub.commit(hint=False)
    hub.log.kept_from["acme", 7] = kept_from
    async with device(hub, epoch=epoch, cursor=cursor) as client:
        welcome = client.frames[0]
        assert (welcome["resume"], welcome["cursor"], welcome["head"]) == ("reset", 10, 10)


async def test_the_event_after_the_cursor_is_enough_to_replay(hub: Hub) -> None:
    for _ in range(10):
        hub.commit(hint=False)
    hub.log.kept_from["acme", 7] = 5
    async with device(hub, epoch="e1", cursor=4) as client:
        assert client.frames[0]["resume"] == "replay"
        assert [e["seq"] for e in await client.events(6)] == list(range(5, 11))


async def test_a_token_may_come_in_the_header(hub: Hub) -> None:
    async with connect(hub.url, additional_headers={"Authorization": "Bearer acme:7"}) as socket:
        await socket.send('{"type":"hello"}')
        assert json.loads(await socket.recv())["user_id"] == 7


@pytest.mark.parametrize("value", ["Bearer bad", "Basic YTpi", "Bearer", ""])
async def test_a_bad_header_token_is_401_and_no_upgrade(hub: Hub, value: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(hub.url, additional_headers={"Authorization": value}):
            pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["status"] == 401


async def test_a_foreign_origin_is_403_and_none_passes(hub: Hub) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(hub.url, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403
    async with connect(hub.url, origin=f"http://127.0.0.1:{hub.port}"):
        pass


async def test_another_path_is_404(hub: Hub) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{hub.port}/elsewhere"):
            pass
    assert refused.value.response.status_code == 404


@pytest.mark.parametrize("hello", [{"token": "bad"}, {}])
async def test_a_bad_token_in_the_hello_is_4401(hub: Hub, hello: dict) -> None:
    async with device(hub, hello=False) as client:
        await client.send(type="hello", **hello)
        code, bye = await client.closed()
        assert (code, bye["code"]) == (4401, 4401)


async def test_a_service_gets_no_socket(hub: Hub) -> None:
    async with device(hub, hello=False) as client:
        await client.send(type="hello", token="acme:7:service")
        assert (await client.closed())[0] == 4403


async def test_msgpack_says_the_same_objects(hub: Hub) -> None:
    async with device(hub) as text, connect(hub.url, subprotocols=[MSGPACK]) as binary:
        assert binary.subprotocol == MSGPACK
        await binary.send(msgspec.msgpack.encode({"type": "hello", "token": "acme:7"}))
        assert msgspec.msgpack.decode(await binary.recv())["resume"] == "fresh"
        for count in (1, 20):
            hub.hint([hub.log.append("acme", 7, data={"title": "é", "n": None, "l": [1, 2]}) for _ in range(count)])
            packed = []
            while len(packed) < count:
                frame = msgspec.msgpack.decode(await binary.recv())
                packed.extend(frame["items"] if frame["type"] == "events" else [frame])
            assert packed == await text.events(count)
        await binary.send(msgspec.msgpack.encode({"type": "call", "id": 1, "method": "echo", "params": {"at": "x"}}))
        assert msgspec.msgpack.decode(await binary.recv()) == {"type": "result", "id": 1, "data": {"at": "x"}}


# -- attach before read ------------------------------------------------------------------------------------------------


async def test_what_is_committed_between_attaching_and_reading_is_not_missed(hub: Hub) -> None:
    for _ in range(3):
        hub.commit(hint=False)
    moments = iter(["state", "after"])

    def meanwhile(what: str) -> None:
        if what == next(moments, None):
            # Committed while the read is on its way: the first before it, heard; the second after its snapshot.
            asyncio.get_running_loop().call_soon(hub.commit)

    hub.log.before_read = meanwhile
    async with device(hub, epoch="e1", cursor=0) as client:
        assert [e["seq"] for e in await client.events(5)] == [1, 2, 3, 4, 5]


# -- lost, doubled, late hints -----------------------------------------------------------------------------------------


async def test_a_gap_in_the_hints_is_read_from_the_log(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit(hint=False)
        hub.commit(hint=False)
        hub.commit()
        assert [e["seq"] for e in await client.events(3)] == [1, 2, 3]


async def test_doubled_and_late_hints_show_nothing_twice(hub: Hub) -> None:
    async with device(hub) as client:
        first, second = hub.log.append("acme", 7), hub.log.append("acme", 7)
        hub.hint([second])
        assert [e["seq"] for e in await client.events(2)] == [1, 2]
        for _ in range(3):
            hub.hint([first])
            hub.hint([first, second])
        hub.commit()
        assert [e["seq"] for e in await client.events(1)] == [3]


async def test_a_lost_hint_is_found_by_the_sweep(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit(hint=False)
        await hub.node.catch_up.sweep()
        assert [e["seq"] for e in await client.events(1)] == [1]
        assert hub.node.statistics.sweep_repairs == 1


async def test_a_reconnected_broker_is_followed_by_a_sweep(hub: Hub) -> None:
    async with device(hub) as client:
        hub.ear.turn(up=False)
        hub.commit()
        hub.ear.turn(up=True)
        assert [e["seq"] for e in await client.events(1)] == [1]


async def test_a_hint_for_another_tenant_or_user_is_silence(hub: Hub) -> None:
    async with device(hub, 7) as mine, device(hub, 7, tenant="other") as foreign, device(hub, 8) as other:
        hub.commit(7)
        await mine.events(1)
        for client in (foreign, other):
            await client.send(type="ping", id=1)
            assert (await client.frame())["type"] == "pong"


async def test_rubbish_on_the_topic_is_ignored(hub: Hub) -> None:
    async with device(hub) as client:
        for payload in (b"", b"R", b"R\xff", b"\xff" * 9, b"{}", b"\x92\xa1e\x90", b"\x92\xa1\x80", b"R\x92\xa1\x80"):
            hub.bus.say("hub:u:acme:7", payload)
        for payload in (b"", b"\x00", b"\x92\xa1\x80\xa5alive", b"P", b"P\xff"):
            hub.bus.say("hub:nodes", payload)
        hub.commit()
        assert (await client.events(1))[0]["seq"] == 1


# -- another history ---------------------------------------------------------------------------------------------------


async def test_another_epoch_resets_an_open_connection(hub: Hub) -> None:
    for _ in range(5):
        hub.commit(hint=False)
    async with device(hub) as client:
        hub.log.epoch = "e2"
        del hub.log.streams["acme", 7][2:]
        await hub.node.catch_up.sweep()
        reset = await client.frame("reset")
        assert (reset["epoch"], reset["cursor"], reset["head"], reset["counts"]["unread"]) == ("e2", 2, 2, 2)
        hub.commit()
        assert (await client.events(1))[0]["seq"] == 3


class TestLazyAcks:
    @pytest.fixture
    def limits(self) -> GatewayLimits:
        return GatewayLimits(sweep_interval_s=60, ack_flush_interval_s=600)

    async def test_what_was_acknowledged_in_another_history_is_not_recorded_in_this_one(self, hub: Hub) -> None:
        for _ in range(5):
            hub.commit(hint=False)
        async with device(hub) as client:
            await client.send(type="ack", cursor=5)
            await client.send(type="ping")
            await client.frame("pong")
            hub.log.epoch = "e2"
            await hub.node.catch_up.sweep()
            await client.frame("reset")
            await hub.node.flush_acks()
            assert not hub.log.delivered


async def test_a_hint_of_another_epoch_is_checked_against_the_log(hub: Hub) -> None:
    hub.commit(hint=False)
    async with device(hub) as client:
        hub.hint([hub.log.streams["acme", 7][0]], epoch="rogue")
        hub.commit()
        assert (await client.events(1))[0]["seq"] == 2
        assert hub.node.statistics.resets == 0


async def test_a_hole_made_by_retention_is_a_reset(hub: Hub) -> None:
    async with device(hub) as client:
        for _ in range(5):
            hub.commit(hint=False)
        hub.log.kept_from["acme", 7] = 4
        await hub.node.catch_up.sweep()
        assert (await client.frame("reset"))["cursor"] == 5


# -- frames ------------------------------------------------------------------------------------------------------------


async def test_ping_is_answered_with_the_head(hub: Hub) -> None:
    hub.commit()
    async with device(hub) as client:
        await client.send(type="ping", id="x")
        assert await client.frame() == {"type": "pong", "id": "x", "head": 1}


async def test_acks_are_recorded_up_to_what_was_sent(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit()
        await client.events(1)
        await client.send(type="ack", cursor=99)
        await client.send(type="ping")
        await client.frame("pong")
        await hub.node.flush_acks()
        assert hub.log.delivered == {("acme", 7): 1}


async def test_acks_survive_a_log_that_is_away(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit()
        await client.events(1)
        hub.log.is_away = True
        await client.send(type="ack", cursor=1)
        await until(lambda: hub.node.statistics.log_unavailable)
        hub.log.is_away = False
        await until(lambda: hub.log.delivered)


async def test_calls_answer_in_order(hub: Hub) -> None:
    async with device(hub) as client:
        for number in range(20):
            await client.send(type="call", id=number, method="echo" if number % 2 else "nope", params={"n": number})
        answers = [await client.frame() for _ in range(20)]
        assert [a["id"] for a in answers] == list(range(20))
        assert {a["type"] for a in answers[1::2]} == {"result"}
        assert {a["error"]["status"] for a in answers[::2]} == {404}


async def test_more_calls_than_may_wait_are_429(hub: Hub, limits: GatewayLimits) -> None:
    hub.methods.gate = asyncio.Event()
    async with device(hub) as client:
        for number in range(limits.calls_waiting_max + 5):
            await client.send(type="call", id=number, method="echo", params={})
        refused = await client.frame("error")
        assert refused["error"]["status"] == 429
        hub.methods.gate.set()


@pytest.mark.parametrize(
    "frame",
    ['{"type":"dance"}', '{"type":"ack","cursor":-1}', '{"type":"ack","cursor":"1"}', '{"type":"call","id":1}'],
)
async def test_an_unknown_frame_is_an_error_frame_and_no_close(hub: Hub, frame: str) -> None:
    async with device(hub) as client:
        await client.socket.send(frame)
        error = await client.frame()
        assert (error["type"], error["error"]["status"]) == ("error", 422)
        await client.send(type="ping")
        assert (await client.frame())["type"] == "pong"


async def test_unknown_fields_are_ignored(hub: Hub) -> None:
    async with device(hub, later="field") as client:
        await client.send(type="ping", id=1, more=[1, 2])
        assert (await client.frame())["type"] == "pong"


@pytest.mark.parametrize(
    "payload", ["[1]", "no", '"hello"', "{", '{"type":5}', "null", b"\x81\xa4type\xa4ping"], ids=repr
)
async def test_what_is_no_frame_is_4400(hub: Hub, payload: str | bytes) -> None:
    async with device(hub) as client:
        await client.socket.send(payload)
        code, bye = await client.closed()
        assert (code, bye["code"]) == (4400, 4400)
        assert "retry_after_ms" not in bye


@pytest.mark.parametrize(
    "first",
    [
        {"type": "ping"},
        {"type": "hello", "cursor": -1},
        {"type": "hello", "cursor": 2**70},
        {"type": "hello", "cursor": 1.5},
        {"type": "hello", "device": "x" * 65},
        {"type": "hello", "token": 5},
        {"type": "hello", "can_ring": "yes"},
    ],
    ids=str,
)
async def test_a_first_frame_that_is_no_hello_is_4400(hub: Hub, first: dict) -> None:
    async with device(hub, hello=False) as client:
        await client.send(**first)
        assert (await client.closed())[0] == 4400


async def test_a_second_hello_is_an_error_frame(hub: Hub) -> None:
    async with device(hub) as client:
        await client.send(type="hello", token="acme:7")
        assert (await client.frame())["error"]["status"] == 409


async def test_a_message_over_64_kib_is_1009(hub: Hub) -> None:
    async with device(hub) as client:
        await client.send(type="ping", id="x", pad="y" * 65536)
        code, bye = await client.closed()
        assert (code, bye["code"]) == (1009, 1009)


async def test_a_message_of_64_kib_passes(hub: Hub) -> None:
    async with device(hub) as client:
        frame = json.dumps({"type": "ping", "id": "x", "pad": ""})
        await client.socket.send(frame[:-2] + "y" * (65536 - len(frame)) + frame[-2:])
        assert (await client.frame())["type"] == "pong"


async def test_fragments_are_joined_with_control_frames_between(hub: Hub) -> None:
    async with device(hub) as client:

        async def parts():
            yield '{"type":"pi'
            await client.socket.ping()
            yield 'ng","id":"f'
            yield '"}'

        await client.socket.send(parts())
        assert (await client.frame())["id"] == "f"


# -- limits ------------------------------------------------------------------------------------------------------------


class TestShortTimes:
    @pytest.fixture
    def limits(self) -> GatewayLimits:
        return GatewayLimits(
            hello_timeout_s=0.3, heartbeat_ms=500, connections_per_user_max=3, frames_per_s_max=20, sweep_interval_s=60
        )

    async def test_no_hello_in_time_is_4408(self, hub: Hub) -> None:
        async with device(hub, hello=False) as client:
            code, bye = await client.closed()
            assert code == 4408
            assert bye["retry_after_ms"] > 0

    async def test_one_connection_too_many_closes_the_oldest(self, hub: Hub) -> None:
        async with device(hub) as first, device(hub), device(hub), device(hub) as last:
            assert (await first.closed())[0] == 4409
            hub.commit()
            assert (await last.events(1))[0]["seq"] == 1

    async def test_too_many_frames_are_4429(self, hub: Hub) -> None:
        async with device(hub) as client:
            for _ in range(21):
                await client.send(type="ping")
            code, bye = await client.closed()
            assert code == 4429
            assert bye["retry_after_ms"] > 0

    async def test_silence_is_filled_with_heartbeats_and_pings(self, hub: Hub) -> None:
        async with device(hub) as client:
            assert await client.frame("heartbeat") == {"type": "heartbeat", "head": 0}
            assert client.socket.state.name == "OPEN"

    async def test_pings_say_nothing_that_a_script_could_hear(self, hub: Hub) -> None:
        async with device(hub) as client:
            (connection,) = hub.node.sockets
            await client.send(type="ping")
            await client.frame("pong")
            said_at = connection.said_at
            connection.send_ping()
            await (await client.socket.ping())
            assert connection.said_at == said_at, "silence is reckoned from the last message"

    async def test_a_peer_that_is_gone_is_closed(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        async with device(hub) as client:
            # A cut cable: nothing comes back, and the peer's kernel acknowledges no byte.
            monkeypatch.setattr(Socket, "acked_bytes", lambda _: 0)
            client.socket.transport.pause_reading()
            await until(lambda: hub.node.statistics.peers_gone == 1, within_s=10)
            client.socket.transport.resume_reading()
            assert (await client.closed())[0] == 4408

    async def test_a_token_that_expires_closes_the_socket_unless_renewed(self, hub: Hub) -> None:
        async with device(hub, token="acme:7::1") as lapsed, device(hub, token="acme:7::1") as renewed:
            await renewed.send(type="token", token="acme:7::3600")
            answer = await renewed.frame("token")
            assert datetime.fromisoformat(answer["expires_at"])
            assert (await lapsed.closed())[0] == 4401
            hub.commit()
            assert (await renewed.events(1))[0]["seq"] == 1


async def test_a_token_of_another_user_closes_the_socket(hub: Hub) -> None:
    async with device(hub) as client:
        await client.send(type="token", token="acme:8")
        assert (await client.closed())[0] == 4403


async def test_a_revoked_user_is_closed(hub: Hub) -> None:
    async with device(hub) as client, device(hub, 8) as other:
        hub.node.revoke("acme", 7, hub.node.clock.now().timestamp())
        assert (await client.closed())[0] == 4403
        hub.commit(8)
        await other.events(1)


# -- the database away -------------------------------------------------------------------------------------------------


async def test_a_hello_while_the_log_is_away_is_4503(hub: Hub) -> None:
    hub.log.is_away = True
    async with device(hub, hello=False) as client:
        await client.send(type="hello", token="acme:7")
        code, bye = await client.closed()
        assert code == 4503
        assert bye["retry_after_ms"] > 0


async def test_open_sockets_outlive_a_log_that_is_away(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit(hint=False)
        hub.log.is_away = True
        hub.commit()
        await until(lambda: hub.node.statistics.log_unavailable)
        hub.log.is_away = False
        assert [e["seq"] for e in await client.events(2)] == [1, 2]


async def test_drain_says_bye_and_when_to_come_back(hub: Hub) -> None:
    async with device(hub) as client, device(hub, 8) as other:
        await asyncio.gather(hub.node.drain(), client.closed(), other.closed())
        waits = [c.frames[-1] for c in (client, other)]
        assert all(w["type"] == "bye" and w["code"] == 1012 and w["retry_after_ms"] > 0 for w in waits)
        assert client.socket.close_code == 1012
