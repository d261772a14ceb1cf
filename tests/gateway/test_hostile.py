"""Bytes that no honest client sends: each ends as RFC 6455 says, costs bounded memory, and harms nobody else."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Hub, device, until
from tests.gateway.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, Peer, frame, peer, request, said, tcp

FRAMES_PER_S = 100


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(
        sweep_interval_s=60,
        heartbeat_ms=500,
        hello_timeout_s=0.5,
        close_timeout_s=0.3,
        frames_per_s_max=FRAMES_PER_S,
    )


async def settled(hub: Hub) -> None:
    """Nothing of any connection is left."""
    async with asyncio.timeout(5):
        while hub.node.sockets or hub.node.registry.connection_count:
            await asyncio.sleep(0.01)


def close_with(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


# What fails the connection (RFC 6455 §7.1.7), and with which code.
FAILS = {
    "unmasked (§5.1)": (frame(TEXT, b"{}", masked=False), 1002),
    "reserved bit 1 (§5.2)": (frame(TEXT, b"{}", reserved=4), 1002),
    "reserved bit 2 (§5.2)": (frame(TEXT, b"{}", reserved=2), 1002),
    "reserved bit 3 (§5.2)": (frame(TEXT, b"{}", reserved=1), 1002),
    "reserved bit of a ping (§5.2)": (frame(PING, reserved=4), 1002),
    **{f"reserved opcode {code:x} (§5.2)": (frame(code, b"{}"), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragmented ping (§5.5)": (frame(PING, b"x", fin=False), 1002),
    "fragmented pong (§5.5)": (frame(PONG, b"x", fin=False), 1002),
    "fragmented close (§5.5)": (frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    "ping of 126 bytes (§5.5)": (frame(PING, b"x" * 126), 1002),
    "close of 126 bytes (§5.5)": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "close of 1 byte (§5.5.1)": (frame(CLOSE, b"\x03"), 1002),
    **{f"close with {code} (§7.4)": (close_with(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)},
    "close whose reason is not UTF-8 (§5.5.1)": (close_with(1000, b"\xff"), 1007),
    "continuation without a start (§5.4)": (frame(CONT, b"x"), 1002),
    "text within a text (§5.4)": (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
    "binary within a text (§5.4)": (frame(TEXT, b"{", fin=False) + frame(BINARY, b"}"), 1002),
    "close within a text (§5.4)": (frame(TEXT, b"{", fin=False) + close_with(1000), 1002),
    "text that is not UTF-8 (§8.1)": (frame(TEXT, b'{"type":"\xff"}'), 1007),
    "a surrogate in UTF-8 (§8.1)": (frame(TEXT, b'"\xed\xa0\x80"'), 1007),
    "an overlong slash (§8.1)": (frame(TEXT, b'"\xc0\xaf"'), 1007),
    "parts that are not UTF-8 together": (frame(TEXT, b'"\xc3', fin=False) + frame(CONT, b'"'), 1007),
    "64 KiB and a byte": (frame(TEXT, b"x" * 65537), 1009),
    "a length of 64 bits with the high bit": (frame(TEXT, length=2**63, length_form=64), 1009),
    "a length that no memory holds": (frame(TEXT, length=2**62, length_form=64), 1009),
    "parts of 64 KiB and a byte": (frame(TEXT, b"x" * 40000, fin=False) + frame(CONT, b"x" * 25537), 1009),
    "binary where text was agreed": (frame(BINARY, b"{}"), 4400),
    "no object": (frame(TEXT, b""), 4400),
}


@pytest.mark.parametrize(("data", "code"), FAILS.values(), ids=FAILS)
async def test_it_fails_the_connection(hub: Hub, data: bytes, code: int) -> None:
    async with device(hub, 8) as other:
        for hello in (False, True):
            async with peer(hub, hello=hello) as hostile:
                hostile.send(data)
                got, bye = await hostile.end()
                assert (got, bye and bye["code"]) == (code, code), "after the welcome" if hello else "before the hello"
        hub.commit(8)
        assert (await other.events(1))[0]["seq"] == 1
    await settled(hub)


SHARED_CODES = [1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999]


@pytest.mark.parametrize("code", SHARED_CODES)
async def test_a_close_is_answered_with_its_own_code_and_no_bye(hub: Hub, code: int) -> None:
    async with peer(hub) as client:
        client.send(close_with(code, "grüße".encode()))
        assert await client.end() == (code, None)


async def test_a_close_without_a_code_is_answered_without_one(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(frame(CLOSE))
        assert await client.end() == (1005, None)


@pytest.mark.parametrize("form", [16, 64])
async def test_a_length_longer_than_it_need_be_says_what_it_says(hub: Hub, form: int) -> None:
    # §5.2 forbids to send it and asks no one to look for it; all the same it must not shift what follows.
    async with peer(hub) as client:
        client.send(frame(TEXT, b'{"type":"ping","id":"a"}', length_form=form))
        assert (await client.message("pong"))["id"] == "a"


async def test_whatever_way_the_bytes_are_cut_the_message_is_whole(hub: Hub) -> None:
    async with peer(hub) as client:
        for number, byte in enumerate(frame(TEXT, '{"type":"ping","id":"ü"}'.encode())):
            client.send(bytes([byte]))
            if number % 7 == 0:
                await asyncio.sleep(0)
        assert (await client.message("pong"))["id"] == "ü"


async def test_empty_parts_and_pings_within_a_message_are_nothing(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) + frame(PING, b"p"))
        client.send(frame(CONT, b'{"type":"ping"}', fin=False) + frame(PONG) + frame(CONT))
        got = [await client.frame(), await client.frame()]
        assert (PONG, b"p") in got
        assert any(one is not None and one[0] == TEXT and b'"pong"' in one[1] for one in got)


async def test_what_came_before_a_close_in_the_same_segment_counts(hub: Hub) -> None:
    async with peer(hub) as client:
        hub.commit()
        await client.message("event")
        client.send(said(type="ack", cursor=1) + close_with(1001))
        assert await client.end() == (1001, None)
    await hub.node.flush_acks()
    assert hub.log.delivered == {("acme", 7): 1}


async def test_nothing_follows_a_close_of_ours_whatever_the_peer_still_says(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(frame(TEXT, b"no frame") + said(type="ping") + frame(PING, b"late"))
        assert await client.frame() is not None  # bye
        client.send(b"\xff\xff" + said(type="ping"))
        assert (await client.end())[0] == 4400


async def test_two_reasons_to_close_in_one_segment_are_one_close_with_its_bye(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(frame(TEXT, b"no frame") + frame(TEXT, b"{}", masked=False))
        code, bye = await client.end()
        assert bye is not None
        assert bye["code"] == code == 1002


# -- silence -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [b"", b"\x81", frame(TEXT, b"{}")[:5], frame(TEXT, length=60000, length_form=16)],
    ids=["nothing", "a byte", "half a head", "a head without its body"],
)
async def test_silence_before_the_hello_is_4408(hub: Hub, part: bytes) -> None:
    async with peer(hub, hello=False) as client:
        client.send(part)
        code, bye = await client.end()
        assert code == 4408
        assert bye is not None
        assert bye["retry_after_ms"] > 0
    await settled(hub)


async def test_half_a_frame_and_silence_is_4408_after_two_heartbeats(hub: Hub, monkeypatch) -> None:
    async with peer(hub) as client:
        # Its kernel acknowledges what we send, which shows that it is there. Without that, as after a cut:
        monkeypatch.setattr("hub.gateway.socket.Socket.acked_bytes", lambda _: 0)
        client.send(frame(TEXT, length=60000, length_form=16) + b"x" * 100)
        assert (await client.end())[0] == 4408
    await settled(hub)


async def test_who_never_answers_a_close_is_cut(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(frame(TEXT, b"no frame"))
        async with asyncio.timeout(5):
            while (await client.frame()) is not None:
                pass
        # The server's half has ended; ours stays open, and says nothing.
        await settled(hub)


async def test_who_closes_its_half_and_reads_nothing_is_cut(hub: Hub) -> None:
    async with peer(hub, room=4096) as client:
        await stuffed(hub, client)
        client.writer.write_eof()
        await settled(hub)


async def test_who_reads_nothing_and_breaks_the_protocol_is_cut(hub: Hub) -> None:
    async with peer(hub, room=4096) as client:
        await stuffed(hub, client)
        client.send(frame(TEXT, b"{}", masked=False))
        await settled(hub)


async def stuffed(hub: Hub, client: Peer) -> None:
    """Fill every buffer between the hub and a client that does not read."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    connection = next(iter(hub.node.sockets))
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(20_000):
        hub.commit(data={"pad": "x" * 900})
        await asyncio.sleep(0)
        if not connection.is_writable:
            return
    raise AssertionError("the buffers never filled")


# -- floods ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [frame(PING), frame(PONG), frame(PING, b"x" * 125)], ids=["ping", "pong", "long ping"])
async def test_a_flood_of_control_frames_is_4429_and_the_peer_can_read_why(hub: Hub, one: bytes) -> None:
    for hello in (False, True):
        async with peer(hub, hello=hello) as client:
            client.send(one * 5000)
            code, bye = await client.end()
            assert code == 4429
            assert bye is not None
            assert bye["retry_after_ms"] > 0
    await settled(hub)


async def test_a_flood_of_messages_is_4429_and_the_peer_can_read_why(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(said(type="ping") * 5000)
        assert (await client.end())[0] == 4429
    await settled(hub)


async def test_a_flood_of_empty_parts_is_4429(hub: Hub) -> None:
    async with peer(hub) as client:
        client.send(frame(TEXT, b"{", fin=False) + frame(CONT, fin=False) * 5000)
        assert (await client.end())[0] == 4429


async def test_a_flood_does_not_hold_up_the_others(hub: Hub) -> None:
    async with device(hub, 8) as other:
        parsed = 0
        feed = hub.node.protocol.func._is_one_too_many

        def counting(connection):  # type: ignore[no-untyped-def]
            nonlocal parsed
            parsed += 1
            return feed(connection)

        hub.node.protocol.func._is_one_too_many = counting
        try:
            async with peer(hub) as client:
                client.send(frame(PING) * 40_000)
                assert (await client.end())[0] == 4429
        finally:
            hub.node.protocol.func._is_one_too_many = feed
        # Of 40,000 no more are looked at than the limit and one slice.
        assert parsed < FRAMES_PER_S + 4096 // len(frame(PING)) + 10
        hub.commit(8)
        assert (await other.events(1))[0]["seq"] == 1


async def test_answers_that_are_not_read_are_not_piled_up(hub: Hub, limits: GatewayLimits) -> None:
    async with peer(hub, room=4096) as client:
        await stuffed(hub, client)
        connection = next(iter(hub.node.sockets))
        for _ in range(40):
            client.send(frame(TEXT, b'{"type":"' + b"x" * 60 + b'"}') * 2)
            await asyncio.sleep(0)
        most = 4 * limits.write_buffer_bytes_max + limits.batch_bytes_max + 4096
        assert connection.transport.get_write_buffer_size() < most


# -- the handshake -----------------------------------------------------------------------------------------------------

REFUSED = {
    "no key": (request("Sec-WebSocket-Key: "), 400),
    "a key that is not base64": (request("Sec-WebSocket-Key: ???"), 400),
    "a short key": (request("Sec-WebSocket-Key: YWJj"), 400),
    "an old version (§4.4)": (request("Sec-WebSocket-Version: 8"), 426),
    "an empty version (§4.4)": (request("Sec-WebSocket-Version:"), 426),
    "no version": (request().replace(b"Sec-WebSocket-Version: 13\r\n", b""), 400),
    "a method that begins none": (request(method="POST"), 405),
    "a body": (request("Content-Length: 5") + b"hello", 400),
    "only protocols that we do not speak": (request("Sec-WebSocket-Protocol: chat"), 400),
    "a malformed list of protocols": (request("Sec-WebSocket-Protocol: ,;"), 400),
    "an origin that is no address": (request("Origin: http://[::1"), 403),
    "two origins": (request().replace(b"Host", b"Origin: a\r\nOrigin: b\r\nHost"), 400),
    "two authorizations": (request().replace(b"Host", b"Authorization: a\r\nAuthorization: b\r\nHost"), 400),
    "another path": (request(path="/api/v1/ws2"), 404),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_handshake_is_answered_in_http_and_ended(hub: Hub, data: bytes, status: int) -> None:
    async with tcp(hub) as client:
        client.send(data)
        async with asyncio.timeout(5):
            answer = await client.reader.read()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    await settled(hub)


async def test_what_is_said_before_the_answer_is_not_heard(hub: Hub) -> None:
    gate = asyncio.Event()
    hub.tokens.gate = gate
    async with tcp(hub) as client:
        client.send(request("Authorization: Bearer acme:7"))
        async with asyncio.timeout(5):
            await hub.tokens.asked.wait()
        client.send(said(type="hello") + said(type="ping") + said(type="token", token="acme:9"))
        await until(lambda: next(iter(hub.node.sockets))._frames_counted == 3)
        gate.set()
        async with asyncio.timeout(5):
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert (await client.end())[0] == 4408, "a hello that came too early is none"
    await settled(hub)
    assert hub.tokens.seen == ["acme:7"]


@pytest.mark.parametrize("rubbish", [b"\xff\xff\xff\xff\xff\xff", frame(TEXT, b"x", masked=False)])
@pytest.mark.parametrize("token", ["acme:7", "bad"])
async def test_rubbish_before_the_answer_ends_it(hub: Hub, rubbish: bytes, token: str, caplog) -> None:
    gate = asyncio.Event()
    hub.tokens.gate = gate
    async with tcp(hub) as client:
        client.send(request(f"Authorization: Bearer {token}"))
        async with asyncio.timeout(5):
            await hub.tokens.asked.wait()
        client.send(rubbish)
        await until(lambda: all(connection._is_over for connection in hub.node.sockets))
        gate.set()
        async with asyncio.timeout(5):
            assert await client.reader.read() == b""
    await settled(hub)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_token_that_is_looked_at_for_too_long_ends_the_handshake(hub: Hub) -> None:
    hub.tokens.gate = asyncio.Event()
    async with tcp(hub) as client:
        client.send(request("Authorization: Bearer acme:7"))
        async with asyncio.timeout(5):
            assert await client.reader.read() == b""
    await settled(hub)


async def test_a_verifier_that_fails_is_a_500(hub: Hub) -> None:
    hub.tokens.error = RuntimeError("out of order")
    async with tcp(hub) as client:
        client.send(request("Authorization: Bearer acme:7"))
        async with asyncio.timeout(5):
            assert (await client.reader.read()).startswith(b"HTTP/1.1 500 ")
    await settled(hub)


async def test_no_token_reaches_a_log_at_any_level(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with tcp(hub) as client:
        client.send(request("Authorization: Bearer acme:7"))
        async with asyncio.timeout(5):
            await client.reader.readuntil(b"\r\n\r\n")
        client.send(said(type="hello"))
        await client.message("welcome")
        client.send(said(type="token", token="acme:7:agent"))
        await client.message("token")
    assert "acme:7" not in caplog.text
