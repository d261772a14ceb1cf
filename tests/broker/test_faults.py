"""The real broker on a network, and a server, that fail in every way but cleanly."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from hub import clock
from hub.broker import RedisBroker
from hub.broker.topics import user_topic
from tests.broker.harness import QUICK, TOPIC, Nodes, Valkey, eventually, is_heard, limits, through
from tests.faults import FaultyProxy


async def test_connections_that_are_cut_are_made_again_at_once(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy))
    await node.broker.subscribe(TOPIC)
    for round_ in range(1, 6):
        ups = len(node.ups)
        proxy.cut()
        await node.until(lambda ups=ups: node.ups[ups:] == [False, True])
        await is_heard(node, b"%d" % round_)
    assert node.broker.statistics().reconnects == 5


async def test_a_proxy_that_refuses_is_waited_for(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy))
    proxy.refuse()
    await node.until_down()
    assert await node.broker.publish(TOPIC, b"lost") is False
    await proxy.accept()
    await node.until_up()
    await is_heard(node, b"x")


async def test_a_frozen_server_is_noticed_by_the_canary(redis_nodes: Nodes, valkey: Valkey) -> None:
    node = await redis_nodes.add()
    await node.broker.subscribe(TOPIC)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    valkey.freeze()
    try:
        # Its sockets are open, so that nothing but silence tells.
        await node.until_down()
        # An interval, the deadline, and half a second for the machine.
        assert 1.0 < loop.time() - began_at < 3.5
        assert node.broker.statistics().canaries_missed == 1
    finally:
        valkey.thaw()
    await node.until_up()
    await is_heard(node, b"x")


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_way_that_is_blocked_is_noticed(redis_nodes: Nodes, proxy: FaultyProxy, way: str) -> None:
    node = await redis_nodes.add(through(proxy))
    proxy.block(way)  # type: ignore[arg-type]
    await node.until_down()
    proxy.thaw()
    await node.until_up()
    await is_heard(node, b"x")


async def test_a_server_that_takes_connections_and_never_answers_is_left(
    redis_nodes: Nodes, proxy: FaultyProxy
) -> None:
    proxy.freeze()
    node = await redis_nodes.add(through(proxy), is_awaited=False)
    await eventually(lambda: "does not answer" in str(node.broker.statistics().last_error))
    assert node.ups == []
    proxy.thaw()
    await node.until_up()
    await is_heard(node, b"x")


async def test_a_slow_network_is_not_a_dead_one(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy, canary_interval_s=0.1, canary_within_s=1.0))
    proxy.delay(0.1)
    await is_heard(node, b"x")
    await eventually(lambda: (node.broker.statistics().canary_rtt_s or 0) > 0.2)
    assert node.ups == [True]


async def test_a_node_that_stood_still_does_not_blame_the_server(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    canaries = 0

    class Counting:
        monotonic = staticmethod(clock.monotonic)
        unit = staticmethod(clock.unit)

        @staticmethod
        def token(bytes_of_entropy: int = 16) -> str:
            nonlocal canaries
            canaries += 1
            return clock.token(bytes_of_entropy)

    changed = limits(canary_interval_s=0.1, canary_within_s=0.8)
    node = await redis_nodes.add(RedisBroker(f"redis://{proxy.host}:{proxy.port}", limits=changed, clock=Counting()))
    proxy.delay(0.2)
    await node.until_quiet()
    canaries = 0
    await eventually(lambda: canaries > 0)
    # A canary has just gone out: what it brings lies in the sockets when this thread comes back.
    time.sleep(1.5)  # noqa: ASYNC251 - to block the loop is the point
    rtt_s = node.broker.statistics().canary_rtt_s
    await eventually(lambda: node.broker.statistics().canary_rtt_s != rtt_s)
    assert node.ups == [True]
    assert node.broker.statistics().canaries_missed == 0


async def test_a_publish_is_bounded_in_time_and_then_fails_at_once(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy, canary_interval_s=60, canary_within_s=60, publish_within_s=0.3))
    await node.until_quiet()
    loop = asyncio.get_running_loop()
    proxy.freeze()
    began_at = loop.time()
    assert await asyncio.gather(*(node.broker.publish(TOPIC, b"x") for _ in range(2000))) == [False] * 2000
    first_s = loop.time() - began_at
    assert 0.25 < first_s < 1.5
    await eventually(lambda: not node.broker.statistics().is_publishing)
    began_at = loop.time()
    assert await asyncio.gather(*(node.broker.publish(TOPIC, b"x") for _ in range(2000))) == [False] * 2000
    assert loop.time() - began_at < 0.25
    assert node.broker.statistics().publish_failures == 4000


async def test_what_waits_when_a_publish_fails_does_not_wait_on(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy, canary_interval_s=60, canary_within_s=60, publish_within_s=0.6))
    await node.until_quiet()
    proxy.freeze()
    first = asyncio.create_task(node.broker.publish(TOPIC, b"x"))
    await asyncio.wait([first], timeout=0.3)
    second = asyncio.create_task(node.broker.publish(TOPIC, b"x"))
    await eventually(lambda: not node.broker.statistics().is_publishing)
    for _ in range(3):
        await asyncio.sleep(0)
    assert second.done()


async def test_a_broken_publisher_is_tried_again_at_once(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy, canary_interval_s=60, canary_within_s=60, publish_within_s=0.1))
    await node.until_quiet()
    proxy.delay(0.1)
    assert await node.broker.publish(TOPIC, b"x") is False
    await eventually(lambda: not node.broker.statistics().is_publishing)
    # Not at the next canary, which comes in a minute: a probe goes out by itself, and has more time.
    await eventually(lambda: node.broker.statistics().is_publishing)
    assert node.ups == [True]


async def test_what_nobody_waits_for_any_more_is_not_sent_late(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    ear = await redis_nodes.add()
    await ear.broker.subscribe(TOPIC)
    proxy.freeze()
    slow = through(proxy, canary_interval_s=60, connect_within_s=60, publish_within_s=0.2)
    node = await redis_nodes.add(slow, is_awaited=False)
    # Behind the first canary, which is on its way and has the time that a connection has.
    await eventually(lambda: proxy.accepted == 2)
    assert await node.broker.publish(TOPIC, b"too late") is False
    proxy.thaw()
    await eventually(lambda: node.broker.publish(TOPIC, b"in time"))
    await ear.until_heard(TOPIC, b"in time")
    assert b"too late" not in ear.on(TOPIC)


async def test_what_waits_to_be_published_is_bounded(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(
        through(proxy, waiting_count_max=100, canary_interval_s=60, canary_within_s=60, publish_within_s=5)
    )
    await node.until_quiet()
    proxy.block("to_client")
    sent = [asyncio.create_task(node.broker.publish(TOPIC, b"x")) for _ in range(50)]
    # These are on their way, and so do not wait.
    for _ in range(5):
        await asyncio.sleep(0)
    sent += [asyncio.create_task(node.broker.publish(TOPIC, b"x")) for _ in range(200)]
    refused, waiting = await asyncio.wait(sent, timeout=0.2)
    assert all(task.result() is False for task in refused)
    assert len(waiting) == 150
    proxy.thaw()
    assert all(await asyncio.gather(*waiting))


async def test_a_cancelled_publish_is_sent_nevertheless(redis_nodes: Nodes) -> None:
    node = await redis_nodes.add()
    await node.broker.subscribe(TOPIC)
    publishing = asyncio.create_task(node.broker.publish(TOPIC, b"committed"))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    await node.until_heard(TOPIC, b"committed")


async def test_what_waits_at_the_end_is_given_a_moment(redis_nodes: Nodes) -> None:
    node, leaving = await redis_nodes.add(), await redis_nodes.add()
    await node.broker.subscribe(TOPIC)
    publishing = [asyncio.create_task(leaving.broker.publish(TOPIC, b"%d" % n)) for n in range(100)]
    await asyncio.sleep(0)
    await leaving.broker.close()
    assert all(await asyncio.gather(*publishing))
    await node.until(lambda: len(node.heard) == 100)


async def test_subscribe_returns_after_its_deadline_and_is_remembered(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy, subscribe_within_s=0.2, canary_interval_s=60, canary_within_s=60))
    proxy.block("to_server")
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await asyncio.gather(*(node.broker.subscribe(user_topic("acme", user)) for user in range(50)))
    assert 0.15 < loop.time() - began_at < 1.0
    assert node.broker.statistics().subscribe_timeouts == 50
    proxy.thaw()
    await node.broker.subscribe(user_topic("acme", 49))
    assert await node.broker.publish(user_topic("acme", 0), b"x")
    await node.until_heard(user_topic("acme", 0), b"x")
    assert node.ups == [True]


async def test_a_subscribe_under_way_when_the_connection_goes_returns_at_once(
    redis_nodes: Nodes, proxy: FaultyProxy
) -> None:
    node = await redis_nodes.add(through(proxy, subscribe_within_s=60))
    proxy.block("to_server")
    subscribing = asyncio.create_task(node.broker.subscribe(TOPIC))
    await asyncio.sleep(0)
    proxy.thaw()
    proxy.refuse()
    async with asyncio.timeout(5):
        await subscribing
    await proxy.accept()
    await node.until_up()
    assert await node.broker.publish(TOPIC, b"x")
    await node.until_heard(TOPIC, b"x")


async def test_an_unsubscribe_under_way_and_a_new_subscribe_end_subscribed(
    redis_nodes: Nodes, proxy: FaultyProxy
) -> None:
    """Both acknowledgements are awaited: the first `subscribe` that the server confirms may be the older one."""
    node = await redis_nodes.add(through(proxy, subscribe_within_s=5, canary_interval_s=60, canary_within_s=60))
    await node.broker.subscribe(TOPIC)
    proxy.block("to_client")
    await node.broker.unsubscribe(TOPIC)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    subscribing = asyncio.create_task(node.broker.subscribe(TOPIC))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not subscribing.done()
    proxy.thaw()
    await subscribing
    assert await node.broker.publish(TOPIC, b"x")
    await node.until_heard(TOPIC, b"x")
    assert node.ups == [True]


async def test_a_node_that_may_not_publish_still_hears(redis_nodes: Nodes, valkey: Valkey) -> None:
    other = await redis_nodes.add()
    await valkey.ask("ACL", "SETUSER", "deafmute", "on", ">secret", "&*", "+@all", "-publish")
    node = await redis_nodes.add(RedisBroker(f"redis://deafmute:secret@127.0.0.1:{valkey.port}", limits=QUICK))
    await node.broker.subscribe(TOPIC)
    assert await node.broker.publish(TOPIC, b"x") is False
    # Canaries cannot sing, so the server itself is asked; for long enough to miss some.
    before = await valkey.calls("ping")

    async def was_asked() -> bool:
        return await valkey.calls("ping") > before + 8

    await eventually(was_asked)
    assert node.ups == [True]
    assert not node.broker.statistics().is_publishing
    assert "refuses to publish" in str(node.broker.statistics().last_error)
    assert await other.broker.publish(TOPIC, b"x")
    await node.until_heard(TOPIC, b"x")


async def test_it_leaves_no_connections_behind(redis_nodes: Nodes, valkey: Valkey, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy))
    for _ in range(10):
        ups = len(node.ups)
        proxy.cut()
        await node.until(lambda ups=ups: node.ups[ups:] == [False, True])
        await is_heard(node, b"%d" % ups)

    async def is_tidy() -> bool:
        # The ear, the mouth, and the one that asks.
        return int(await valkey.figure("clients", "connected_clients")) == 3

    await eventually(is_tidy)
    await node.broker.close()
    await eventually(lambda: proxy.connection_count == 0)


async def test_it_lives_through_a_random_storm(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    """Cuts at any moment, of any state: afterwards all that is wanted is heard."""
    dice = random.Random(11)
    node = await redis_nodes.add(through(proxy))
    topics = [user_topic("acme", user) for user in range(2000)]
    wanted: set[str] = set()
    running: list[asyncio.Task[object]] = []
    for turn in range(3000):
        topic = dice.choice(topics)
        if dice.random() < 0.6:
            wanted.add(topic)
            running.append(asyncio.create_task(node.broker.subscribe(topic)))
        else:
            wanted.discard(topic)
            running.append(asyncio.create_task(node.broker.unsubscribe(topic)))
        running.append(asyncio.create_task(node.broker.publish(topic, b"noise")))
        if turn % 100 == 0:
            proxy.cut()
        await asyncio.sleep(0.005 if turn % 50 == 0 else 0)
    await asyncio.gather(*running)
    await node.until_up()
    mark = "hub:mark"
    await node.broker.subscribe(mark)
    # What was published just before may still come: the mark of a last message ends it.
    await eventually(lambda: node.broker.publish(mark, b"quiet"))
    await node.until_heard(mark, b"quiet")
    node.heard.clear()
    assert await node.broker.publish_many([*((topic, b"x") for topic in topics), (mark, b"")]) == 2001
    await node.until_heard(mark, b"")
    assert sorted(topic for topic, _ in node.heard if topic != mark) == sorted(wanted)
    assert node.broker.statistics().topics == len(wanted) + 1
    assert node.broker.statistics().reconnects > 5
