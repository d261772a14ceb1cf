"""The hub's promise, on real processes: whatever is answered arrives."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from hub.embedded import EmbeddedServices
from tests.acceptance.processes import Device, Node
from tests.faults import FaultyProxy

pytestmark = pytest.mark.acceptance

OUTAGE_S = float(os.environ.get("HUB_TEST_OUTAGE_S", "8"))
"""How long Valkey is away; the promise is the same for an hour."""


@pytest.fixture
def node(database_url: str, redis_url: str, tmp_path: Path):
    with Node(database_url, redis_url, tmp_path).running() as node:
        yield node


async def committed(database_url: str, title: str, within_s: float = 10) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(within_s):
            while not await connection.fetchval("SELECT count(*) FROM notifications WHERE title = $1", title):
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def test_what_came_while_a_device_was_away_arrives_in_order_after_its_cursor(node: Node) -> None:
    await node.ready()
    device = Device()
    async with httpx.AsyncClient() as producer:
        async with device.on(node):
            assert (await node.notify(producer, title="before")).status_code == 201
            await device.hear(1)
        for number in range(50):
            assert (await node.notify(producer, title=f"away {number}")).status_code == 201
        async with device.on(node):
            assert device.welcome["resume"] == "replay"
            events = await device.hear(50)
            assert [e["seq"] for e in events] == list(range(2, 52))
            assert [e["data"]["title"] for e in events] == [f"away {number}" for number in range(50)]
            assert events[-1]["counts"]["unread"] == 51
            assert device.cursor == 51


async def test_another_tenants_socket_stays_silent(node: Node) -> None:
    await node.ready()
    mine, foreign = Device(), Device(tenant="other")
    async with mine.on(node), foreign.on(node), httpx.AsyncClient() as producer:
        for _ in range(10):
            await node.notify(producer)
        await mine.hear(10)
        assert await foreign.is_silent()


async def test_a_node_killed_between_commit_and_publish_loses_nothing(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    valkey = urlsplit(redis_url)
    assert valkey.hostname is not None
    assert valkey.port is not None
    async with FaultyProxy(valkey.hostname, valkey.port) as proxy:
        behind_proxy = valkey._replace(netloc=valkey.netloc.rpartition("@")[0] + f"@{proxy.host}:{proxy.port}").geturl()
        writer = Node(database_url, behind_proxy, tmp_path)
        reader = Node(database_url, redis_url, tmp_path)
        with writer.running(), reader.running():
            await asyncio.gather(writer.ready(), reader.ready())
            device = Device()
            async with device.on(reader), httpx.AsyncClient() as producer:
                await writer.notify(producer, title="first")
                await device.hear(1)
                proxy.freeze()  # what is published from here on never leaves this machine's hands
                posting = asyncio.create_task(writer.notify(producer, title="orphan"))
                await committed(database_url, "orphan")
                writer.kill()
                await asyncio.gather(posting, return_exceptions=True)
                proxy.cut()
                (event,) = await device.hear(1, within_s=5)
                assert event["data"]["title"] == "orphan"
                figures = (await producer.get(f"{reader.url}/metrics")).text
                assert "hub_gateway_sweep_repairs_total 1.0" in figures


async def test_delivery_goes_on_while_valkey_is_stopped(database_url: str, tmp_path: Path) -> None:
    async with EmbeddedServices(tmp_path / "valkey", postgres=False, durable=False) as urls:
        assert urls.redis_url is not None
        with Node(database_url, urls.redis_url, tmp_path).running() as node:
            await node.ready()
            device = Device()
            async with device.on(node), httpx.AsyncClient() as producer:
                valkey = _valkey_pid(tmp_path / "valkey")
                os.kill(valkey, signal.SIGSTOP)
                try:
                    until = time.monotonic() + OUTAGE_S
                    sent = 0
                    while time.monotonic() < until:
                        answer = await node.notify(producer, title=f"{sent}")
                        assert answer.status_code == 201
                        sent += 1
                        (event,) = await device.hear(1, within_s=5)
                        assert event["data"]["title"] == f"{sent - 1}"
                    ready = await producer.get(f"{node.url}/readyz")
                    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
                finally:
                    os.kill(valkey, signal.SIGCONT)
                assert sent >= 2
                async with asyncio.timeout(15):
                    while (await producer.get(f"{node.url}/readyz")).json()["status"] != "ok":
                        await asyncio.sleep(0.1)
                await node.notify(producer, title="after")
                assert [e["data"]["title"] for e in await device.hear(1, within_s=1)] == ["after"]


async def test_sigterm_says_bye_and_ends(node: Node) -> None:
    await node.ready()
    device = Device()
    async with device.on(node):
        node.kill(signal.SIGTERM)
        assert device.socket is not None
        async with asyncio.timeout(10):
            bye = await device.socket.recv()
            assert '"type":"bye"' in bye
            assert '"retry_after_ms"' in bye
            await device.socket.wait_closed()
        assert device.socket.close_code == 1012
    assert await node.stopped() == 0


def _valkey_pid(directory: Path) -> int:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"valkey-server" in words[0] and str(directory).encode() in os.readlink(process / "cwd").encode():
                return int(process.name)
    raise AssertionError("no valkey-server runs in that directory")
