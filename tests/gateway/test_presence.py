"""Supervisors see who is connected, on whichever node."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import msgspec

from hub.core.topics import presence_topic
from hub.gateway import presence
from tests.gateway.harness import Device, Hub, device, until


async def changes(client: Device, count: int) -> list[tuple[int, bool, int]]:
    got: list[tuple[int, bool, int]] = []
    while len(got) < count:
        frame = await client.frame("event")
        assert frame["kind"] == "presence.changed"
        assert "seq" not in frame
        got.append((frame["data"]["user_id"], frame["data"]["online"], frame["data"]["devices"]))
    return got


async def watch(client: Device) -> list[dict]:
    await client.send(type="call", id=1, method="presence.subscribe", params={})
    return (await client.frame("result"))["data"]["items"]


async def test_a_watcher_is_told_who_is_there_and_who_comes_and_goes(hub: Hub) -> None:
    async with device(hub, 8), device(hub, 1, token="acme:1:supervisor") as boss, device(hub, 9, tenant="other"):
        assert await watch(boss) == [
            {"user_id": 1, "online": True, "devices": 1},
            {"user_id": 8, "online": True, "devices": 1},
        ]
        async with device(hub, 7):
            assert await changes(boss, 1) == [(7, True, 1)]
            async with device(hub, 7):
                assert await changes(boss, 1) == [(7, True, 2)]
            assert await changes(boss, 1) == [(7, True, 1)]
        assert await changes(boss, 1) == [(7, False, 0)]
        await boss.send(type="call", id=2, method="presence.unsubscribe", params={})
        assert (await boss.frame())["id"] == 2
        async with device(hub, 7):
            await boss.send(type="ping", id="p")
            assert (await boss.frame())["type"] == "pong"


async def test_an_agent_may_not_watch(hub: Hub) -> None:
    async with device(hub) as agent:
        await agent.send(type="call", id=1, method="presence.subscribe", params={})
        assert (await agent.frame("error"))["error"]["status"] == 403


async def test_other_nodes_are_asked_and_a_silent_one_counts_no_more(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, Hub(memory_log, bus, limits).serving() as two:
        async with device(two, 7), device(one, 1, token="acme:1:supervisor") as boss:
            await watch(boss)
            assert (7, True, 1) in await changes(boss, 1)
            async with device(two, 8):
                assert await changes(boss, 1) == [(8, True, 1)]
                two.ear.is_connected = False
                gone = await asyncio.wait_for(changes(boss, 2), 5)
                assert sorted(gone) == [(7, False, 0), (8, False, 0)]


async def test_who_asks_once_hears_of_every_node(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, Hub(memory_log, bus, limits).serving() as two:
        await until(lambda: one.node.ringer.peers())
        async with device(two, 7), device(two, 7), device(one, 8), device(two, 9, tenant="other"):
            found = await one.node.presence.read("acme")
            assert (found.devices, found.nodes, found.is_complete) == ({7: 2, 8: 1}, 2, True)
            async with device(two, 10):
                await until(lambda: 10 in one.node.presence._boards["acme"].devices)
            assert (await two.node.presence.read("other")).devices == {9: 1}


async def test_a_node_that_began_after_the_board_is_asked_too(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, device(one, 8):
        assert (await one.node.presence.read("acme")).nodes == 1
        async with Hub(memory_log, bus, limits).serving() as two:
            await until(lambda: one.node.ringer.peers())
            found = await one.node.presence.read("acme")
            assert (found.nodes, found.is_complete) == (2, True)
        assert two.node.is_draining


async def test_without_the_broker_each_node_tells_of_its_own_and_says_so(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, device(one, 8):
        one.ear.is_connected = False
        found = await one.node.presence.read("acme")
        assert (found.devices, found.nodes, found.is_complete) == ({8: 1}, 1, False)


async def test_a_node_that_does_not_answer_makes_it_incomplete(memory_log, bus, limits, monkeypatch) -> None:
    monkeypatch.setattr(presence, "ANSWER_S", 0.05)
    async with Hub(memory_log, bus, limits).serving() as one, Hub(memory_log, bus, limits).serving() as two:
        await until(lambda: one.node.ringer.peers())
        monkeypatch.setattr(two.node.presence, "asked", lambda payload: None)
        async with device(two, 7), device(one, 8):
            found = await one.node.presence.read("acme")
            assert (found.devices, found.nodes, found.is_complete) == ({8: 1}, 1, False)


async def test_a_board_that_nobody_asks_for_is_thrown_away(memory_log, bus, limits, monkeypatch) -> None:
    async with Hub(memory_log, bus, limits).serving() as one:
        await one.node.presence.read("acme")
        assert "acme" in one.node.presence._boards
        one.node.presence._boards["acme"].kept_until = 0.0
        one.node.presence.drop_silent_nodes(set())
        assert one.node.presence._boards == {}


async def test_a_watcher_who_goes_while_it_begins_to_watch_is_not_kept(hub: Hub) -> None:
    async with device(hub, 1, token="acme:1:supervisor") as boss:
        hub.ear.gate = asyncio.Event()
        await boss.send(type="call", id=1, method="presence.subscribe", params={})
        await until(lambda: presence_topic("acme") in hub.ear.subscribed)
    await until(lambda: not hub.node.sockets)
    hub.ear.gate.set()
    await until(lambda: not hub.node._runners)
    assert not any(board.watchers for board in hub.node.presence._boards.values())


async def test_a_slow_watcher_costs_a_set_and_is_told_how_things_stand_in_the_end(hub: Hub) -> None:
    async with device(hub, 1, token="acme:1:supervisor") as boss:
        await watch(boss)
        connection = hub.node.registry.connections()[0]
        boss.socket.transport.pause_reading()
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        devices = 0
        for devices in range(1, 20_000):
            hub.node.presence._put("acme", "elsewhere", dict.fromkeys(range(1000, 4000), devices))
            await asyncio.sleep(0)
            if not connection.is_writable:
                break
        hub.node.ringer.noted("elsewhere")
        for more in range(devices + 1, devices + 50):
            hub.node.presence._put("acme", "elsewhere", dict.fromkeys(range(1000, 4000), more))
        assert connection.presence_missed == set(range(1000, 4000))
        most = hub.node.limits.write_buffer_bytes_max + 4096
        assert connection.transport.get_write_buffer_size() <= most
        told: dict[int, int] = {}
        boss.socket.transport.resume_reading()
        while set(told.values()) != {devices + 49} or len(told) < 3000:
            frame = await boss.frame("event")
            told[frame["data"]["user_id"]] = frame["data"]["devices"]
            assert connection.transport.get_write_buffer_size() <= most
        assert not connection.presence_missed


async def test_a_node_that_was_silent_for_a_while_is_asked_again(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, Hub(memory_log, bus, limits).serving() as two:
        async with device(two, 7), device(one, 1, token="acme:1:supervisor") as boss:
            await watch(boss)
            assert (7, True, 1) in await changes(boss, 1)
            two.ear.is_connected = False  # stopped, as far as the others can hear; it hears and notices nothing
            assert await asyncio.wait_for(changes(boss, 1), 5) == [(7, False, 0)]
            two.ear.is_connected = True
            assert await asyncio.wait_for(changes(boss, 1), 5) == [(7, True, 1)]


async def test_who_went_while_a_node_was_deaf_is_gone_for_it_and_what_it_did_is_known(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, Hub(memory_log, bus, limits).serving() as two:
        async with (
            device(one, 1, token="acme:1:supervisor") as boss,
            device(two, 2, token="acme:2:supervisor") as other,
        ):
            await watch(boss)
            await watch(other)
            async with device(two, 7):
                await until_told(boss, 7, 1)
                one.ear.turn(up=False)
            async with device(one, 8):
                one.ear.turn(up=True)
                await until_told(boss, 7, 0)
                await until_told(other, 8, 1)
                two.ear.turn(up=False)
            two.ear.turn(up=True)
            await until_told(other, 8, 0)


async def test_what_a_deaf_node_did_is_known_to_those_who_watch_elsewhere(memory_log, bus, limits) -> None:
    async with Hub(memory_log, bus, limits).serving() as one, Hub(memory_log, bus, limits).serving() as two:
        async with device(two, 2, token="acme:2:supervisor") as other:
            await watch(other)
            async with device(one, 7):
                await until_told(other, 7, 1)
                one.ear.turn(up=False)
            await until(lambda: not one.node.registry.connection_count)
            async with device(one, 8):
                one.ear.turn(up=True)
                assert sorted(await changes(other, 2)) == [(7, False, 0), (8, True, 1)]


async def until_told(client: Device, user: int, devices: int) -> None:
    async with asyncio.timeout(5):
        while (await changes(client, 1))[0] != (user, devices > 0, devices):
            pass


async def test_what_changes_while_all_is_being_said_is_heard_after_it(hub: Hub) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for user in range(1, 6):
            await stack.enter_async_context(device(hub, user))
        async with device(hub, 7):
            await until(lambda: not hub.node._untold)
            hub.ear.told.clear()
            hub.node.presence.asked(b"Pacme")
        await until(lambda: len(hub.ear.told) >= 2)
        assert [topic for topic, _ in hub.ear.told[:2]] == [presence_topic("acme")] * 2
        all_of_them, later = (msgspec.msgpack.decode(payload)[1] for _, payload in hub.ear.told[:2])
        assert all_of_them[7] == 1
        assert later == {7: 0}
