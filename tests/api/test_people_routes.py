"""People, groups, broadcasts, addresses, settings, the trail and presence over HTTP, down to PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from hub.app import erasure
from hub.app.broadcasts import fan_out
from hub.auth.sealing import Sealer
from hub.core.presence import Online
from hub.store.pool import Database
from tests.api.test_notification_routes import Site, body
from tests.app.world import World
from tests.conftest import Databases


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def site(module_database_url: str) -> AsyncIterator[Site]:
    database = await Database.connect(module_database_url, pool_max=6)
    site = Site(World(database))
    site.world.deps._sealer = Sealer("secret")
    yield site
    await site.client.aclose()
    await database.close()


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/users/11", {"display_name": "Ana", "locale": "pt-BR", "timezone": "Europe/Berlin", "external_id": "ä-11"}),
        ("/users/11/contacts", {"email": "ana@example.org", "phone": "+4915112345678", "slack": "U024BE7LH"}),
        ("/groups/night%20shift", {"members": [12, 11]}),
    ],
)
async def test_get_change_put_works(site: Site, path: str, document: dict[str, Any]):
    put = await site.call("admin-1", "PUT", path, document)
    assert put.status_code == 200, put.text
    got = (await site.call("service-0", "GET", path)).json()
    again = await site.call("service-0", "PUT", path, got)
    assert again.status_code == 200, again.text
    assert {**again.json(), "updated_at": 0} == {**got, "updated_at": 0}
    assert {name: got[name] for name in document if name != "members"} == {
        name: value for name, value in document.items() if name != "members"
    }


@pytest.mark.parametrize(
    ("method", "path", "document", "fault"),
    [
        ("PUT", "/users/21", {"timezone": "Mars/Olympus"}, "$.timezone"),
        ("PUT", "/users/21", {"locale": "no such"}, "$.locale"),
        ("PUT", "/users/21", {"display_name": "a\0b"}, "$.display_name"),
        ("PUT", "/users/21", {"display_name": ""}, "$.display_name"),
        ("PUT", "/users/21", {"nick": "A"}, "$.nick"),
        ("PUT", "/users/0", {}, "path.user_id"),
        ("PUT", "/users/21/contacts", {"email": "ana@@example.org"}, "$.email"),
        ("PUT", "/users/21/contacts", {"email": "ana@example.org\nBcc: x@example.org"}, "$.email"),
        ("PUT", "/users/21/contacts", {"email": f"{'a' * 65}@example.org"}, "$.email"),
        ("PUT", "/users/21/contacts", {"phone": "015112345678"}, "$.phone"),
        ("PUT", "/users/21/contacts", {"phone": "+4915112345678901"}, "$.phone"),
        ("PUT", "/users/21/contacts", {"whatsapp": "ana"}, "$.whatsapp"),
        ("PUT", "/users/21/contacts", {"slack": "a b"}, "$.slack"),
        ("PUT", "/groups/g", {"members": [0]}, "$.members[0]"),
        ("PUT", "/groups/g", {}, "$.members"),
        ("PATCH", "/settings", {"timezone": "Mars/Olympus"}, "$.timezone"),
        ("PATCH", "/settings", {"reminder_minutes": -1}, "$.reminder_minutes"),
        ("PATCH", "/settings", {"locked": ["nothing"]}, "$.locked[0]"),
        ("PATCH", "/settings", {"retention": {"notifications_days": 0}}, "$.retention.notifications_days"),
        ("PATCH", "/settings", {"throttles": {"pigeon": 1}}, "$.throttles.pigeon"),
        ("PATCH", "/settings", {"preferences": {"muted_categories": ["A B"]}}, "$.preferences.muted_categories[0]"),
        ("PATCH", "/settings", {"preferences": {"quiet_hours_days": "\0"}}, "$.preferences.quiet_hours_days"),
        ("POST", "/notifications/broadcast", {}, "$.type"),
        ("POST", "/notifications/broadcast", body(group="nobody"), "$.group"),
        ("POST", "/notifications/broadcast", body(user_id=1), "$.user_id"),
        ("POST", "/notifications", body(group="nobody"), "$.group"),
        ("POST", "/notifications", body(group="nobody", user_id=1), "$.user_id"),
        ("GET", "/audit?cursor=AAAA", None, "query.cursor"),
        ("GET", "/audit?since=yesterday", None, "query.since"),
    ],
)
async def test_bad_input_is_named_by_its_path(site: Site, method: str, path: str, document: Any, fault: str):
    refused = await site.call("admin-1", method, path, document)
    assert refused.status_code == 422, refused.text
    assert fault in [one["path"] for one in refused.json()["errors"]]


async def test_push_subscriptions(site: Site):
    browser = {
        "endpoint": "https://push.example/1",
        "expirationTime": None,
        "keys": {"p256dh": "B" * 87, "auth": "a" * 22},
    }
    made = await site.call("agent-31", "POST", "/push-subscriptions", browser)
    assert made.status_code == 201, made.text
    found = (await site.call("agent-31", "GET", "/push-subscriptions")).json()["items"]
    assert [(one["id"], one["endpoint"]) for one in found] == [(made.json()["id"], "https://push.example/1")]
    assert "keys" not in found[0]
    path = f"/push-subscriptions/{made.json()['id']}"
    assert (await site.call("agent-32", "DELETE", path)).status_code == 404
    assert (await site.call("agent-31", "DELETE", path)).status_code == 204
    refused = await site.call("agent-31", "POST", "/push-subscriptions", {**browser, "endpoint": "ftp://push.example"})
    assert refused.status_code == 422
    key = (await site.call("agent-31", "GET", "/push-subscriptions/key")).json()
    assert len(key["public_key"]) == 87
    assert (await site.call("agent-31", "GET", "/push-subscriptions/key")).json() == key


async def test_a_broadcast_from_202_to_who_has_not_read_it(site: Site):
    await site.call("admin-1", "PUT", "/groups/day", {"members": [41, 42, 43]})
    await site.call("admin-1", "PUT", "/users/42", {"display_name": "Ana"})
    made = await site.call("admin-1", "POST", "/notifications/broadcast", body(group="day"), idempotency_key="b")
    assert (made.status_code, made.json()["audience"]) == (202, 3)
    again = await site.call("admin-1", "POST", "/notifications/broadcast", body(group="day"), idempotency_key="b")
    assert again.content == made.content
    path = f"/broadcasts/{made.json()['broadcast_id']}"
    await fan_out(site.world.deps, "acme", [made.json()["broadcast_id"]])
    mine = (await site.call("agent-41", "GET", "/notifications")).json()["items"][0]
    await site.call("agent-41", "PUT", f"/notifications/{mine['id']}/read")
    got = (await site.call("admin-1", "GET", path)).json()
    assert (got["told"], got["delivered"], got["seen"], got["read"]) == (3, 1, 1, 1)
    assert "unread" not in got
    page = (await site.call("admin-1", "GET", f"{path}?unread=true&limit=1&include=total")).json()["unread"]
    assert (page["items"], page["total"]) == ([{"user_id": 42, "display_name": "Ana"}], 2)
    rest = await site.call("admin-1", "GET", f"{path}?unread=true&limit=1&cursor={page['next_cursor']}")
    assert rest.json()["unread"] == {"items": [{"user_id": 43, "display_name": None}], "next_cursor": None}
    by_number = (await site.call("admin-1", "GET", f"{path}?unread=true&offset=1")).json()["unread"]["items"]
    assert [one["user_id"] for one in by_number] == [43]
    taken = await site.call("admin-1", "POST", "/notifications/withdraw", {"broadcast_id": made.json()["broadcast_id"]})
    assert taken.json() == {"count": 3}
    assert (await site.call("admin-1", "GET", path)).json()["withdrawn_at"] is not None
    assert (await site.call("stranger-1", "GET", path)).status_code == 403
    assert (await site.call("admin-1", "GET", "/broadcasts/999999")).status_code == 404


async def test_a_notification_to_a_group_answers_items(site: Site):
    await site.call("admin-1", "PUT", "/groups/two", {"members": [52, 51]})
    made = await site.call("supervisor-1", "POST", "/notifications", body(group="two"))
    assert [one["user_id"] for one in made.json()["items"]] == [51, 52]
    assert (await site.call("agent-51", "POST", "/notifications", body(group="two"))).status_code == 403


async def test_settings_are_merged_and_null_takes_a_field_back(site: Site):
    got = (await site.call("admin-1", "GET", "/settings")).json()
    assert got["reminder_minutes"] == 15
    changed = await site.call(
        "admin-1",
        "PATCH",
        "/settings",
        {"reminder_minutes": 5, "preferences": {"notify_call_missed": False}, "throttles": {"sms": 10}},
    )
    assert changed.status_code == 200, changed.text
    more = await site.call("admin-1", "PATCH", "/settings", {"preferences": {"locale": "de"}, "reminder_minutes": None})
    assert more.json()["preferences"] == {"notify_call_missed": False, "locale": "de"}
    assert (more.json()["reminder_minutes"], more.json()["throttles"]["sms"]) == (15, 10)
    mine = (await site.call("agent-61", "GET", "/notifications/preferences")).json()
    assert (mine["notify_call_missed"], mine["locale"]) == (False, "de")
    back = await site.call("admin-1", "PATCH", "/settings", {"preferences": None, "throttles": None})
    assert back.json() == got


async def test_the_trail_names_what_was_done_and_no_content(site: Site):
    await site.call("admin-71", "PUT", "/users/72", {"display_name": "Unmistakable"})
    await site.call("admin-71", "PUT", "/users/71", {"display_name": "The boss"})
    page = (await site.call("admin-71", "GET", "/audit?actor_id=71&include=total&limit=1")).json()
    assert (page["total"], page["items"][0]["actor_name"]) == (2, "The boss")
    rest = await site.call("admin-71", "GET", f"/audit?actor_id=71&limit=1&cursor={page['next_cursor']}")
    deed = rest.json()["items"][0]
    assert (deed["action"], deed["entity_id"], rest.json()["next_cursor"]) == ("user.update", "72", None)
    assert "Unmistakable" not in rest.text
    assert deed["changes"]["fields"] == ["display_name"]


async def test_presence_names_who_is_there_and_of_a_group_who_is_not(site: Site):
    class Board:
        async def read(self, tenant_id: str) -> Online:
            assert tenant_id == "acme"
            return Online({81: 2, 83: 1}, 2, is_complete=True)

    site.world.deps.presence = Board()
    await site.call("admin-1", "PUT", "/users/81", {"display_name": "Ana"})
    await site.call("admin-1", "PUT", "/groups/phones", {"members": [81, 82]})
    every = (await site.call("supervisor-1", "GET", "/presence")).json()
    assert every == {
        "items": [
            {"user_id": 81, "display_name": "Ana", "online": True, "devices": 2},
            {"user_id": 83, "display_name": None, "online": True, "devices": 1},
        ],
        "nodes": 2,
        "is_complete": True,
    }
    group = (await site.call("supervisor-1", "GET", "/presence?group=phones")).json()
    assert [(one["user_id"], one["online"]) for one in group["items"]] == [(81, True), (82, False)]
    assert (await site.call("supervisor-1", "GET", "/presence?group=nobody")).status_code == 404


async def test_erased_over_http(site: Site):
    await site.call("service-0", "POST", "/notifications", body(user_id=91))
    export = (await site.call("admin-1", "GET", "/users/91/export")).json()
    assert len(export["sections"]["notifications"]) == 1
    gone = await site.call("admin-1", "DELETE", "/users/91")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await site.call("agent-91", "GET", "/notifications")).json()["items"] == []
    assert (await site.call("service-0", "GET", "/users/91")).status_code == 404


async def test_erasing_much_is_accepted_and_asked_about_again(site: Site, monkeypatch: pytest.MonkeyPatch):
    await site.call("service-0", "POST", "/notifications", body(user_id=92))
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "ANSWER_WITHIN_S", -1.0)
        begun = await site.call("admin-1", "DELETE", "/users/92")
    assert (begun.status_code, begun.content) == (202, b"")
    assert "hub-position" in begun.headers
    assert (await site.call("agent-92", "GET", "/notifications?include=total")).json()["total"] == 0
    assert (await site.call("admin-1", "DELETE", "/users/92")).status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "document", "allowed"),
    [
        ("GET", "/users/1", None, "admin service"),
        ("PUT", "/users/1", {}, "admin service"),
        ("DELETE", "/users/99", None, "admin"),
        ("GET", "/users/1/export", None, "admin"),
        ("GET", "/groups/none", None, "supervisor admin service"),
        ("PUT", "/groups/some", {"members": []}, "admin service"),
        ("DELETE", "/groups/none", None, "admin service"),
        ("GET", "/contacts", None, "agent supervisor admin"),
        ("PUT", "/contacts", {}, "agent supervisor admin"),
        ("GET", "/users/1/contacts", None, "admin service"),
        ("PUT", "/users/1/contacts", {}, "admin service"),
        ("GET", "/push-subscriptions", None, "agent supervisor admin"),
        ("GET", "/push-subscriptions/key", None, "agent supervisor admin"),
        ("DELETE", "/push-subscriptions/1", None, "agent supervisor admin"),
        ("GET", "/settings", None, "admin"),
        ("PATCH", "/settings", {}, "admin"),
        ("GET", "/audit", None, "admin"),
        ("GET", "/presence", None, "supervisor admin"),
        ("POST", "/notifications/broadcast", body(), "admin"),
        ("GET", "/broadcasts/1", None, "admin"),
    ],
)
async def test_who_may(site: Site, method: str, path: str, document: Any, allowed: str):
    for role in ("agent", "supervisor", "admin", "service"):
        answer = await site.call(f"{role}-1", method, path, document)
        assert (answer.status_code != 403) == (role in allowed.split()), (role, answer.status_code)


async def test_a_notification_carries_its_authors_name_beside_the_id(site: Site):
    await site.call("admin-1", "PUT", "/users/101", {"display_name": "Ana"})
    made = (await site.call("supervisor-101", "POST", "/notifications", body(user_id=102))).json()
    await site.call("supervisor-103", "POST", "/notifications", body(user_id=102))
    for path in ("/notifications", "/notifications/unread"):
        items = (await site.call("agent-102", "GET", path)).json()["items"]
        assert [(one["created_by"], one.get("created_by_name", "none")) for one in items] == [
            (103, "none"),
            (101, "Ana"),
        ]
    assert (await site.call("agent-102", "GET", f"/notifications/{made['id']}")).json()["created_by_name"] == "Ana"
