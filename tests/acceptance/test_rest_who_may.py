"""Who gets in, who may do what, and what nobody may know of."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hub import clock
from tests.acceptance.processes import SECRET, Device, Node, token
from tests.acceptance.rest import ABSENT, Tenant, ahead, good, instant, note, problem, until

pytestmark = pytest.mark.acceptance

PEOPLE = {"agent", "supervisor", "admin"}
EVERYONE = PEOPLE | {"service"}

MAY: list[tuple[str, str, Any, set[str]]] = [
    ("POST", "/notifications", note(user_id=5), {"supervisor", "admin", "service"}),
    ("POST", "/notifications/bulk", {"items": [note(user_id=5)]}, {"supervisor", "admin", "service"}),
    ("POST", "/notifications/withdraw", {"collapse_key": "none"}, {"supervisor", "admin", "service"}),
    ("POST", "/notifications/cleanup", {"days": 9}, {"admin"}),
    ("POST", "/notifications/explain", {"user_id": 5}, {"supervisor", "admin", "service"}),
    ("GET", "/notifications", ABSENT, PEOPLE),
    ("GET", "/notifications/unread", ABSENT, PEOPLE),
    ("GET", "/notifications/stats", ABSENT, PEOPLE),
    ("GET", "/notifications/stats?user_id=5", ABSENT, {"supervisor", "admin"}),
    ("POST", "/notifications/read-all", ABSENT, PEOPLE),
    ("POST", "/notifications/seen", ABSENT, PEOPLE),
    ("GET", "/notifications/preferences", ABSENT, PEOPLE),
    ("PATCH", "/notifications/preferences", {}, PEOPLE),
    ("PUT", "/notifications/preferences", {}, PEOPLE),
    ("GET", "/notifications/preferences?user_id=5", ABSENT, {"admin", "service"}),
    ("PATCH", "/notifications/preferences?user_id=5", {}, {"admin", "service"}),
    ("PUT", "/notifications/preferences?user_id=5", {}, {"admin", "service"}),
    ("PUT", "/users/5/quiet", {"quiet_until": None}, {"admin", "service"}),
    ("POST", "/users/5/revoke", ABSENT, {"admin"}),
    ("GET", "/api-keys", ABSENT, {"admin"}),
    ("POST", "/api-keys", {"name": "x"}, {"admin"}),
    ("GET", "/healthz", ABSENT, EVERYONE),
    ("GET", "/readyz", ABSENT, EVERYONE),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), MAY, ids=[f"{m[0]} {m[1]}" for m in MAY])
async def test_each_role_may_what_its_row_says(
    tenant: Tenant, method: str, path: str, body: Any, allowed: set[str]
) -> None:
    for user, role in enumerate(sorted(EVERYONE), start=10):
        answer = await tenant.caller(role, None if role == "service" else user)(method, path, body)
        if role in allowed:
            assert answer.is_success, (role, answer.text)
        else:
            problem(answer, 403)


@pytest.mark.parametrize(("method", "path", "body"), [row[:3] for row in MAY if row[3] != EVERYONE])
async def test_without_a_good_token_nothing_is_answered(tenant: Tenant, method: str, path: str, body: Any) -> None:
    for bearer in (None, "nonsense"):
        answer = await tenant.holding(bearer)(method, path, body)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def signed(claims: dict[str, Any], *, key: str = SECRET, algorithm: str = "HS256") -> str:
    whole = {"sub": "1", "tenant": "acme", "role": "agent", "exp": int(clock.now().timestamp()) + 600} | claims
    return jwt.encode({name: value for name, value in whole.items() if value is not None}, key, algorithm)


def unsigned(algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, {"sub": "1", "tenant": "acme", "role": "admin", "exp": 4102444800})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


BAD_CLAIMS: list[dict[str, Any]] = [
    {"exp": None},
    {"exp": 1},
    {"exp": "4102444800"},
    {"exp": 10**30},
    {"exp": int(clock.now().timestamp()) - 31},
    {"nbf": 4102444800},
    {"iat": 4102444800},
    {"sub": None},
    {"sub": ""},
    {"sub": "0"},
    {"sub": "-1"},
    {"sub": "01"},
    {"sub": str(2**53)},
    {"sub": str(2**63)},
    {"sub": "9" * 300},
    {"sub": "nobody-known"},
    {"sub": "\0"},
    {"tenant": None},
    {"tenant": ""},
    {"tenant": "a b"},
    {"tenant": "a\0"},
    {"tenant": "a:b"},
    {"tenant": "a" * 65},
    {"tenant": ["acme"]},
    {"role": None},
    {"role": "root"},
    {"role": {"agent": True}},
    {"aud": "somebody-else"},
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=[json.dumps(claims)[:60] for claims in BAD_CLAIMS])
async def test_a_token_that_is_not_for_now_or_not_for_this_hub_is_401(tenant: Tenant, claims: dict[str, Any]) -> None:
    answer = await tenant.holding(signed(claims))("GET", "/notifications")
    assert "acme" not in problem(answer, 401)["detail"]


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_token_of_another_key_or_algorithm_is_401(tenant: Tenant) -> None:
    foreign = [
        signed({}, key="another-secret-of-32-bytes-or-more!!"),
        signed({}, algorithm="HS512"),
        unsigned("none"),
        unsigned("None"),
        unsigned("HS256"),
        signed({}) + "x",
        signed({})[:-4],
        "a.b.c",
        "..",
        "x" * 10_000,
    ]
    for bearer in foreign:
        problem(await tenant.holding(bearer)("GET", "/notifications"), 401)
    good(await tenant.holding(signed({}))("GET", "/notifications"))
    for scheme in ("Basic", "Token"):
        answer = await tenant.holding(None)("GET", "/notifications", authorization=f"{scheme} {signed({})}")
        problem(answer, 401)


BY_ID: list[tuple[str, str, Any]] = [
    ("GET", "/notifications/{}", ABSENT),
    ("GET", "/notifications/{}/delivery", ABSENT),
    ("PUT", "/notifications/{}/read", ABSENT),
    ("PUT", "/notifications/{}/unread", ABSENT),
    ("PUT", "/notifications/{}/archive", ABSENT),
    ("PUT", "/notifications/{}/unarchive", ABSENT),
    ("PUT", "/notifications/{}/snooze", {"until": ahead(hours=1)}),
    ("PUT", "/notifications/{}/unsnooze", ABSENT),
    ("DELETE", "/notifications/{}", ABSENT),
    ("DELETE", "/notifications/{}/schedule", ABSENT),
]


@pytest.mark.parametrize(("method", "path", "body"), BY_ID)
async def test_another_tenants_row_and_a_colleagues_are_404_like_one_that_is_not_there(
    tenant: Tenant, stranger: Tenant, method: str, path: str, body: Any
) -> None:
    mine = await tenant.notify(1, deliver_at=ahead(days=1))
    missing = problem(await tenant.agent(1)(method, path.format(2**53 - 1), body), 404)
    others = [stranger.agent(1), stranger.supervisor, stranger.admin, tenant.agent(2), tenant.supervisor, tenant.admin]
    for other in others:
        hidden = problem(await other(method, path.format(mine["id"]), body), 404)
        assert (hidden["title"], hidden["detail"]) == (missing["title"], missing["detail"])
    kept = await tenant.agent(1).get("/notifications", held="true")
    assert [one["id"] for one in kept["items"]] == [mine["id"]]


async def test_another_tenants_ids_in_a_list_are_missing_or_404(tenant: Tenant, stranger: Tenant) -> None:
    mine, other = await tenant.notify(1), await stranger.notify(1)
    me = tenant.agent(1)
    done = await me.post("/notifications/actions", {"ids": [other["id"], mine["id"]], "action": "delete"})
    assert (done["deleted"], done["missing"]) == ([mine["id"]], [other["id"]])
    for path in ("/notifications/read-all", "/notifications/seen"):
        problem(await me("POST", path, {"before": other["id"]}), 404)
    problem(await me("POST", "/notifications/actions", {"ids": [other["id"]], "action": "read"}), 404)
    assert (await stranger.agent(1).get(f"/notifications/{other['id']}"))["is_read"] is False


async def test_a_tenant_never_sees_or_touches_another(tenant: Tenant, stranger: Tenant) -> None:
    """The same users, keys and entities in both."""
    same = {"collapse_key": "k", "related_entity_type": "lead", "related_entity_id": "7"}
    mine, theirs = await tenant.notify(1, **same), await stranger.notify(1, **same)
    assert [one["id"] for one in (await stranger.agent().get("/notifications"))["items"]] == [theirs["id"]]
    await tenant.service.post("/notifications/withdraw", {"collapse_key": "k"})
    await tenant.admin.post("/notifications/cleanup", {"days": 1, "include_unread": True})
    await tenant.admin.post("/users/1/revoke")
    await tenant.service.put("/users/1/quiet", {"quiet_until": ahead(hours=1)})
    listed = await stranger.agent().get("/notifications", include="total")
    assert ([one["id"] for one in listed["items"]], listed["total"]) == ([theirs["id"]], 1)
    assert (await stranger.agent().get("/notifications/preferences"))["quiet_until"] is None
    problem(await tenant.service("GET", f"/notifications/{mine['id']}"), 404)


async def test_an_agent_notifies_themselves_and_a_producer_anyone(tenant: Tenant) -> None:
    made = await tenant.agent(5).post("/notifications", note(user_id=5))
    assert (made["user_id"], made["created_by"]) == (5, 5)
    for body in (note(user_id=6), note(user_ids=[5, 6])):
        problem(await tenant.agent(5)("POST", "/notifications", body), 403)
    problem(await tenant.agent(5)("POST", "/notifications/bulk", {"items": [note(user_id=6)]}), 403)
    assert (await tenant.agent(6).get("/notifications", include="total"))["total"] == 0
    by_supervisor = await tenant.supervisor.post("/notifications", note(user_id=6))
    assert by_supervisor["created_by"] == 800


async def test_a_producer_reads_what_it_created_and_no_more(tenant: Tenant) -> None:
    first, second = await api_key(tenant, "crm"), await api_key(tenant, "phone")
    made = await first.post("/notifications", note(user_id=5))
    assert (await first.get(f"/notifications/{made['id']}"))["id"] == made["id"]
    delivery = (await first.get(f"/notifications/{made['id']}/delivery"))["items"]
    assert [one["channel"] for one in delivery] == ["in_app"]
    for other in (second, tenant.service, tenant.supervisor):
        problem(await other("GET", f"/notifications/{made['id']}"), 404)
        problem(await other("GET", f"/notifications/{made['id']}/delivery"), 404)
    for path in ("/notifications", "/notifications/unread", "/notifications/stats"):
        problem(await first("GET", path), 403)
    problem(await first("PUT", f"/notifications/{made['id']}/read"), 403)
    problem(await first("GET", "/api-keys"), 403)


async def api_key(tenant: Tenant, name: str) -> Any:
    return tenant.holding((await tenant.admin.post("/api-keys", {"name": name}))["key"])


async def test_an_api_key_is_shown_once_stored_hashed_and_works_until_it_is_revoked(
    tenant: Tenant, stranger: Tenant
) -> None:
    made = await tenant.admin.post("/api-keys", {"name": "crm"})
    listed = (await tenant.admin.get("/api-keys"))["items"]
    assert [(one["id"], one["name"], one["revoked_at"]) for one in listed] == [(made["id"], "crm", None)]
    assert made["key"] not in json.dumps(listed)
    rows = await tenant.sql("SELECT to_jsonb(k)::text AS row FROM api_keys k WHERE tenant_id = $1", tenant.name)
    # 32 bytes are 43 characters, of which any may be the underscore that parts the fields.
    assert made["key"][-43:] not in rows[0]["row"]
    holder = tenant.holding(made["key"])
    assert (await holder.post("/notifications", note(user_id=5)))["outcome"] == "live"
    # A key of another tenant, and a part of a key, prove nothing.
    for forged in (made["key"][:-1], made["key"] + "a", made["key"].replace(tenant.name, stranger.name)):
        if forged != made["key"]:
            problem(await tenant.holding(forged)("POST", "/notifications", note(user_id=5)), 401)
    problem(await stranger.admin("DELETE", f"/api-keys/{made['id']}"), 404)
    assert (await stranger.admin.get("/api-keys"))["items"] == []
    await tenant.admin.delete(f"/api-keys/{made['id']}")

    async def refused() -> bool:
        return (await holder("POST", "/notifications", note(user_id=5))).status_code == 401

    await until(refused, within_s=5)
    assert (await tenant.admin.get("/api-keys"))["items"][0]["revoked_at"] is not None
    problem(await tenant.admin("DELETE", f"/api-keys/{made['id']}"), 404)


@asynccontextmanager
async def listening(node: Node, bearer: str | None) -> AsyncGenerator[Any]:
    async with connect(f"ws://127.0.0.1:{node.port}/api/v1/ws", close_timeout=1) as socket:
        await socket.send(json.dumps({"type": "hello", "token": bearer}))
        yield socket


async def test_revoking_refuses_tokens_of_before_and_closes_the_users_sockets_on_all_nodes(
    tenant: Tenant, rest_node: Node, rest_database_url: str, valkey_server: str, tmp_path: Path
) -> None:
    with Node(rest_database_url, valkey_server, tmp_path).running() as other_node:
        await other_node.ready()
        here, there, spared = Device(5, tenant=tenant.name), Device(5, tenant=tenant.name), tenant.device(6)
        async with here.on(rest_node), there.on(other_node), spared.on(rest_node), httpx.AsyncClient() as elsewhere:
            before = tenant.agent(5)
            await before.get("/notifications")
            revoked = await tenant.admin.post("/users/5/revoke")
            assert revoked["user_id"] == 5
            async with asyncio.timeout(5):
                for device in (here, there):
                    assert device.socket is not None
                    await closed(device.socket)
                    assert device.socket.close_code == 4403

            async def refused_everywhere() -> bool:
                url = f"{other_node.url}/api/v1/notifications"
                there = await elsewhere.get(url, headers={"authorization": f"Bearer {before.bearer}"})
                return [(await before("GET", "/notifications")).status_code, there.status_code] == [401, 401]

            await until(refused_everywhere, within_s=5)
            assert (await before("GET", "/notifications")).json()["reason"] == "revoked"
            await tenant.notify(6)
            await spared.hear(1)
        later = {"iat": int(instant(revoked["revoked_at"]).timestamp()) + 1, "sub": "5", "tenant": tenant.name}
        await tenant.holding(signed(later)).get("/notifications")
        problem(await tenant.holding(signed({"sub": "5", "tenant": tenant.name}))("GET", "/notifications"), 401)


async def closed(socket: Any) -> None:
    while True:
        try:
            await socket.recv()
        except ConnectionClosed:
            return


async def test_a_producer_gets_no_socket(tenant: Tenant, rest_node: Node) -> None:
    key = (await tenant.admin.post("/api-keys", {"name": "x"}))["key"]
    for bearer in (tenant.service.bearer, str(key)):
        async with listening(rest_node, bearer) as socket, asyncio.timeout(5):
            await closed(socket)
            assert socket.close_code == 4403


async def test_a_changed_role_takes_effect_with_the_next_token(tenant: Tenant) -> None:
    assert (await tenant.caller("admin", 5)("GET", "/api-keys")).status_code == 200
    assert (await tenant.caller("agent", 5)("GET", "/api-keys")).status_code == 403


async def test_a_write_leaves_one_row_in_the_trail_without_content(tenant: Tenant) -> None:
    await tenant.service("POST", "/notifications", note(user_id=5, title="secret words"), x_request_id="trail-1")
    await tenant.agent(5)("POST", "/notifications/read-all", x_request_id="trail-2")
    await tenant.agent(5)("PATCH", "/notifications/preferences", {"timezone": "Asia/Kolkata"}, x_request_id="trail-3")
    rows = await tenant.sql(
        "SELECT request_id, actor_id, actor_role, action, entity_type, changes::text, address FROM audit_log"
        " WHERE tenant_id = $1 ORDER BY id",
        tenant.name,
    )
    assert [(row["request_id"], row["actor_id"], row["actor_role"]) for row in rows] == [
        ("trail-1", None, "service"), ("trail-2", 5, "agent"), ("trail-3", 5, "agent"),
    ]  # fmt: skip
    assert all(row["address"] == "127.0.0.1" for row in rows)
    assert "secret words" not in str(rows)
    assert json.loads(rows[2]["changes"])["fields"] == {"timezone": ["UTC", "Asia/Kolkata"]}


async def test_the_log_holds_no_token_no_body_and_no_address_of_a_person(tenant: Tenant, rest_node: Node) -> None:
    me = tenant.agent(5)
    await tenant.notify(5, title="unutterable-title", message="unutterable-message")
    await me("POST", "/notifications", {"nonsense": "unutterable-field"})
    await me("GET", "/notifications?q=unutterable-query")
    expired = token(5, tenant=tenant.name, ttl_s=-3600)
    problem(await tenant.holding(expired)("GET", "/notifications"), 401)
    text = rest_node.log.read_text()
    assert "unutterable" not in text
    assert str(me.bearer) not in text
    assert expired not in text


async def test_clocks_may_differ_by_30_s(tenant: Tenant) -> None:
    now = int(clock.now().timestamp())
    for claims in ({"exp": now - 20}, {"exp": now + 60, "iat": now + 20}, {"nbf": now + 20}):
        await tenant.holding(signed(claims)).get("/notifications")
