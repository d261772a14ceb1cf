"""Refused sign-ins are in the trail, where it is known whose they were; a flood of them is bounded."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.acceptance.processes import token
from tests.acceptance.rest import Tenant, good, problem

pytestmark = pytest.mark.acceptance


async def refused(tenant: Tenant) -> list[tuple[int | None, int | None, str]]:
    rows = (await tenant.admin.get("/audit", action="sign_in.refused", limit=200))["items"]
    assert {row["actor_role"] for row in rows} <= {"unknown"}
    return [(row["actor_id"], row["actor_key_id"], row["changes"]["reason"]) for row in rows]


async def test_an_expired_and_a_revoked_token_are_in_the_trail(tenant: Tenant) -> None:
    expired = tenant.holding(token(5, tenant=tenant.name, ttl_s=-3600))
    answer = await expired("GET", "/notifications", X_Request_Id="looked-for")
    problem(answer, 401)
    assert await refused(tenant) == [(5, None, "expired")]
    [row] = (await tenant.admin.get("/audit", action="sign_in.refused"))["items"]
    assert (row["request_id"], row["address"]) == ("looked-for", "127.0.0.1")
    bearer = token(6, tenant=tenant.name)
    good(await tenant.holding(bearer)("GET", "/notifications"))
    await tenant.admin.post("/users/6/revoke")

    async def is_refused() -> bool:
        return (await tenant.holding(bearer)("GET", "/notifications")).status_code == 401

    while not await is_refused():
        pass
    assert (6, None, "revoked") in await refused(tenant)


async def test_a_revoked_key_is_in_the_trail_and_a_guessed_one_is_not(tenant: Tenant) -> None:
    made = await tenant.admin.post("/api-keys", {"name": "dialler"})
    key = tenant.holding(made["key"])
    guessed = made["key"][:-3] + ("abc" if made["key"][-3:] != "abc" else "abd")
    problem(await tenant.holding(guessed)("GET", "/notifications/1"), 401)
    await tenant.admin.delete(f"/api-keys/{made['id']}")
    while (await key("GET", "/notifications/1")).status_code != 401:
        pass
    assert await refused(tenant) == [(None, made["id"], "bad_api_key")]


async def test_what_anyone_could_have_made_up_writes_nothing(tenant: Tenant) -> None:
    good_token = token(5, tenant=tenant.name, ttl_s=-3600)
    head, _, signature = good_token.rpartition(".")
    for forged in (head + "." + signature[::-1], "x", "hub_" + tenant.name + "_1_" + "A" * 43):
        problem(await tenant.holding(forged)("GET", "/notifications"), 401)
    problem(await tenant.holding(None)("GET", "/notifications"), 401)
    assert await refused(tenant) == []


async def test_a_flood_of_one_bearer_is_bounded_and_no_one_elses(tenant: Tenant) -> None:
    expired = tenant.holding(token(5, tenant=tenant.name, ttl_s=-3600))
    for _ in range(30):
        problem(await expired("GET", "/notifications"), 401)
    problem(await tenant.holding(token(6, tenant=tenant.name, ttl_s=-3600))("GET", "/notifications"), 401)
    rows = await refused(tenant)
    assert 10 <= rows.count((5, None, "expired")) <= 20
    assert rows.count((6, None, "expired")) == 1


async def test_a_socket_that_is_refused_is_in_the_trail(tenant: Tenant) -> None:
    url = f"ws://127.0.0.1:{tenant.node.port}/api/v1/ws"
    expired = token(5, tenant=tenant.name, ttl_s=-3600)
    with pytest.raises(InvalidStatus):
        await connect(url, additional_headers={"Authorization": f"Bearer {expired}"})
    async with connect(url) as socket:
        await socket.send(json.dumps({"type": "hello", "token": expired}))
        assert json.loads(await socket.recv())["code"] == 4401
        await socket.wait_closed()
        assert socket.close_code == 4401
    assert await refused(tenant) == [(5, None, "expired")] * 2
