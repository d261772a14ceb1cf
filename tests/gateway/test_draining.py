"""A node that stops tells everyone why and when to come back, and waits for those who are slow to hear it."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from hub.core.topics import NODES
from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Device, Gate, Hub, device, until


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, close_timeout_s=0.5, heartbeat_ms=600_000, node_beat_s=60)


async def choked(hub: Hub, client: Device) -> None:
    """Stop the client's reading, and fill what lies between."""
    client.socket.transport.pause_reading()
    connection = hub.node.registry.connections()[0]
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(20_000):
        hub.commit(data={"pad": "x" * 900})
        await asyncio.sleep(0)
        if not connection.is_writable:
            return
    raise AssertionError("the buffers never filled")


async def test_wherever_a_connection_stands_it_is_told(hub: Hub) -> None:
    gate = Gate(hub.log, "state")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(device(hub, user, hello=False)) for user in (1, 2)]
        await clients[1].send(type="hello", token="acme:2")
        await until(lambda: gate.waiting)
        await asyncio.gather(hub.node.drain(), *(client.closed() for client in clients))
        for client in clients:
            assert client.socket.close_code == 1012
            assert client.frames[-1]["retry_after_ms"] > 0
        gate.open()


async def test_who_has_not_finished_its_handshake_is_not_waited_for(hub: Hub) -> None:
    hub.tokens.gate = asyncio.Event()
    connecting = asyncio.create_task(
        connect(hub.url, additional_headers={"Authorization": "Bearer acme:7"}).__aenter__()
    )
    await hub.tokens.asked.wait()
    async with asyncio.timeout(2):
        await hub.node.drain(within_s=60)
    with pytest.raises(Exception, match=r".+"):
        await connecting


async def test_no_handshake_and_no_hello_gets_in_any_more(hub: Hub) -> None:
    async with device(hub, hello=False) as late:
        hub.tokens.gate = asyncio.Event()
        await late.send(type="hello", token="acme:7")
        await hub.tokens.asked.wait()
        hub.node.is_draining = True
        hub.tokens.gate.set()
        assert (await late.closed())[0] == 1012
    with pytest.raises(InvalidStatus) as refused:
        async with connect(hub.url):
            pass
    assert refused.value.response.status_code == 503


async def test_a_slow_socket_that_reads_in_time_hears_the_bye(hub: Hub) -> None:
    async with device(hub) as slow, device(hub, 8) as other:
        await choked(hub, slow)
        draining = asyncio.create_task(hub.node.drain(within_s=60))
        assert (await other.closed())[0] == 1012
        await asyncio.sleep(0)
        assert not draining.done(), "it waits until the bye has been read, not until it was written down"
        slow.socket.transport.resume_reading()
        code, bye = await slow.closed()
        assert code == 1012
        assert bye is not None
        assert slow.frames[-1] is bye, "after all that was given before it"
        async with asyncio.timeout(5):
            await draining


async def test_a_slow_socket_that_never_reads_is_cut(hub: Hub, limits: GatewayLimits) -> None:
    async with device(hub) as slow:
        await choked(hub, slow)
        async with asyncio.timeout(limits.close_timeout_s + 3):
            await hub.node.drain(within_s=60)
        assert not hub.node.sockets
        slow.socket.transport.abort()


async def test_it_waits_no_longer_than_it_is_told(hub: Hub) -> None:
    async with device(hub) as slow:
        await choked(hub, slow)
        async with asyncio.timeout(0.4):
            await hub.node.drain(within_s=0.05)
        assert hub.node.sockets
        slow.socket.transport.abort()


async def test_other_nodes_are_told_once_and_not_once_a_device(hub: Hub) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(device(hub, user, can_ring=True)) for user in range(1, 11)]
        await until(lambda: not hub.node._untold)
        hub.ear.told.clear()
        await asyncio.gather(hub.node.drain(), *(client.closed() for client in clients))
        await until(lambda: not hub.node._untold)
        assert [topic for topic, _ in hub.ear.told] == [NODES]
