"""Notifications and preferences over HTTP, down to PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from api.app import BASE, build_app
from api.metrics import RequestMetrics
from api.routes import api_routes
from hub import clock
from hub.auth.refusal import InvalidToken
from hub.core.principal import Principal
from hub.store.pool import Database
from tests.app.world import World
from tests.conftest import Databases


class Names:
    """A token is `<role>-<user>`."""

    async def verify(self, token: str) -> Principal:
        role, _, user = token.partition("-")
        if not user:
            raise InvalidToken("malformed")
        tenant = "other" if role == "stranger" else "acme"
        return Principal(tenant_id=tenant, user_id=int(user) or None, role="agent" if role == "stranger" else role)  # pyright: ignore


class Site:
    def __init__(self, world: World) -> None:
        self.world = world
        app = build_app(
            {BASE: api_routes()},
            world.deps,
            authenticator=Names(),
            clock=clock,
            metrics=RequestMetrics(CollectorRegistry()),
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://hub{BASE}")

    async def call(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {who}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.client.request(method, path, json=body, headers=sent)


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def site(module_database_url: str) -> AsyncIterator[Site]:
    database = await Database.connect(module_database_url, pool_max=6)
    site = Site(World(database))
    yield site
    await site.client.aclose()
    await database.close()


def body(**fields: Any) -> dict[str, Any]:
    return {"type": "system", "title": "A title", "message": "A message", **fields}


async def test_a_notification_is_made_seen_and_read(site: Site):
    made = await site.call("service-0", "POST", "/notifications", body(user_id=1, data={"a": [1, 2.5, None]}))
    assert (made.status_code, made.json()["outcome"]) == (201, "live")
    assert "hub-position" not in made.headers
    page = await site.call("agent-1", "GET", "/notifications?include=total")
    assert [one["id"] for one in page.json()["items"]] == [made.json()["id"]]
    assert page.json()["total"] == 1
    assert page.headers["hub-position"].endswith(":1")
    read = await site.call("agent-1", "PUT", f"/notifications/{made.json()['id']}/read")
    assert (read.status_code, read.json()["is_read"], read.headers["hub-position"][-2:]) == (200, True, ":2")
    unread = await site.call("agent-1", "GET", "/notifications/unread")
    assert unread.json() == {"items": [], "next_cursor": None}


async def test_user_ids_answer_items_in_their_order(site: Site):
    made = await site.call("supervisor-9", "POST", "/notifications", body(user_ids=[12, 11, 12]))
    assert [one["user_id"] for one in made.json()["items"]] == [12, 11]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["$.user_id"]),
        ({"user_id": 1, "user_ids": [2]}, ["$.user_id"]),
        ({"user_id": 2**53}, ["$.user_id"]),
        ({"user_id": 1, "title": "x" * 201, "type": "nothing"}, ["$.type", "$.title"]),
        ({"user_id": 1, "message": "a\0b"}, ["$.message"]),
        ({"user_id": 1, "data": {"a": "\0"}}, ["$.data.a"]),
        ({"user_id": 1, "titel": "x"}, ["$.titel"]),
        ({"user_id": 1, "deliver_at": "2030-01-01T00:00:00"}, ["$.deliver_at"]),
        ({"user_id": 1, "action_url": "javascript:alert(1)"}, ["$.action_url"]),
        ({"user_id": 1, "related_entity_id": "7"}, ["$.related_entity_type"]),
    ],
)
async def test_bad_input_is_named_by_its_path(site: Site, fields: dict[str, Any], paths: list[str]):
    refused = await site.call("service-0", "POST", "/notifications", body(**fields))
    assert refused.status_code == 422
    assert {one["path"] for one in refused.json()["errors"]} == set(paths)


async def test_a_repeated_key_gets_the_first_answer_to_the_byte(site: Site):
    first = await site.call("service-0", "POST", "/notifications", body(user_id=21), idempotency_key="k")
    again = await site.call("service-0", "POST", "/notifications", body(user_id=21), idempotency_key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    other = await site.call("service-0", "POST", "/notifications", body(user_id=22), idempotency_key="k")
    assert other.status_code == 422
    assert await site.world.head(21) == 1
    assert await site.world.head(22) == 0


async def test_what_one_may_not_know_of_is_not_found(site: Site):
    made = (await site.call("service-7", "POST", "/notifications", body(user_id=31))).json()["id"]
    for who in ("agent-32", "stranger-31", "service-8", "supervisor-9"):
        for method, path in (("GET", ""), ("GET", "/delivery"), ("DELETE", "/schedule")):
            answer = await site.call(who, method, f"/notifications/{made}{path}")
            assert answer.status_code == 404, (who, path)
    for who in ("agent-32", "stranger-31"):
        for path in ("read", "unread", "archive", "unarchive", "unsnooze"):
            assert (await site.call(who, "PUT", f"/notifications/{made}/{path}")).status_code == 404
    assert (await site.call("service-7", "GET", f"/notifications/{made}/delivery")).json()["items"][0][
        "status"
    ] == "sent"


async def test_pages_follow_by_cursor_while_rows_arrive(site: Site):
    for _ in range(3):
        await site.call("service-0", "POST", "/notifications", body(user_ids=[41]))
    page = (await site.call("agent-41", "GET", "/notifications?limit=2")).json()
    await site.call("service-0", "POST", "/notifications", body(user_id=41))
    rest = (await site.call("agent-41", "GET", f"/notifications?limit=2&cursor={page['next_cursor']}")).json()
    ids = [one["id"] for one in page["items"] + rest["items"]]
    assert (len(ids), sorted(ids, reverse=True)) == (3, ids)
    assert rest["next_cursor"] is None
    by_number = (await site.call("agent-41", "GET", "/notifications?limit=2&offset=3")).json()
    assert [one["id"] for one in by_number["items"]] == ids[2:]


async def test_filters(site: Site):
    await site.call("service-0", "POST", "/notifications/bulk", {"items": [
        body(user_id=51, priority="critical", title="100% sure"),
        body(user_id=51, type="call_missed", category="calls"),
        body(user_id=51, deliver_at=(datetime.now(UTC) + timedelta(days=1)).isoformat()),
    ]})  # fmt: skip

    async def found(query: str) -> int:
        return len((await site.call("agent-51", "GET", f"/notifications?{query}")).json()["items"])

    asked = {
        "type=call_missed": 1,
        "type=call_missed,system": 2,
        "category=calls": 1,
        "priority=critical": 1,
        "is_read=true": 0,
        "is_archived=false": 2,
        "q=100%25": 1,
        "q=_": 0,
        "held=true": 1,
        "since=2030-01-01T00:00:00Z": 0,
        "until=2030-01-01T00:00:00Z": 2,
    }
    assert {query: await found(query) for query in asked} == asked


async def test_preferences_get_change_put_works(site: Site):
    got = await site.call("agent-61", "GET", "/notifications/preferences")
    assert got.json()["timezone"] == "UTC"
    put = await site.call("agent-61", "PUT", "/notifications/preferences", {**got.json(), "timezone": "Asia/Kolkata"})
    assert (put.status_code, put.json()["timezone"]) == (200, "Asia/Kolkata")
    patched = await site.call("agent-61", "PATCH", "/notifications/preferences", {"locale": "de", "timezone": None})
    assert patched.status_code == 200, patched.text
    assert (patched.json()["timezone"], patched.json()["locale"]) == ("UTC", "de")
    left_out = await site.call("agent-61", "PUT", "/notifications/preferences", {})
    assert left_out.json() == got.json()
    patch = {"timezone": "Mars/Olympus", "quiet_hours_start": "25:61", "quiet_hours_days": []}
    bad = await site.call("agent-61", "PATCH", "/notifications/preferences", patch)
    assert {one["path"] for one in bad.json()["errors"]} == {"$.timezone", "$.quiet_hours_start", "$.quiet_hours_days"}
    assert (await site.call("agent-61", "GET", "/notifications/preferences?user_id=62")).status_code == 403
    assert (await site.call("admin-1", "GET", "/notifications/preferences?user_id=62")).status_code == 200


async def test_two_patches_of_different_fields_both_last(site: Site):
    await asyncio.gather(
        *(
            site.call("agent-66", "PATCH", "/notifications/preferences", patch)
            for patch in ({"locale": "fr"}, {"timezone": "Europe/Paris"}, {"notify_call_missed": False})
        )
    )
    got = (await site.call("agent-66", "GET", "/notifications/preferences")).json()
    assert (got["locale"], got["timezone"], got["notify_call_missed"]) == ("fr", "Europe/Paris", False)


async def test_quiet_while_a_call_lasts(site: Site):
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await site.call("service-0", "PUT", "/users/71/quiet", {"quiet_until": until})).status_code == 200
    held = await site.call("service-0", "POST", "/notifications", body(user_id=71))
    assert held.json()["outcome"] == "held"
    explained = await site.call("agent-71", "POST", "/notifications/explain", {"priority": "high"})
    assert explained.json()["verdict"]["rule"] == "quiet_until"
    assert explained.json()["goes_at"] == held.json()["held_until"]
    await site.call("service-0", "PUT", "/users/71/quiet", {"quiet_until": None})
    assert len((await site.call("agent-71", "GET", "/notifications/unread")).json()["items"]) == 1
    assert (await site.call("agent-71", "PUT", "/users/71/quiet", {"quiet_until": None})).status_code == 403


async def test_own_actions(site: Site):
    ids = [(await site.call("service-0", "POST", "/notifications", body(user_id=81))).json()["id"] for _ in range(3)]
    done = await site.call("agent-81", "POST", "/notifications/actions", {"ids": [ids[0], 999999], "action": "archive"})
    assert ([one["id"] for one in done.json()["items"]], done.json()["missing"]) == ([ids[0]], [999999])
    swept = await site.call("agent-81", "POST", "/notifications/seen", {"before": ids[1]})
    assert (swept.json()["count"], swept.json()["counts"]["unseen"]) == (2, 1)
    assert (await site.call("agent-81", "POST", "/notifications/read-all")).json()["count"] == 3
    assert (await site.call("agent-81", "DELETE", f"/notifications/{ids[0]}")).status_code == 204
    assert (await site.call("agent-81", "DELETE", f"/notifications/{ids[0]}")).status_code == 404
    assert (await site.call("service-0", "POST", "/notifications/read-all")).status_code == 403
    stats = (await site.call("agent-81", "GET", "/notifications/stats")).json()
    assert (stats["total"], stats["read_rate"], stats["unread"]["unread"]) == (2, 1.0, 0)


async def test_api_keys_are_shown_once(site: Site):
    made = await site.call("admin-1", "POST", "/api-keys", {"name": "dialler"}, idempotency_key="once")
    assert made.json()["key"].startswith("hub_acme_")
    again = await site.call("admin-1", "POST", "/api-keys", {"name": "dialler"}, idempotency_key="once")
    assert (again.json()["id"], again.json()["key"]) == (made.json()["id"], "")
    listed = (await site.call("admin-1", "GET", "/api-keys")).json()["items"]
    assert "key" not in listed[0]
    path = f"/api-keys/{made.json()['id']}"
    assert [(await site.call("admin-1", "DELETE", path)).status_code for _ in range(2)] == [204, 404]
    assert (await site.call("agent-1", "POST", "/api-keys", {"name": "mine"})).status_code == 403


async def test_revoking_and_cleaning_up_are_for_admins(site: Site):
    assert (await site.call("supervisor-1", "POST", "/users/91/revoke")).status_code == 403
    assert (await site.call("admin-1", "POST", "/users/91/revoke")).json()["user_id"] == 91
    assert (await site.call("supervisor-1", "POST", "/notifications/cleanup", {"days": 1})).status_code == 403
    assert (await site.call("admin-1", "POST", "/notifications/cleanup", {"days": 1})).json() == {"count": 0}
