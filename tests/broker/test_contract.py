"""What every broker keeps, the twin and the real one: each test is a sentence of `hub.broker.ports`."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from hub.broker import Broker
from hub.broker.topics import user_topic
from tests.broker.harness import MemoryWorld, Nodes

TOPIC = user_topic("acme", 7)
MARK = "hub:mark"


async def test_a_message_reaches_every_node_that_subscribed_and_no_other(nodes: Nodes) -> None:
    first, second, deaf = [await nodes.add() for _ in range(3)]
    for node in (first, second):
        await node.broker.subscribe(TOPIC)
    assert await first.broker.publish(TOPIC, b"one")
    await first.until_heard(TOPIC, b"one")
    await second.until_heard(TOPIC, b"one")
    await deaf.broker.subscribe(MARK)
    assert await first.broker.publish(MARK, b"")
    await deaf.until_heard(MARK, b"")
    assert deaf.heard == [(MARK, b"")]


async def test_what_is_published_after_subscribe_has_returned_is_heard(nodes: Nodes) -> None:
    ear, mouth = await nodes.add(), await nodes.add()
    for user in range(300):
        topic = user_topic("acme", user)
        await ear.broker.subscribe(topic)
        assert await mouth.broker.publish(topic, b"%d" % user)
    await ear.until(lambda: len(ear.heard) == 300)
    assert ear.heard == [(user_topic("acme", user), b"%d" % user) for user in range(300)]


async def test_that_holds_for_all_that_are_subscribed_together(nodes: Nodes) -> None:
    ear, mouth = await nodes.add(), await nodes.add()
    topics = [user_topic("acme", user) for user in range(1200)]
    await ear.broker.subscribe(topics[7])
    await ear.broker.subscribe_many(topics)
    await ear.broker.subscribe_many([])
    assert await mouth.broker.publish_many([(topic, b"x") for topic in topics]) == 1200
    await ear.until(lambda: len(ear.heard) == 1200)
    assert ear.heard == [(topic, b"x") for topic in topics]
    assert ear.broker.statistics().topics == 1200


async def test_that_holds_for_many_at_once(nodes: Nodes) -> None:
    ear, mouth = await nodes.add(), await nodes.add()

    async def attach_then_hear(user: int) -> None:
        await ear.broker.subscribe(user_topic("acme", user))
        assert await mouth.broker.publish(user_topic("acme", user), b"%d" % user)

    await asyncio.gather(*(attach_then_hear(user) for user in range(3000)))
    await ear.until(lambda: len(ear.heard) == 3000)
    assert sorted(ear.heard) == sorted((user_topic("acme", user), b"%d" % user) for user in range(3000))
    assert ear.broker.statistics().topics == 3000


async def test_messages_of_a_topic_keep_their_order(nodes: Nodes) -> None:
    ear, mouth = await nodes.add(), await nodes.add()
    await ear.broker.subscribe(TOPIC)
    sent = [b"%d" % n for n in range(2500)]
    assert await mouth.broker.publish_many([(TOPIC, payload) for payload in sent[:2000]]) == 2000
    # Begun in order, without waiting for each other.
    assert all(await asyncio.gather(*(mouth.broker.publish(TOPIC, payload) for payload in sent[2000:])))
    await ear.until(lambda: len(ear.heard) == 2500)
    assert ear.on(TOPIC) == sent


async def test_the_payload_is_any_bytes(nodes: Nodes) -> None:
    node = await nodes.add()
    await node.broker.subscribe(TOPIC)
    sent = [
        bytes(range(256)),
        b"",
        b"\r\n",
        b"*3\r\n$7\r\nmessage\r\n",
        b"message",
        b"subscribe",
        b"\x00",
        "é".encode(),
    ]
    assert await node.broker.publish_many([(TOPIC, payload) for payload in sent]) == len(sent)
    await node.until(lambda: len(node.heard) == len(sent))
    assert node.on(TOPIC) == sent


async def test_the_topic_is_any_text(nodes: Nodes) -> None:
    node = await nodes.add()
    topics = ["hub:u:köln:1", "hub:u:a b:2", "hub:u:a\r\nb:3", "hub:u:*:4", "message", "hub:u::5"]
    for topic in topics:
        await node.broker.subscribe(topic)
        assert await node.broker.publish(topic, b"x")
    await node.until(lambda: len(node.heard) == len(topics))
    assert [topic for topic, _ in node.heard] == topics


async def test_a_large_payload_arrives_whole(nodes: Nodes) -> None:
    node = await nodes.add()
    await node.broker.subscribe(TOPIC)
    large = random.Random(1).randbytes(8 * 1024 * 1024)
    assert await node.broker.publish_many([(TOPIC, b"before"), (TOPIC, large), (TOPIC, b"after")]) == 3
    await node.until(lambda: len(node.heard) == 3)
    assert node.on(TOPIC) == [b"before", large, b"after"]


async def test_unsubscribe_silences(nodes: Nodes) -> None:
    node = await nodes.add()
    await node.broker.subscribe(TOPIC)
    await node.broker.subscribe(MARK)
    assert await node.broker.publish(TOPIC, b"heard")
    await node.until_heard(TOPIC, b"heard")
    await node.broker.unsubscribe(TOPIC)
    await node.broker.unsubscribe(TOPIC)
    await node.broker.unsubscribe("hub:u:never:1")
    assert await node.broker.publish_many([(TOPIC, b"not heard"), (MARK, b"")]) == 2
    await node.until_heard(MARK, b"")
    assert node.on(TOPIC) == [b"heard"]
    assert node.broker.statistics().topics == 1


async def test_what_is_under_way_is_not_heard_after_unsubscribe(nodes: Nodes) -> None:
    node = await nodes.add()
    await node.broker.subscribe(TOPIC)
    await node.broker.subscribe(MARK)
    under_way = asyncio.gather(*(node.broker.publish(TOPIC, b"x") for _ in range(50)), node.broker.publish(MARK, b""))
    await asyncio.sleep(0)
    await node.broker.unsubscribe(TOPIC)
    before = len(node.on(TOPIC))
    await under_way
    await node.until_heard(MARK, b"")
    assert len(node.on(TOPIC)) == before


async def test_subscribe_twice_is_once(nodes: Nodes) -> None:
    node = await nodes.add()
    await asyncio.gather(*(node.broker.subscribe(TOPIC) for _ in range(5)))
    await node.broker.subscribe(TOPIC)
    await node.broker.subscribe(MARK)
    assert await node.broker.publish_many([(TOPIC, b"x"), (MARK, b"")]) == 2
    await node.until_heard(MARK, b"")
    assert node.on(TOPIC) == [b"x"]
    await node.broker.unsubscribe(TOPIC)
    assert await node.broker.publish_many([(TOPIC, b"y"), (MARK, b"end")]) == 2
    await node.until_heard(MARK, b"end")
    assert node.on(TOPIC) == [b"x"]


@pytest.mark.parametrize("seed", range(5))
async def test_of_racing_calls_for_a_topic_the_last_wins(nodes: Nodes, seed: int) -> None:
    node = await nodes.add()
    dice = random.Random(seed)
    topics = [user_topic("acme", user) for user in range(20)]
    wanted: set[str] = set()
    running: list[asyncio.Task[None]] = []
    for _ in range(600):
        topic = dice.choice(topics)
        is_wanted = dice.random() < 0.5
        call = node.broker.subscribe(topic) if is_wanted else node.broker.unsubscribe(topic)
        running.append(asyncio.create_task(call))
        (wanted.add if is_wanted else wanted.discard)(topic)
        if dice.random() < 0.3:
            # Turns enough that some commands are under way, some answered, some not yet sent.
            for _ in range(dice.randrange(12)):
                await asyncio.sleep(0)
            if dice.random() < 0.3:
                running.pop(dice.randrange(len(running))).cancel()
                # A cancelled call may or may not have been made: call again, as its caller would.
                await asyncio.sleep(0)
                again = [
                    (node.broker.subscribe if topic in wanted else node.broker.unsubscribe)(topic) for topic in topics
                ]
                running.extend(map(asyncio.create_task, again))
    await asyncio.gather(*running)
    await node.broker.subscribe(MARK)
    assert await node.broker.publish_many([*((topic, b"x") for topic in topics), (MARK, b"")]) == 21
    await node.until_heard(MARK, b"")
    assert sorted(topic for topic, _ in node.heard if topic != MARK) == sorted(wanted)
    assert node.broker.statistics().topics == len(wanted) + 1
    assert node.ups == [True]


async def test_a_cancelled_subscribe_stays_wanted_until_unsubscribe(nodes: Nodes) -> None:
    node = await nodes.add()
    subscribing = asyncio.create_task(node.broker.subscribe(TOPIC))
    also_subscribing = asyncio.create_task(node.broker.subscribe(TOPIC))
    await asyncio.sleep(0)
    subscribing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await subscribing
    await also_subscribing
    assert await node.broker.publish(TOPIC, b"x")
    await node.until_heard(TOPIC, b"x")
    await node.broker.unsubscribe(TOPIC)
    await node.broker.subscribe(MARK)
    assert await node.broker.publish_many([(TOPIC, b"y"), (MARK, b"")]) == 2
    await node.until_heard(MARK, b"")
    assert node.on(TOPIC) == [b"x"]


async def test_a_listener_that_raises_costs_nothing_but_its_message(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    node = await nodes.add()
    heard: list[bytes] = []
    done = asyncio.Event()

    def on_message(_topic: str, payload: bytes) -> None:
        if payload == b"bad":
            raise RuntimeError("a defect of the listener")
        heard.append(payload)
        if payload == b"end":
            done.set()

    node.broker.listen(on_message, lambda _is_up: None)
    await node.broker.subscribe(TOPIC)
    with caplog.at_level(logging.ERROR, "hub.broker"):
        await node.broker.publish_many([(TOPIC, payload) for payload in (b"bad", b"good", b"bad", b"end")])
        async with asyncio.timeout(5):
            await done.wait()
    assert heard == [b"good", b"end"]
    assert "a defect of the listener" in caplog.text
    assert node.broker.is_connected
    statistics = node.broker.statistics()
    assert (statistics.received, statistics.listener_failures) == (4, 2)


async def test_a_listener_that_raises_on_the_connections_change_is_called_again(nodes: Nodes) -> None:
    broker: Broker = nodes.world.broker()
    changes: list[bool] = []

    def on_connection(is_up: bool) -> None:
        changes.append(is_up)
        raise RuntimeError("a defect of the listener")

    await nodes.add(broker)
    broker.listen(lambda *_: None, on_connection)
    witness = await nodes.add()
    await nodes.world.die()
    await witness.until_down()
    await nodes.world.come_back()
    await witness.until_up()
    async with asyncio.timeout(15):
        while changes != [False, True]:
            await asyncio.sleep(0)
    assert broker.is_connected


async def test_after_a_death_every_topic_is_heard_again_once_it_says_so(nodes: Nodes) -> None:
    ear, mouth = await nodes.add(), await nodes.add()
    topics = [user_topic("acme", user) for user in range(1200)]
    await asyncio.gather(*map(ear.broker.subscribe, topics))
    for _ in range(2):
        for node in (ear, mouth):
            assert node.ups.pop() is True
            node.ups.clear()
        await nodes.world.die()
        await ear.until_down()
        await mouth.until_down()
        assert ear.ups == [False]
        await nodes.world.come_back()
        await ear.until(lambda: ear.ups == [False, True])
        await mouth.until(lambda: mouth.ups == [False, True])
        ear.heard.clear()
        assert await mouth.broker.publish_many([(topic, b"x") for topic in topics]) == 1200
        await ear.until(lambda: len(ear.heard) == 1200)
        assert ear.heard == [(topic, b"x") for topic in topics]
    assert ear.broker.statistics().reconnects == 2


async def test_while_away_nothing_is_taken_and_nobody_waits(nodes: Nodes) -> None:
    node = await nodes.add()
    await node.broker.subscribe(TOPIC)
    await node.broker.subscribe("hub:u:acme:8")
    await nodes.world.die()
    await node.until_down()
    failures = node.broker.statistics().publish_failures
    async with asyncio.timeout(1):
        assert await node.broker.publish(TOPIC, b"lost") is False
        assert await node.broker.publish_many([(TOPIC, b"lost")] * 5000) == 0
        # Nobody waits for what cannot come; it is remembered.
        await asyncio.gather(*(node.broker.subscribe(user_topic("late", user)) for user in range(100)))
        await node.broker.unsubscribe("hub:u:acme:8")
        await node.broker.unsubscribe(user_topic("late", 99))
    assert node.broker.statistics().publish_failures - failures == 5001
    await nodes.world.come_back()
    await node.until_up()
    node.heard.clear()
    sent = [TOPIC, "hub:u:acme:8", *(user_topic("late", user) for user in range(100))]
    await node.broker.publish_many([(topic, b"x") for topic in sent])
    await node.until_heard(user_topic("late", 98), b"x")
    assert [topic for topic, _ in node.heard] == [TOPIC, *(user_topic("late", user) for user in range(99))]


async def test_it_starts_without_a_server_and_finds_it_later(nodes: Nodes) -> None:
    await nodes.world.die()
    async with asyncio.timeout(1):
        node = await nodes.add(is_awaited=False)
        await node.broker.subscribe(TOPIC)
    assert not node.broker.is_connected
    assert node.ups == []
    await nodes.world.come_back()
    await node.until_up()
    assert node.ups == [True]
    assert await node.broker.publish(TOPIC, b"x")
    await node.until_heard(TOPIC, b"x")
    assert node.broker.statistics().reconnects == 0


async def test_closed_it_takes_nothing_and_says_nothing(nodes: Nodes) -> None:
    node, other = await nodes.add(), await nodes.add()
    await node.broker.subscribe(TOPIC)
    await node.broker.close()
    await node.broker.close()
    assert not node.broker.is_connected
    assert await node.broker.publish(TOPIC, b"x") is False
    await node.broker.subscribe(MARK)
    await node.broker.unsubscribe(MARK)
    await other.broker.subscribe(MARK)
    await other.broker.publish_many([(TOPIC, b"x"), (MARK, b"")])
    await other.until_heard(MARK, b"")
    await node.broker.start()
    assert not node.broker.is_connected
    assert node.heard == []
    assert node.ups == [True]


async def test_it_may_be_closed_before_it_has_started(nodes: Nodes) -> None:
    broker = nodes.world.broker()
    assert await broker.publish(TOPIC, b"x") is False
    await broker.close()
    assert not broker.statistics().is_connected


async def test_the_figures_are_those_of_what_happened(nodes: Nodes) -> None:
    node = await nodes.add()
    await node.broker.subscribe(TOPIC)
    await node.broker.publish(TOPIC, b"1")
    assert await node.broker.publish_many([]) == 0
    await node.broker.publish_many([(TOPIC, b"2"), ("hub:nobody", b"3")])
    await node.until_heard(TOPIC, b"2")
    statistics = node.broker.statistics()
    assert statistics.is_connected
    assert statistics.is_publishing
    assert (statistics.topics, statistics.published, statistics.received) == (1, 3, 2)
    assert (statistics.publish_failures, statistics.reconnects, statistics.canaries_missed) == (0, 0, 0)


def test_the_worlds_differ_in_nothing_but_their_server() -> None:
    assert {name for name in dir(MemoryWorld().broker()) if not name.startswith("_")} >= {
        name for name in dir(Broker) if not name.startswith("_")
    }
