"""Of a user's connections exactly one is asked to ring."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from hub.gateway.limits import GatewayLimits
from tests.gateway.harness import Bus, Device, Gate, Hub, MemoryLog, device, until


async def heard(clients: list[Device], count: int) -> list[list[bool]]:
    """For each of the next events: which of the devices it rings on."""
    events = [await client.events(count) for client in clients]
    by_seq = [{e["seq"]: e.get("ring", False) for e in got} for got in events]
    return [[rings[seq] for rings in by_seq] for seq in sorted(by_seq[0])]


async def settle(client: Device) -> None:
    await client.send(type="ping", id="settle")
    await client.frame("pong")


async def test_the_newest_device_rings_and_only_of_those_that_can(hub: Hub) -> None:
    async with (
        device(hub, can_ring=True) as first,
        device(hub, can_ring=True) as second,
        device(hub) as mute,
    ):
        hub.commit()
        assert await heard([first, second, mute], 1) == [[False, True, False]]


async def test_the_device_that_last_said_it_has_the_focus_rings(hub: Hub) -> None:
    async with device(hub, can_ring=True) as first, device(hub, can_ring=True) as second:
        await first.send(type="focus", focused=True)
        await settle(first)
        hub.commit()
        assert await heard([first, second], 1) == [[True, False]]
        await second.send(type="focus", focused=True, can_ring=True)
        await settle(second)
        await first.send(type="focus", focused=False)
        await settle(first)
        hub.commit()
        assert await heard([first, second], 1) == [[False, True]]
        await second.send(type="focus", focused=True, can_ring=False)
        await settle(second)
        hub.commit()
        assert await heard([first, second], 1) == [[True, False]]


async def test_another_takes_over_when_it_goes(hub: Hub) -> None:
    async with device(hub, can_ring=True) as first:
        async with device(hub, can_ring=True) as second:
            hub.commit()
            assert await heard([first, second], 1) == [[False, True]]
        hub.commit()
        assert await heard([first], 1) == [[True]]


async def test_only_what_may_ring_does(hub: Hub) -> None:
    async with device(hub, can_ring=True) as client:
        hub.commit(rings=False)
        hub.commit(kind="notification.updated")
        hub.commit()
        assert await heard([client], 3) == [[False], [False], [True]]


async def test_a_replay_rings_once(hub: Hub) -> None:
    for _ in range(12):
        hub.commit(hint=False)
    async with device(hub, can_ring=True, epoch="e1", cursor=0) as client:
        assert sum(rings for (rings,) in await heard([client], 12)) == 1
        hub.commit()
        assert await heard([client], 1) == [[True]]


async def test_what_is_released_together_rings_once(hub: Hub) -> None:
    async with device(hub, can_ring=True) as client:
        for _ in range(5):
            hub.commit(released=True)
        assert sum(rings for (rings,) in await heard([client], 5)) == 1


async def test_what_rang_on_one_device_does_not_ring_on_one_that_catches_up(hub: Hub) -> None:
    async with device(hub, can_ring=True) as first:
        hub.commit()
        assert await heard([first], 1) == [[True]]
        async with device(hub, can_ring=True, epoch="e1", cursor=0) as late:
            assert await heard([late], 1) == [[False]]


class TestCritical:
    @pytest.fixture
    def limits(self) -> GatewayLimits:
        return GatewayLimits(ring_again_s=0.2, sweep_interval_s=60)

    async def test_one_that_is_not_acked_rings_once_more_on_another(self, hub: Hub) -> None:
        async with device(hub, can_ring=True) as first, device(hub, can_ring=True) as second:
            hub.commit(priority="critical")
            assert await heard([first, second], 1) == [[False, True]]
            (again,) = await first.events(1)
            assert (again["seq"], again["ring"]) == (1, True)

    async def test_one_that_is_acked_does_not(self, hub: Hub) -> None:
        async with device(hub, can_ring=True) as first, device(hub, can_ring=True) as second:
            hub.commit(priority="critical")
            assert await heard([first, second], 1) == [[False, True]]
            await second.send(type="ack", cursor=1)
            await settle(second)
            with pytest.raises(TimeoutError):
                await first.events(1, within_s=0.6)


@contextlib.asynccontextmanager
async def two_nodes(log: MemoryLog, bus: Bus, limits: GatewayLimits):
    async with Hub(log, bus, limits).serving() as one, Hub(log, bus, limits).serving() as two:
        yield one, two


class TestTwoNodes:
    async def test_one_device_of_all_nodes_rings(self, memory_log, bus, limits) -> None:
        async with two_nodes(memory_log, bus, limits) as (one, two):
            async with device(one, can_ring=True) as first, device(two, can_ring=True) as second:
                one.commit()
                assert await heard([first, second], 1) == [[False, True]]
                await first.send(type="focus", focused=True)
                await settle(first)
                await settle(second)
                one.commit()
                assert await heard([first, second], 1) == [[True, False]]
            async with device(one, can_ring=True) as alone:
                one.commit()
                assert await heard([alone], 1) == [[True]]

    async def test_a_node_that_died_rings_no_more(self, memory_log, bus, limits) -> None:
        async with two_nodes(memory_log, bus, limits) as (one, two):
            async with device(one, can_ring=True) as first, device(two, can_ring=True) as second:
                one.commit()
                assert await heard([first, second], 1) == [[False, True]]
                two.ear.is_connected = False  # dead, as far as the others can hear
                async with asyncio.timeout(3):
                    while one.node.ringer.peers():
                        await asyncio.sleep(0.01)
                one.commit()
                assert await heard([first], 1) == [[True]]

    async def test_a_critical_one_rings_again_on_the_other_node(self, memory_log, bus) -> None:
        limits = GatewayLimits(ring_again_s=0.2, node_beat_s=0.05, sweep_interval_s=60)
        async with two_nodes(memory_log, bus, limits) as (one, two):
            async with device(one, can_ring=True) as first, device(two, can_ring=True) as second:
                one.commit(priority="critical")
                assert await heard([first, second], 1) == [[False, True]]
                (again,) = await first.events(1)
                assert (again["seq"], again["ring"]) == (1, True)

    async def test_who_came_while_a_node_was_deaf_is_known_to_it_afterwards(self, memory_log, bus, limits) -> None:
        async with two_nodes(memory_log, bus, limits) as (one, two):
            async with device(one, can_ring=True) as first:
                two.ear.turn(up=False)
                async with device(two, can_ring=True) as second:
                    two.ear.turn(up=True)
                    await agreed(one, two, first, second)
                    one.commit()
                    assert await heard([first, second], 1) == [[False, True]]

    async def test_who_went_while_a_node_was_deaf_takes_no_ring_away(self, memory_log, bus, limits) -> None:
        async with two_nodes(memory_log, bus, limits) as (one, two):
            async with device(one, can_ring=True) as first:
                async with device(two, can_ring=True) as second:
                    one.commit()
                    assert await heard([first, second], 1) == [[False, True]]
                    one.ear.turn(up=False)
                await until(lambda: not two.node.registry.connection_count)
                await until(lambda: not two.node._untold)
                one.ear.turn(up=True)
                async with asyncio.timeout(3):
                    while not one.node.ringer.peers():
                        await asyncio.sleep(0.01)
                one.commit()
                assert await heard([first], 1) == [[True]]

    async def test_nodes_that_come_and_go_leave_nothing(self, memory_log, bus, limits) -> None:
        async with Hub(memory_log, bus, limits).serving() as one, device(one, can_ring=True):
            for _ in range(3):
                async with Hub(memory_log, bus, limits).serving() as other, device(other, can_ring=True):
                    await until(lambda: one.node.ringer.peers())
                    await until(lambda: one.node.registry.of("acme", 7).remote)
            assert not one.node.ringer._peers
            assert not one.node.registry.of("acme", 7).remote


async def agreed(one: Hub, two: Hub, first: Device, second: Device) -> None:
    """Both nodes know of both devices."""
    await until(lambda: all(hub.node.registry.of("acme", 7).remote for hub in (one, two)))
    await settle(first)
    await settle(second)


async def test_a_device_that_is_still_opening_takes_no_ring_away(hub: Hub) -> None:
    async with device(hub, can_ring=True) as first, device(hub, hello=False) as second:
        gate = Gate(hub.log, "state")
        await second.send(type="hello", token="acme:7", can_ring=True)
        await until(lambda: gate.waiting)
        hub.commit()
        assert await heard([first], 1) == [[True]]
        gate.open()


class TestAgain:
    @pytest.fixture
    def limits(self) -> GatewayLimits:
        return GatewayLimits(ring_again_s=0.2, sweep_interval_s=60)

    async def test_a_number_of_another_history_is_not_rung_again(self, hub: Hub) -> None:
        async with device(hub, can_ring=True) as first, device(hub, can_ring=True) as second:
            hub.commit(priority="critical")
            assert await heard([first, second], 1) == [[False, True]]
            hub.log.epoch = "e2"
            hub.log.streams.clear()
            await hub.node.catch_up.sweep()
            await first.frame("reset")
            await until(lambda: not hub.node.ringer._again_timers)
            hub.commit()
            (event,) = await first.events(1)
            assert (event["data"], event["priority"]) == ({"id": 1}, "normal")

    async def test_a_device_that_came_back_is_one_to_ring_again_on(self, hub: Hub) -> None:
        async with device(hub, can_ring=True) as first:
            hub.commit(priority="critical")
            assert await heard([first], 1) == [[True]]
        await until(lambda: not len(hub.node.registry))
        async with device(hub, can_ring=True) as back:
            (again,) = await back.events(1)
            assert (again["seq"], again["ring"]) == (1, True)


class TestRareHeartbeats:
    @pytest.fixture
    def limits(self) -> GatewayLimits:
        return GatewayLimits(heartbeat_ms=60_000, ring_silence_max_s=30, sweep_interval_s=60)

    async def test_a_device_is_not_silent_before_it_has_been_asked_for_a_sign(self, hub: Hub) -> None:
        assert hub.node.ringer.silence_s >= 60
