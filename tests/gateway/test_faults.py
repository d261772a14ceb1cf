"""What nobody foresaw: one failure is one connection's at most, and no session stands still for good."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from hub.core.frames import MSGPACK
from hub.core.session import State
from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Hub, device, until

HUGE = 10**30


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, retry_s=0.01, calls_bytes_max=2000)


@pytest.mark.parametrize("what", ["after", "critical"])
async def test_a_read_that_fails_in_an_unknown_way_is_tried_again(hub: Hub, what: str, caplog) -> None:
    failures = 3

    def fail(kind: str) -> None:
        nonlocal failures
        if kind == what and failures:
            failures -= 1
            raise RuntimeError("nobody foresaw this")

    for _ in range(1000):
        hub.commit(hint=False, priority="critical")
    hub.log.before_read = fail
    async with device(hub, epoch="e1", cursor=0) as client:
        await until(lambda: not failures or what == "critical")
        assert sorted({e["seq"] for e in await client.events(1000)}) == list(range(1, 1001))
        assert hub.node.registry.connections()[0].session.state is State.LIVE
    complaints = [record for record in caplog.records if "asked again" in record.message]
    assert len(complaints) == 1, "said once, however often it fails"


async def test_a_page_is_sent_even_where_the_look_ahead_fails(hub: Hub, caplog) -> None:
    def fail(kind: str) -> None:
        if kind == "critical":
            raise RuntimeError("nobody foresaw this")

    for _ in range(250):
        hub.commit(hint=False)
    hub.log.before_read = fail
    async with device(hub, epoch="e1", cursor=0) as client:
        assert [e["seq"] for e in await client.events(250)] == list(range(1, 251))


async def test_a_number_beyond_64_bits_stops_no_stream(hub: Hub) -> None:
    async with device(hub) as text, connect(hub.url, subprotocols=[MSGPACK]) as binary:
        await binary.send(msgspec.msgpack.encode({"type": "hello", "token": "acme:7"}))
        await binary.recv()
        hub.commit(data={"n": HUGE, "l": [{"m": -HUGE, "big": 10**400}]})
        hub.commit()
        assert (await text.events(1))[0]["data"]["n"] == HUGE
        packed = msgspec.msgpack.decode(await binary.recv())
        assert packed["data"]["n"] == float(HUGE)
        assert packed["data"]["l"][0]["m"] == -float(HUGE)
        assert msgspec.msgpack.decode(await binary.recv())["seq"] == 2


async def test_one_that_cannot_be_sent_to_is_closed_and_the_others_are_served(hub: Hub, caplog) -> None:
    async with device(hub) as first, device(hub) as broken, device(hub) as last:
        connection = hub.node.registry.connections()[1]

        def fail(*_: Any, **__: Any) -> bytes:
            raise RuntimeError("nobody foresaw this")

        codec = type("Codec", (), {"event": fail, "events": fail, "encode": connection.codec.encode})()
        connection.codec = codec  # type: ignore[assignment]
        for seq in (1, 2):
            hub.commit()
            for client in (first, last):
                assert (await client.events(1))[0]["seq"] == seq
        code, bye = await broken.closed()
        assert code == 1001
        assert bye is not None
        assert bye["retry_after_ms"] > 0, "it comes back with its cursor, and gets it all"


async def test_a_call_that_fails_is_a_500_and_the_next_one_is_performed(hub: Hub, caplog) -> None:
    perform = hub.methods.call

    async def call(principal: Any, method: str, params: Any) -> Any:
        if method == "broken":
            raise RuntimeError("nobody foresaw this")
        return object() if method == "unspeakable" else await perform(principal, method, params)

    hub.methods.call = call  # type: ignore[method-assign]
    async with device(hub) as client:
        for number, method in enumerate(["broken", "echo", "unspeakable", "echo"]):
            await client.send(type="call", id=number, method=method, params={})
        answers = [await client.frame() for _ in range(4)]
        assert [a["id"] for a in answers] == [0, 1, 2, 3]
        assert [a["type"] for a in answers] == ["error", "result", "error", "result"]
        assert {a["error"]["status"] for a in answers[::2]} == {500}
        assert all("nobody" not in str(a) for a in answers), "what failed is for the log, not for the client"


async def test_more_bytes_of_calls_than_may_wait_are_429(hub: Hub) -> None:
    hub.methods.gate = gate = asyncio.Event()
    async with device(hub) as client:
        await client.send(type="call", id=0, method="echo", params={"pad": "x" * 3000})
        await until(lambda: hub.methods.performed)
        for number in range(1, 4):
            await client.send(type="call", id=number, method="echo", params={"pad": "x" * 900})
        refused = await client.frame("error")
        assert (refused["id"], refused["error"]["status"]) == (3, 429)
        gate.set()
        assert [(await client.frame("result"))["id"] for _ in range(3)] == [0, 1, 2]
        # What has been performed makes room.
        await client.send(type="call", id=4, method="echo", params={"pad": "x" * 1900})
        assert (await client.frame("result"))["id"] == 4
