"""What many are told at once reaches each of them as if it had been told them alone."""

from __future__ import annotations

import asyncio

from hub.core.topics import crowd_topic, user_topic
from tests.gateway.harness import Hub, device, until

CROWD = range(1, 31)
TOPIC = crowd_topic("acme")


async def test_a_crowd_hears_its_own_frames_without_a_read_of_the_log(hub: Hub) -> None:
    async with device(hub, 7) as one, device(hub, 7) as tab, device(hub, 8) as other, device(hub, 7, tenant="b") as far:
        hub.tell_crowd(CROWD, data={"title": "All hands"})
        hub.tell_crowd(CROWD, data={"title": "At noon"})
        hub.commit(7)
        for client, seqs in ((one, [1, 2, 3]), (tab, [1, 2, 3]), (other, [1, 2])):
            events = await client.events(len(seqs))
            assert [(e["seq"], e["cursor"]) for e in events] == [(seq, seq) for seq in seqs]
            assert [e["data"]["title"] for e in events[:2]] == ["All hands", "At noon"]
        # Of another tenant, though with the same number.
        hub.commit(7, tenant="b")
        assert [e["seq"] for e in await far.events(1)] == [1]
        statistics = hub.node.statistics
        assert statistics.pages_read == 0
        assert statistics.hints_received == 2 * 2 + 2
        assert statistics.frames_sent == statistics.events_sent == 3 + 3 + 2 + 1


async def test_it_is_trusted_only_where_it_follows_on(hub: Hub) -> None:
    async with device(hub, 7) as client:
        hub.commit(7, hint=False)
        hub.tell_crowd(CROWD)
        assert [e["seq"] for e in await client.events(2)] == [1, 2]
        assert hub.node.statistics.pages_read == 1


async def test_one_device_of_each_rings(hub: Hub) -> None:
    async with device(hub, 7, can_ring=True) as first, device(hub, 7, can_ring=True) as second:
        hub.tell_crowd(CROWD, priority="high")
        rang = [(await client.events(1))[0].get("ring", False) for client in (first, second)]
        assert sorted(rang) == [False, True]


async def test_nobody_is_welcomed_before_the_crowd_is_heard(hub: Hub) -> None:
    async with device(hub, 8):
        assert TOPIC in hub.ear.topics
    await until(lambda: TOPIC not in hub.ear.topics)
    hub.ear.gate = asyncio.Event()
    async with device(hub, 7, hello=False) as client:
        await client.send(type="hello", token="acme:7")
        await until(lambda: TOPIC in hub.ear.subscribed[-2:])
        hub.commit(7, hint=False)
        hub.ear.gate.set()
        assert (await client.frame("welcome"))["head"] == 1


async def test_the_last_of_a_tenant_lets_go_of_it(hub: Hub) -> None:
    async with device(hub, 7):
        async with device(hub, 8):
            pass
        await until(lambda: user_topic("acme", 8) not in hub.ear.topics)
        assert TOPIC in hub.ear.topics
        hub.tell_crowd(CROWD)
        assert set(hub.node.registry.of_tenant("acme")) == {7}
    await until(lambda: TOPIC not in hub.ear.topics)
    assert not hub.node.registry.of_tenant("acme")
    assert not hub.node.registry.tenants


async def test_what_is_no_hint_is_counted(hub: Hub) -> None:
    async with device(hub, 7) as client:
        hub.bus.say(TOPIC, b"no such message")
        hub.commit(7)
        await client.events(1)
        assert hub.node.statistics.hints_bad == 1
