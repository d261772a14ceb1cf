"""The real broker against a server and a network that misbehave."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import hiredis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub import clock
from hub.broker import RedisBroker
from hub.broker.topics import user_topic
from tests.broker.harness import Node, Nodes, Valkey, eventually, limits
from tests.faults import FaultyProxy

TOPIC = user_topic("acme", 7)
QUICK = limits(canary_interval_s=0.1, canary_within_s=0.4, publish_within_s=0.3, connect_within_s=0.5)


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", valkey.port) as made:
        yield made


def through(proxy: FaultyProxy, **changed: float) -> RedisBroker:
    return RedisBroker(f"redis://{proxy.host}:{proxy.port}", limits=limits(**changed) if changed else QUICK)


async def is_heard(node: Node, payload: bytes) -> None:
    """The whole way works: attach, publish, hear."""
    await node.broker.subscribe(TOPIC)
    assert await node.broker.publish(TOPIC, payload)
    await node.until_heard(TOPIC, payload)


# -- commands --------------------------------------------------------------------------------------------------------


async def test_all_that_subscribes_in_one_turn_is_one_command(redis_nodes: Nodes, valkey: Valkey) -> None:
    node = await redis_nodes.add()
    before = await valkey.calls("subscribe")
    await asyncio.gather(*(node.broker.subscribe(user_topic("acme", user)) for user in range(400)))
    await asyncio.gather(*(node.broker.unsubscribe(user_topic("acme", user)) for user in range(400)))
    await node.broker.subscribe(TOPIC)
    assert await valkey.calls("subscribe") - before == 2
    assert await valkey.calls("unsubscribe") == 1


async def test_a_call_taken_back_in_the_same_turn_costs_no_command(redis_nodes: Nodes, valkey: Valkey) -> None:
    node = await redis_nodes.add()
    await node.broker.subscribe(TOPIC)
    before = await valkey.calls("subscribe")
    await asyncio.gather(node.broker.unsubscribe(TOPIC), node.broker.subscribe(TOPIC))
    await asyncio.gather(node.broker.subscribe("hub:u:other:1"), node.broker.unsubscribe("hub:u:other:1"))
    await is_heard(node, b"x")
    assert await valkey.calls("subscribe") == before
    assert await valkey.calls("unsubscribe") == 0


async def test_who_subscribes_later_waits_for_the_same_answer(redis_nodes: Nodes, proxy: FaultyProxy) -> None:
    node = await redis_nodes.add(through(proxy, subscribe_within_s=60, canary_interval_s=60, canary_within_s=60))
    await node.until_quiet()
    proxy.block("to_client")
    waiting = [asyncio.create_task(node.broker.subscribe(TOPIC))]
    for _ in range(3):
        await asyncio.sleep(0)
    waiting.append(asyncio.create_task(node.broker.subscribe(TOPIC)))
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
    proxy.thaw()
    await asyncio.gather(*waiting)


async def test_it_is_up_when_the_last_topic_is_acknowledged_not_the_first() -> None:
    """On a server of the test's own, which answers one topic at a time."""
    asked: list[bytes] = []
    news = asyncio.Event()
    ears: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                if command[0] == b"SUBSCRIBE":
                    ears.append(writer)
                    asked.extend(command[1:])
                    news.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        broker = RedisBroker(f"redis://127.0.0.1:{port}", limits=limits(topics_per_command=2))
        node = Node(broker)
        topics = [user_topic("acme", user) for user in range(6)]
        for topic in topics:
            await broker.subscribe(topic)
        await broker.start()
        async with asyncio.timeout(5):
            while len(asked) < 7:
                news.clear()
                await news.wait()
        assert asked[:6] == [topic.encode() for topic in topics]
        assert asked[6].startswith(b"hub:canary:")
        for count, topic in enumerate(asked, 1):
            assert not broker.is_connected
            ears[0].write(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:%d\r\n" % (len(topic), topic, count))
            if count <= 6:
                # Returns when this one has been answered.
                await broker.subscribe(topics[count - 1])
        await node.until_up()
        assert node.ups == [True]
        assert broker.statistics().subscribe_timeouts == 0
        await broker.close()
        await asyncio.wait([asyncio.ensure_future(ears[0].wait_closed())])


async def test_twenty_thousand_topics_come_back_without_holding_up_the_loop(redis_nodes: Nodes, valkey: Valkey) -> None:
    node = await redis_nodes.add()
    await asyncio.gather(*(node.broker.subscribe(user_topic("acme", user)) for user in range(20_000)))
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - before)

    await valkey.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await node.until_down()
    before = await valkey.calls("subscribe")
    watching = asyncio.create_task(watch())
    await node.until_up()
    watching.cancel()
    # 20,001 topics, 500 a command.
    assert await valkey.calls("subscribe") - before == 41
    assert await node.broker.publish_many([(user_topic("acme", user), b"x") for user in range(20_000)]) == 20_000
    await node.until(lambda: len(node.heard) == 20_000)
    # 5 ms here; the bound is for machines with other things to do.
    assert longest < 0.15


# -- ways in ---------------------------------------------------------------------------------------------------------


async def test_it_speaks_through_a_unix_socket(redis_nodes: Nodes, valkey: Valkey) -> None:
    await is_heard(await redis_nodes.add(RedisBroker(f"unix://{valkey.socket_path}?db=2")), b"x")


async def test_it_gives_password_and_user(redis_nodes: Nodes, valkey: Valkey) -> None:
    await redis_nodes.add()
    secret = "p@ss:w/rd é"
    await valkey.ask("ACL", "SETUSER", "hub", "on", f">{secret}", "&hub:*", "+@all")
    await valkey.ask("CONFIG", "SET", "requirepass", secret)
    for user in ("hub", "", "default"):
        url = f"redis://{user}:{quote(secret, safe='')}@127.0.0.1:{valkey.port}/3"
        await is_heard(await redis_nodes.add(RedisBroker(url)), user.encode())


async def test_a_wrong_password_is_told_and_never_repeated(
    redis_nodes: Nodes, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    await redis_nodes.add()
    await valkey.ask("CONFIG", "SET", "requirepass", "right")
    url = f"redis://:wrong-secret@127.0.0.1:{valkey.port}"
    with caplog.at_level(logging.DEBUG, "hub.broker"):
        node = await redis_nodes.add(RedisBroker(url, limits=QUICK), is_awaited=False)
        async with asyncio.timeout(5):
            while "WRONGPASS" not in str(node.broker.statistics().last_error):
                await node.broker.publish(TOPIC, b"x")
                await asyncio.sleep(0)
    assert "WRONGPASS" in caplog.text
    assert "wrong-secret" not in caplog.text
    assert node.ups == []
    assert not node.broker.statistics().is_connected


async def test_it_speaks_tls_and_asks_for_the_certificate(redis_nodes: Nodes, valkey: Valkey, tmp_path: Path) -> None:
    authority = tmp_path / "server.pem"
    context = self_signed(authority, tmp_path / "server.key")
    async with FaultyProxy("127.0.0.1", valkey.port, tls=context) as proxy:
        url = f"rediss://127.0.0.1:{proxy.port}/1"
        await is_heard(await redis_nodes.add(RedisBroker(f"{url}?ssl_ca_certs={authority}")), b"x")
        stranger = await redis_nodes.add(RedisBroker(url, limits=QUICK), is_awaited=False)
        async with asyncio.timeout(5):
            while "CERTIFICATE_VERIFY_FAILED" not in str(stranger.broker.statistics().last_error):
                await asyncio.sleep(0.01)
        assert stranger.ups == []
        await redis_nodes.add(RedisBroker(f"{url}?ssl_cert_reqs=none"))


def self_signed(certificate_path: Path, key_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_path, key_path)
    return context


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1", "schemes"),
        ("redis://127.0.0.1?no_such_option=1", "no_such_option"),
        ("redis://127.0.0.1:port", "port"),
        ("rediss://127.0.0.1?ssl_ca_certs=/no/such/file", "No such file"),
        ("", "schemes"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_at_once(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        RedisBroker(url)
    assert str(refused.value).startswith("the Redis URL cannot be used: ")


# -- faults ----------------------------------------------------------------------------------------------------------


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
