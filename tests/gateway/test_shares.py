"""Few reads of the log run at once, and those who come back do not starve those who are there (semantics 7)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Device, Gate, Hub, MemoryLog, device, until


@pytest.fixture
def limits() -> GatewayLimits:
    return GatewayLimits(sweep_interval_s=60, replays_at_once=2, catch_ups_at_once=1)


class Reads:
    """Holds up the reads of chosen users; the log does not say whose a read is, so it is asked here."""

    def __init__(self, log: MemoryLog, held: range) -> None:
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        for name in ("read_state", "read_after"):
            setattr(log, name, self._slowed(getattr(log, name), held))

    def _slowed(self, read: Any, held: range) -> Any:
        async def slowed(tenant_id: str, user_id: int, *args: Any, **named: Any) -> Any:
            if user_id in held:
                self.running += 1
                self.most = max(self.most, self.running)
                try:
                    await self.gate.wait()
                finally:
                    self.running -= 1
            return await read(tenant_id, user_id, *args, **named)

        return slowed


STORM = range(100, 130)


async def storm(hub: Hub, stack: contextlib.AsyncExitStack) -> list[Device]:
    clients: list[Device] = []
    for user in STORM:
        hub.commit(user, hint=False)
        client = await stack.enter_async_context(device(hub, user, hello=False))
        await client.send(type="hello", token=f"acme:{user}", epoch="e1", cursor=0)
        clients.append(client)
    return clients


async def test_a_storm_of_hellos_does_not_starve_who_is_live(hub: Hub) -> None:
    reads = Reads(hub.log, STORM)
    async with contextlib.AsyncExitStack() as stack:
        live = await stack.enter_async_context(device(hub))
        clients = await storm(hub, stack)
        await until(lambda: reads.running == 2)
        hub.commit(hint=False)
        await hub.node.catch_up.sweep()
        assert (await live.events(1))[0]["seq"] == 1, "by its own share"
        hub.commit()
        assert (await live.events(1))[0]["seq"] == 2, "and by a hint, which needs none"
        assert not any(client.frames for client in clients)
        reads.gate.set()
        for client in clients:
            assert (await client.frame())["resume"] == "replay"
            assert (await client.events(1))[0]["seq"] == 1
        assert reads.most == 2, "replays that ran at once"


async def test_those_who_catch_up_do_not_keep_others_out(hub: Hub) -> None:
    async with device(hub) as live:
        gate = Gate(hub.log, "after")
        hub.commit(hint=False)
        hub.commit()
        await until(lambda: gate.waiting)
        async with device(hub, 8) as other:
            assert other.frames[0]["resume"] == "fresh"
        gate.open()
        assert [e["seq"] for e in await live.events(2)] == [1, 2]


async def test_who_was_live_catches_up_by_the_share_of_the_live(hub: Hub) -> None:
    async with device(hub, 7) as one, device(hub, 8) as two:
        gate = Gate(hub.log, "after")
        for user in (7, 8):
            hub.commit(user, hint=False)
            hub.commit(user)
        await until(lambda: gate.waiting)
        await asyncio.sleep(0.05)
        assert gate.waiting == 1, "of catching up at once one is allowed here"
        gate.open()
        for client in (one, two):
            assert [e["seq"] for e in await client.events(2)] == [1, 2]


async def test_a_page_is_bounded_by_the_room_in_the_window(hub: Hub, limits: GatewayLimits) -> None:
    for _ in range(400):
        hub.commit(hint=False, data={"pad": "x" * 500})
    asked: list[int] = []
    read = hub.log.read_after

    async def noting(*args: Any, bytes_max: int, **named: Any) -> Any:
        asked.append(bytes_max)
        return await read(*args, bytes_max=bytes_max, **named)

    hub.log.read_after = noting  # type: ignore[method-assign]
    async with device(hub, epoch="e1", cursor=0) as client:
        assert [e["seq"] for e in await client.events(400)] == list(range(1, 401))
    assert max(asked) <= limits.window_bytes_max
    assert len(asked) > 3
