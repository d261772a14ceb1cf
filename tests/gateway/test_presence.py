"""Supervisors see who is connected, on whichever node."""

from __future__ import annotations

import asyncio

from tests.gateway.harness import Device, Hub, device


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
