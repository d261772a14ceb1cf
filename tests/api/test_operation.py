"""Probes, figures, pages of other origins."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api import health
from api.health import Readiness
from tests.api.toy import Toy, running

V1 = "/api/v1"
CRM = "https://crm.example"


@pytest.fixture
async def anonymous(toy: Toy):
    del toy.client.headers["authorization"]
    return toy


# -- probes ---------------------------------------------------------------------------------------------------------


async def test_alive(anonymous: Toy):
    answer = await anonymous.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(("status", "code"), [("ok", 200), ("degraded", 200), ("unavailable", 503)])
async def test_ready_says_how(anonymous: Toy, status: health.Status, code: int):
    anonymous.deps.ready = Readiness(status, {"redis": "away"})
    answer = await anonymous.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (code, {"status": status, "checks": {"redis": "away"}})


async def test_a_probe_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch):
    class Hanging:
        async def ready(self) -> Readiness:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(health, "READY_TIMEOUT_S", 0.01)
    _, readyz = health.health_routes(Hanging())
    answer = await readyz.handler(None)  # type: ignore[arg-type]
    assert (answer.status, answer.body.status) == (503, "unavailable")


# -- figures --------------------------------------------------------------------------------------------------------


async def test_requests_are_counted_by_route_and_never_by_path(toy: Toy):
    for path in ("/things/1", "/things/2", "/things/x", "/nothing/1", "/nothing/2"):
        await toy.client.get(V1 + path)
    await toy.client.request("BREW", f"{V1}/things")
    await toy.client.get("/")
    answer = await toy.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    counted = {
        (one.labels["method"], one.labels["route"], one.labels["status"]): one.value
        for one in samples
        if one.name == "hub_http_requests_total"
    }
    assert counted == {
        ("GET", f"{V1}/things/{{id}}", "200"): 2,
        ("GET", f"{V1}/things/{{id}}", "422"): 1,
        ("GET", "none", "404"): 2,
        ("GET", "none", "200"): 1,
        ("other", f"{V1}/things", "405"): 1,
    }
    timed = {one.labels["route"]: one.value for one in samples if one.name == "hub_http_request_seconds_sum"}
    assert timed[f"{V1}/things/{{id}}"] == 3


async def test_a_made_up_method_makes_no_new_series(toy: Toy):
    for number in range(5):
        await toy.client.request(f"BREW{number}", f"{V1}/things")
    assert toy.registry.get_sample_value(
        "hub_http_requests_total", {"method": "other", "route": f"{V1}/things", "status": "405"}
    ) == 5  # fmt: skip


# -- other origins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"{V1}/things", f"{V1}/things/x", f"{V1}/nothing", "/healthz"])
async def test_a_listed_origin_may_read_every_answer(toy: Toy, path: str):
    answer = await toy.client.get(path, headers={"origin": CRM})
    assert answer.headers["access-control-allow-origin"] == CRM
    assert "Hub-Position" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [None, "null", "https://evil.example", "https://crm.example.evil.example", f"{CRM}:8443", "http://crm.example"],
)
async def test_no_other_origin_may(toy: Toy, origin: str | None):
    headers = {} if origin is None else {"origin": origin}
    answer = await toy.client.get(f"{V1}/things", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_a_preflight_is_answered_without_a_token(anonymous: Toy):
    asks = {"origin": CRM, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    answer = await anonymous.client.options(f"{V1}/things", headers=asks)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == CRM
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    refused = await anonymous.client.options(f"{V1}/things", headers=asks | {"origin": "https://evil.example"})
    assert not [name for name in refused.headers if name.startswith("access-control")]


async def test_without_a_list_answers_do_not_differ_by_origin():
    async with running(allowed_origins=()) as toy:
        assert "vary" not in (await toy.client.get("/healthz", headers={"origin": CRM})).headers


# -- pages ----------------------------------------------------------------------------------------------------------


async def test_what_is_no_route_is_a_page(anonymous: Toy):
    answer = await anonymous.client.get("/")
    assert answer.text == "the page"
    assert answer.headers["x-request-id"] == "new-1"


async def test_a_page_that_fails_is_a_problem(anonymous: Toy, caplog: pytest.LogCaptureFixture):
    answer = await anonymous.client.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == "new-1"
    assert "secret" not in answer.text
    assert [record.__dict__["request_id"] for record in caplog.records] == ["new-1"]
