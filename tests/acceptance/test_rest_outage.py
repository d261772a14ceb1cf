"""While PostgreSQL is away: writes are answered 503, sockets stay, and all resumes by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hub import clock
from hub.embedded import EmbeddedServices
from tests.acceptance.processes import Node, token
from tests.acceptance.rest import Tenant, good, note, problem, until

pytestmark = pytest.mark.acceptance

PROCESSES = Path("/proc")


class Away:
    """A hub on a PostgreSQL of its own, which can be stopped."""

    def __init__(self, node: Node, tenant: Tenant, directory: Path) -> None:
        self.node, self.tenant = node, tenant
        self._directory = directory

    def signal(self, how: signal.Signals) -> None:
        """Send it to every process of the server, as a machine that freezes, or dies, would."""
        for pid in self._processes():
            os.kill(pid, how)

    def _processes(self) -> Iterator[int]:
        for process in PROCESSES.iterdir():
            if not process.name.isdigit():
                continue
            try:
                name = (process / "cmdline").read_bytes()
                place = os.readlink(process / "cwd")
            except OSError:
                continue
            if b"postgres" in name and place.startswith(str(self._directory)):
                yield int(process.name)


@pytest.fixture
async def away(valkey_server: str, tmp_path: Path) -> AsyncIterator[Away]:
    async with EmbeddedServices(tmp_path / "servers", valkey=False, durable=False) as urls:
        assert urls.database_url is not None
        node = Node(urls.database_url, valkey_server, tmp_path, HUB_IDEMPOTENCY_WAIT_S="1")
        with node.running():
            await node.ready()
            async with httpx.AsyncClient(base_url=node.url, timeout=30) as client:
                tenant = Tenant(node, client, urls.database_url, "t-" + clock.token(6))
                yield Away(node, tenant, tmp_path)


def retry_after(answer: httpx.Response) -> int:
    problem(answer, 503)
    return int(answer.headers["retry-after"])


async def test_a_frozen_postgresql_is_503_sockets_stay_and_all_resumes(away: Away) -> None:
    tenant = away.tenant
    device = tenant.device()
    async with device.on(away.node):
        before = await tenant.notify(title="before")
        await device.hear(1)
        away.signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(25):
                answers, ready, refused, closed_with = await asyncio.gather(
                    asyncio.gather(
                        tenant.service("POST", "/notifications", note(user_id=1, title="during"), idempotency_key="k"),
                        tenant.agent()("GET", "/notifications"),
                        tenant.agent()("PUT", f"/notifications/{before['id']}/read"),
                        tenant.agent()("PATCH", "/notifications/preferences", {}),
                    ),
                    tenant.holding(None)("GET", "/readyz"),
                    call(device, "notifications.read", {"id": before["id"]}),
                    hello(away.node, tenant),
                )
            assert all(1 <= retry_after(answer) <= 60 for answer in answers)
            assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
            assert (await tenant.holding(None).get("/healthz"))["status"] == "ok"
            assert (refused["type"], refused["error"]["status"]) == ("error", 503)
            assert closed_with == 4503
        finally:
            away.signal(signal.SIGCONT)

        async def back() -> bool:
            return (await tenant.holding(None)("GET", "/readyz")).status_code == 200

        await until(back, within_s=20)
        # It may have happened: repeated with its key, it has happened once.
        repeated = good(
            await tenant.service("POST", "/notifications", note(user_id=1, title="during"), idempotency_key="k")
        ).json()
        page = await tenant.agent().get("/notifications", q="during", include="total")
        assert ([one["id"] for one in page["items"]], page["total"]) == ([repeated["id"]], 1)
        last = await tenant.notify(title="after")
        while device.events[-1]["data"].get("id") != last["id"]:
            await device.hear(1, within_s=10)
        assert [event["seq"] for event in device.events] == list(range(1, len(device.events) + 1))


async def test_a_killed_postgresql_is_503_and_all_resumes_when_it_is_back(away: Away) -> None:
    tenant = away.tenant
    device = tenant.device()
    async with device.on(away.node):
        await tenant.notify(title="before")
        await device.hear(1)
        away.signal(signal.SIGKILL)
        statuses: list[int] = []

        async def taken() -> bool:
            answer = await tenant.service("POST", "/notifications", note(user_id=1, title="after"), idempotency_key="k")
            statuses.append(answer.status_code)
            if answer.status_code != 201:
                assert retry_after(answer) >= 1
            return answer.status_code == 201

        await until(taken, within_s=40)
        assert set(statuses) <= {201, 503}
        (event,) = await device.hear(1, within_s=10)
        assert (event["data"]["title"], event["seq"]) == ("after", 2)


async def test_a_twin_of_one_that_runs_for_too_long_is_409_with_retry_after(away: Away) -> None:
    tenant = away.tenant
    await tenant.notify(1)
    holder = await asyncpg.connect(tenant.database_url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM user_streams WHERE tenant_id = $1 FOR UPDATE", tenant.name)
            first = asyncio.create_task(tenant.service("POST", "/notifications", note(user_id=1), idempotency_key="k"))

            async def waits() -> bool:
                return bool(
                    await holder.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                )

            await until(waits, within_s=5)
            second = await tenant.service("POST", "/notifications", note(user_id=1), idempotency_key="k")
            problem(second, 409)
            assert int(second.headers["retry-after"]) >= 1
            assert not first.done()
        assert (await first).status_code == 201
    finally:
        await holder.close()


async def call(device: Any, method: str, params: dict[str, Any]) -> Any:
    await device.socket.send(json.dumps({"type": "call", "id": "c", "method": method, "params": params}))
    async with asyncio.timeout(25):
        while True:
            frame = json.loads(await device.socket.recv())
            if frame.get("id") == "c":
                return frame


async def hello(node: Node, tenant: Tenant) -> int | None:
    """How the hub closes a socket that says `hello` now."""
    async with connect(f"ws://127.0.0.1:{node.port}/api/v1/ws", close_timeout=1) as socket, asyncio.timeout(25):
        await socket.send(json.dumps({"type": "hello", "token": token(9, tenant=tenant.name)}))
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code
