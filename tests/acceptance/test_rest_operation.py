"""What probes, operators and browsers are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.rest import BASE, Tenant, good, note, problem

pytestmark = pytest.mark.acceptance


async def test_alive_and_ready_need_no_token(tenant: Tenant) -> None:
    nobody = tenant.holding(None)
    assert (await nobody.get("/healthz"))["status"] == "ok"
    ready = await nobody.get("/readyz")
    assert (ready["status"], ready["checks"]) == ("ok", {"redis": "ok", "database": "ok"})


async def test_metrics_are_prometheus_and_name_no_person_and_no_path(tenant: Tenant) -> None:
    await tenant.notify(424242424242)
    await tenant.agent(424242424242).get("/notifications/unread")
    problem(await tenant.agent()("GET", "/notifications/9007199254740990"), 404)
    answer = good(await tenant.admin("GET", "/metrics"))
    assert answer.headers["content-type"].startswith("text/plain")
    figures = answer.text
    assert 'hub_http_requests_total{method="POST",route="/api/v1/notifications",status="201"}' in figures
    assert "hub_http_request_seconds_bucket" in figures
    assert "hub_gateway" in figures
    for secret in ("424242424242", "9007199254740990", tenant.name):
        assert secret not in figures


async def test_methods_and_origins_are_told_to_a_browser_only_where_they_are_allowed(tenant: Tenant) -> None:
    preflight = await tenant.holding(None)(
        "OPTIONS", f"{BASE}/notifications", origin="https://evil.example", access_control_request_method="POST"
    )
    assert preflight.status_code == 204
    assert {"GET", "POST"} <= set(preflight.headers["allow"].replace(" ", "").split(","))
    answer = await tenant.agent()("GET", "/notifications", origin="https://evil.example")
    for one in (preflight, answer):
        assert "access-control-allow-origin" not in one.headers


async def test_two_hundred_at_once_are_all_answered(tenant: Tenant) -> None:
    room = asyncio.Semaphore(50)

    async def send(n: int) -> Any:
        async with room:
            return await tenant.service("POST", "/notifications", note(user_id=1 + n % 3, title=f"{n}"))

    answers = await asyncio.gather(*map(send, range(200)))
    assert {answer.status_code for answer in answers} == {201}
    rows = await tenant.sql(
        "SELECT u.user_id, u.head, u.unread, count(n.*) AS rows, count(DISTINCT n.live_seq) AS seqs, max(n.live_seq)"
        " FROM user_streams u JOIN notifications n USING (tenant_id, user_id)"
        " WHERE tenant_id = $1 GROUP BY 1, 2, 3 ORDER BY 1",
        tenant.name,
    )
    assert [tuple(row.values()) for row in rows] == [(1, *[67] * 5), (2, *[67] * 5), (3, *[66] * 5)]
