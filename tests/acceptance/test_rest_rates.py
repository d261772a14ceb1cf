"""Requests a minute, on a running hub: refused with what to do, by person, producer and tenant; open without Redis."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from hub import clock
from tests.acceptance.conftest import NO_TLS
from tests.acceptance.processes import Node
from tests.acceptance.rest import Tenant, good, note, problem, until
from tests.broker.harness import Valkey

pytestmark = pytest.mark.acceptance

LOW = {"HUB_RATE_USER_PER_MINUTE": "20", "HUB_RATE_SERVICE_PER_MINUTE": "40", "HUB_RATE_TENANT_PER_MINUTE": "50"}


@asynccontextmanager
async def limited(database_url: str, redis_url: str, directory: Path, **settings: str) -> AsyncIterator[Tenant]:
    with Node(database_url, redis_url, directory, **{"HUB_RATE_LIMITS": "on", **LOW, **settings}).running() as node:
        await node.ready()
        async with httpx.AsyncClient(base_url=node.url, timeout=30, verify=NO_TLS) as client:
            yield Tenant(node, client, database_url, "t-" + clock.token(6))


async def test_over_the_limit_is_429_and_says_when_to_come_back(
    rest_database_url: str, valkey_server: str, tmp_path: Path
) -> None:
    async with limited(rest_database_url, valkey_server, tmp_path) as tenant:
        agent = tenant.agent()
        first = good(await agent("GET", "/notifications"))
        assert first.headers["ratelimit-policy"] == '"user";q=20;w=60, "tenant";q=50;w=60'
        assert re.fullmatch(r'"user";r=19;t=3, "tenant";r=49;t=2', first.headers["ratelimit"])
        answers = [await agent("GET", "/notifications") for _ in range(24)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 1 <= len(refused) <= 5
        document = problem(refused[-1], 429)
        assert "20 requests a minute" in document["detail"]
        assert 1 <= int(refused[-1].headers["retry-after"]) <= 3
        assert refused[-1].headers["ratelimit-remaining"] == "0"
        assert '"user";r=0' in refused[-1].headers["ratelimit"]
        # Somebody else, and another tenant, are not the worse for it.
        good(await tenant.agent(2)("GET", "/notifications"))
        other = Tenant(tenant.node, tenant.client, rest_database_url, "t-" + clock.token(6))
        assert '"tenant";r=49' in good(await other.agent()("GET", "/notifications")).headers["ratelimit"]
        # Probes are not limited.
        for _ in range(60):
            assert (await tenant.client.get("/healthz")).status_code == 200


async def test_a_bulk_counts_for_ten_and_the_tenant_is_bounded_as_a_whole(
    rest_database_url: str, valkey_server: str, tmp_path: Path
) -> None:
    async with limited(rest_database_url, valkey_server, tmp_path) as tenant:
        bulk = {"items": [note(user_id=1)]}
        answers = [await tenant.service("POST", "/notifications/bulk", bulk) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [201] * 4 + [429]
        assert "service" in problem(answers[-1], 429)["detail"]
        codes = [(await tenant.agent(n)("GET", "/notifications")).status_code for n in range(1, 14)]
        assert 429 in codes
        assert codes.count(200) in (10, 11, 12)


async def test_a_tenant_may_give_itself_less(rest_database_url: str, valkey_server: str, tmp_path: Path) -> None:
    # A node reads a tenant's settings when it first meets it.
    async with limited(rest_database_url, valkey_server, tmp_path) as tenant:
        await tenant.sql(
            "INSERT INTO tenant_settings (tenant_id, limits) VALUES ($1, '{\"requests_per_user_per_minute\": 5}')",
            tenant.name,
        )
        policies: set[str] = set()

        async def is_obeyed() -> bool:
            policies.add((await tenant.agent()("GET", "/notifications")).headers["ratelimit-policy"])
            return '"user";q=5;w=60, "tenant";q=50;w=60' in policies

        await until(is_obeyed, 20)


async def test_without_redis_nobody_is_limited_and_it_is_counted(rest_database_url: str, tmp_path: Path) -> None:
    valkey = Valkey(tmp_path)
    valkey.start()
    try:
        valkey.wait()
        async with limited(rest_database_url, valkey.url, tmp_path) as tenant:
            valkey.freeze()
            answers = [await tenant.agent()("GET", "/notifications") for _ in range(30)]
            assert {answer.status_code for answer in answers} == {200}
            figures = (await tenant.client.get("/metrics")).text
            opened = re.search(r"^hub_rate_limits_open_total (\d+)", figures, re.MULTILINE)
            assert opened is not None
            assert float(opened[1]) >= 25
            valkey.thaw()

            async def is_limited() -> bool:
                return (await tenant.agent(2)("GET", "/notifications")).status_code == 429

            await until(is_limited, 30)
    finally:
        valkey.kill()


async def test_off_is_off(rest_database_url: str, valkey_server: str, tmp_path: Path) -> None:
    async with limited(rest_database_url, valkey_server, tmp_path, HUB_RATE_LIMITS="off") as tenant:
        answers = [await tenant.agent()("GET", "/notifications") for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        assert "ratelimit" not in answers[0].headers
