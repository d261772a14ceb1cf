"""What is ready together leaves together: one write a connection, in order, however it was said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.gateway import hearing
from hub.gateway.connection import Connection
from tests.gateway.harness import Hub, device


class Writes:
    """A transport that counts what is written to it, and passes it on."""

    def __init__(self, connection: Connection) -> None:
        self._transport: Any = connection.transport
        self.sizes: list[int] = []
        connection.transport = self  # type: ignore[assignment]

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_hints_of_one_turn_leave_in_one_write_and_in_order(hub: Hub) -> None:
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        for _ in range(5):
            hub.commit()
        assert writes.sizes == [], "the turn has not ended"
        assert [(e["seq"], e["cursor"]) for e in await client.events(5)] == [(n, n) for n in range(1, 6)]
        assert len(writes.sizes) == 1
        assert hub.node.statistics.frames_sent == 5


async def test_what_is_said_meanwhile_goes_after_what_was_gathered(hub: Hub) -> None:
    async with device(hub) as client:
        connection = hub.node.registry.connections()[0]
        hub.commit()
        connection.heartbeat()
        hub.commit()
        await client.events(2)
        assert [f["type"] for f in client.frames] == ["welcome", "event", "heartbeat", "event"]


async def test_several_events_of_one_hint_go_after_what_was_gathered(hub: Hub) -> None:
    async with device(hub) as client:
        hub.commit()
        hub.hint([hub.commit(hint=False), hub.commit(hint=False, priority="critical")])
        hub.commit()
        events = await client.events(4)
        assert events[0]["seq"] == 1
        assert sorted(e["seq"] for e in events) == [1, 2, 3, 4]
        assert events[-1]["cursor"] == 4


async def test_more_than_a_batch_does_not_wait_for_the_end_of_the_turn(hub: Hub, limits: Any) -> None:
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        for _ in range(8):
            hub.commit(data={"pad": "x" * 10_000})
        assert writes.sizes
        assert max(writes.sizes) <= limits.batch_bytes_max + 11_000
        assert [e["seq"] for e in await client.events(8)] == list(range(1, 9))


def keep_coming(hub: Hub, count: int) -> None:
    """One hint in each of the next turns of the loop."""
    hub.commit()
    if count > 1:
        asyncio.get_running_loop().call_soon(keep_coming, hub, count - 1)


async def test_while_more_hints_come_with_each_turn_frames_are_held(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "HELD_S_MAX", 60.0)
    monkeypatch.setattr(hearing, "_WRITE_S", 60.0)
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        hub.ear.is_behind = True
        keep_coming(hub, 20)
        # It stays behind, but a turn that brought nothing ends the wait.
        assert [e["seq"] for e in await client.events(20)] == list(range(1, 21))
        assert len(writes.sizes) == 1


async def test_where_none_is_behind_each_turn_ends_with_its_write(hub: Hub) -> None:
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        keep_coming(hub, 20)
        await client.events(20)
        assert len(writes.sizes) > 5


async def test_they_are_not_held_for_long(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "HELD_S_MAX", 0.0)
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        hub.ear.is_behind = True
        keep_coming(hub, 20)
        await client.events(20)
        assert len(writes.sizes) > 5


async def test_nor_are_many(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "HELD_S_MAX", 60.0)
    monkeypatch.setattr(hearing, "_WRITE_S", 60.0)
    monkeypatch.setattr(hearing, "HELD_COUNT_MAX", 3)
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        hub.ear.is_behind = True
        keep_coming(hub, 9)
        await client.events(9)
        assert len(writes.sizes) == 3


async def test_nor_for_longer_than_their_writes_take(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "HELD_S_MAX", 60.0)
    monkeypatch.setattr(hearing, "_WRITE_S", 0.0)
    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        hub.ear.is_behind = True
        keep_coming(hub, 20)
        await client.events(20)
        assert len(writes.sizes) > 5


async def test_what_a_crowd_is_told_is_held_alike(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "HELD_S_MAX", 60.0)
    monkeypatch.setattr(hearing, "_WRITE_S", 60.0)

    def tell(count: int) -> None:
        hub.tell_crowd(range(1, 10))
        if count > 1:
            asyncio.get_running_loop().call_soon(tell, count - 1)

    async with device(hub) as client:
        writes = Writes(hub.node.registry.connections()[0])
        hub.ear.is_behind = True
        tell(5)
        assert [e["seq"] for e in await client.events(5)] == [1, 2, 3, 4, 5]
        assert len(writes.sizes) == 1
