"""The real broker: the commands that it gives, and the ways in that it knows."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import ssl
from pathlib import Path
from urllib.parse import quote

import hiredis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.broker import RedisBroker
from hub.broker.topics import user_topic
from tests.broker.harness import QUICK, TOPIC, Node, Nodes, Valkey, is_heard, limits, through
from tests.faults import FaultyProxy

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
