"""A slow reader: bounded memory, nothing lost, the urgent first."""

from __future__ import annotations

import asyncio

import pytest

from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Device, Hub, device

PAD = "x" * 900


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, heartbeat_ms=600_000)


async def choke(hub: Hub, client: Device) -> None:
    """Stop the client's reading and fill both kernels' buffers until the node lags."""
    client.socket.transport.pause_reading()
    connection = hub.node.registry.connections()[0]
    connection.transport.get_extra_info("socket").setsockopt(1, 7, 4096)  # SO_SNDBUF
    for _ in range(20_000):
        hub.commit(data={"pad": PAD}, priority="low")
        if connection.session.state.name == "LAGGING":
            return
        await asyncio.sleep(0)
    raise AssertionError("the socket never lagged")


async def read_all(client: Device, head: int) -> list[dict]:
    client.socket.transport.resume_reading()
    events: list[dict] = []
    async with asyncio.timeout(60):
        while not events or max(e["cursor"] for e in events) < head:
            events.extend(await client.events(1, within_s=30))
    return events


async def test_a_slow_reader_gets_everything_once_and_costs_bounded_memory(hub: Hub, limits) -> None:
    async with device(hub) as client:
        await choke(hub, client)
        connection = hub.node.registry.connections()[0]
        for _ in range(500):
            hub.commit(data={"pad": PAD}, priority="low")
            await asyncio.sleep(0)
            outbox = connection.session.outbox
            assert outbox is None or outbox.bytes_waiting <= limits.window_bytes_max + 2000
            assert (
                connection.transport.get_write_buffer_size()
                <= limits.write_buffer_bytes_max + limits.batch_bytes_max + 4096
            )
        head = hub.log.head("acme", 7)
        events = await read_all(client, head)
        assert [e["seq"] for e in events] == list(range(1, head + 1))
        assert hub.node.statistics.lagged >= 1


async def test_critical_ones_overtake_the_backlog_and_the_cursor_tells(hub: Hub) -> None:
    async with device(hub) as client:
        await choke(hub, client)
        for _ in range(100):
            hub.commit(data={"pad": PAD}, priority="low")
        critical = [hub.commit(priority="critical").seq for _ in range(70)]
        in_order = hub.commit(kind="notifications.read_all", data={"before_seq": 1, "count": 1}).seq
        head = hub.log.head("acme", 7)
        events = await read_all(client, head)
        order = [e["seq"] for e in events]
        assert sorted(order) == list(range(1, head + 1)), "everything, once"
        backlog_low = [s for s in order if s < critical[0]]
        # What was in the kernel's buffers had left; of the rest, all 64 early ones were ahead.
        last_before = order.index(critical[0])
        assert last_before < len(backlog_low) - 100
        assert order[last_before : last_before + 64] == critical[:64]
        early = next(e for e in events if e["seq"] == critical[0])
        assert early["cursor"] < early["seq"]
        assert order[-1] == in_order or order.index(in_order) > max(order.index(s) for s in range(1, in_order))
        cursors = [e["cursor"] for e in events]
        assert cursors == sorted(cursors)


async def test_a_slow_reader_does_not_slow_another(hub: Hub) -> None:
    async with device(hub, 7) as slow, device(hub, 8) as other:
        await choke(hub, slow)
        for _ in range(50):
            hub.commit(8)
        assert [e["seq"] for e in await other.events(50)] == list(range(1, 51))
        slow.socket.transport.abort()
