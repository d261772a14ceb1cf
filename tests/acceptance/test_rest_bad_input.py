"""Bad input on every edge gets the error that is promised, and the hub lives on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import Node, token
from tests.acceptance.rest import ABSENT, BASE, Tenant, ahead, note, paths, problem

pytestmark = pytest.mark.acceptance

HUGE = 2**63
ID_MAX = 2**53 - 1

REFUSED_FIELDS: list[tuple[dict[str, Any], set[str]]] = [
    ({"title": "a\0b"}, {"$.title"}),
    ({"message": "\ud800"}, {"$.message"}),
    ({"message": "x\udfff\ud800"}, {"$.message"}),
    ({"data": {"a": ["\0"]}}, {"$.data.a[0]"}),
    ({"data": {"a": {"b": "\udc00"}}}, {"$.data.a.b"}),
    ({"data": []}, {"$.data"}),
    ({"data": "x"}, {"$.data"}),
    ({"data": {"a": "x" * 16 * 1024}}, {"$.data"}),
    ({"title": ""}, {"$.title"}),
    ({"title": "  \n"}, {"$.title"}),
    ({"title": "x" * 201}, {"$.title"}),
    ({"title": 5}, {"$.title"}),
    ({"title": None}, {"$.title"}),
    ({"message": "x" * 4001}, {"$.message"}),
    ({"type": "nothing"}, {"$.type"}),
    ({"type": "System"}, {"$.type"}),
    ({"type": ["system"]}, {"$.type"}),
    ({"priority": "urgent"}, {"$.priority"}),
    ({"priority": None}, {"$.priority"}),
    ({"category": ""}, {"$.category"}),
    ({"category": "A"}, {"$.category"}),
    ({"category": "a b"}, {"$.category"}),
    ({"category": "a\n"}, {"$.category"}),
    ({"category": "a" * 65}, {"$.category"}),
    ({"category": "ä"}, {"$.category"}),
    ({"user_id": 0}, {"$.user_id"}),
    ({"user_id": -1}, {"$.user_id"}),
    ({"user_id": ID_MAX + 1}, {"$.user_id"}),
    ({"user_id": HUGE}, {"$.user_id"}),
    ({"user_id": 10**400}, {"$.user_id"}),
    ({"user_id": "1"}, {"$.user_id"}),
    ({"user_id": 1.5}, {"$.user_id"}),
    ({"user_id": True}, {"$.user_id"}),
    ({"user_id": None}, {"$.user_id"}),
    ({"user_ids": [2]}, {"$.user_id"}),
    ({"user_id": None, "user_ids": []}, {"$.user_ids"}),
    ({"user_id": None, "user_ids": [1, ID_MAX + 1, "x"]}, {"$.user_ids[1]", "$.user_ids[2]"}),
    ({"user_id": None, "user_ids": list(range(1, 1002))}, {"$.user_ids"}),
    ({"deliver_at": "2030-01-01T00:00:00"}, {"$.deliver_at"}),
    ({"deliver_at": "2030-01-01"}, {"$.deliver_at"}),
    ({"deliver_at": "2030-02-30T00:00:00Z"}, {"$.deliver_at"}),
    ({"deliver_at": "2030-01-01T25:61:00Z"}, {"$.deliver_at"}),
    ({"deliver_at": "0001-01-01T00:00:00+23:59"}, {"$.deliver_at"}),
    ({"deliver_at": "9999-12-31T23:59:59-23:59"}, {"$.deliver_at"}),
    ({"deliver_at": 1893456000}, {"$.deliver_at"}),
    ({"expires_at": "tomorrow"}, {"$.expires_at"}),
    ({"expires_at": "2030-01-01T00:00:00Z", "deliver_at": "2030-01-01T00:00:00Z"}, {"$.expires_at"}),
    ({"related_entity_type": "lead", "related_entity_id": 7}, {"$.related_entity_id"}),
    ({"related_entity_type": "lead", "related_entity_id": "x" * 129}, {"$.related_entity_id"}),
    ({"related_entity_type": "lead", "related_entity_id": "\0"}, {"$.related_entity_id"}),
    ({"collapse_key": ""}, {"$.collapse_key"}),
    ({"collapse_key": "\ud834"}, {"$.collapse_key"}),
    ({"channels": []}, {"$.channels"}),
    ({"channels": ["pigeon"]}, {"$.channels[0]"}),
    ({"channels": "email"}, {"$.channels"}),
    ({"titel": "x"}, {"$.titel"}),
    ({"is_read": True}, {"$.is_read"}),
    ({"id": 5}, {"$.id"}),
    ({"tenant_id": "other"}, {"$.tenant_id"}),
    ({"created_by": 5}, {"$.created_by"}),
]

REFUSED_URLS = [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\tscript:alert(1)",
    " https://a",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://a/b",
    "//evil.example/a",
    "/\\evil.example",
    "\\\\evil.example",
    "https:evil",
    "https://a b",
    "https://u:p@host/",
    "https://",
    "blob:https://a/b",
    "intent://x",
    "www.example.com",
    "",
    "https://a/\0",
    "https://a/\u202e",
]

TAKEN_URLS = [
    "https://crm.example/leads/7?x=1#y",
    "HTTP://crm.example:8080",
    "tel:+4930123456",
    "sip:agent@pbx.example",
    "mailto:a@b.example?subject=x",
    "/leads/7",
    "/",
]


@pytest.mark.parametrize(("fields", "where"), REFUSED_FIELDS, ids=[json.dumps(f)[:60] for f, _ in REFUSED_FIELDS])
async def test_what_is_wrong_is_named_by_its_path(tenant: Tenant, fields: dict[str, Any], where: set[str]) -> None:
    body = {name: value for name, value in (note(user_id=1) | fields).items() if (name, value) != ("user_id", None)}
    assert paths(await tenant.service("POST", "/notifications", body)) == where
    assert (await tenant.agent().get("/notifications", include="total"))["total"] == 0


@pytest.mark.parametrize("missing", ["type", "title", "message", "user_id"])
async def test_what_is_required_is_named(tenant: Tenant, missing: str) -> None:
    body = note(user_id=1)
    del body[missing]
    assert paths(await tenant.service("POST", "/notifications", body)) == {f"$.{missing}"}


async def test_all_that_is_wrong_is_named_and_not_the_first(tenant: Tenant) -> None:
    body = {"type": "x", "title": "", "priority": 1, "user_id": 0, "nonsense": 1, "deliver_at": "x"}
    assert paths(await tenant.service("POST", "/notifications", body)) == {
        "$.type", "$.title", "$.message", "$.priority", "$.user_id", "$.nonsense", "$.deliver_at",
    }  # fmt: skip
    bulk = {"items": [note(user_id=1), note(user_id=0), note(user_id=1, title="")]}
    assert paths(await tenant.service("POST", "/notifications/bulk", bulk)) == {
        "$.items[1].user_id",
        "$.items[2].title",
    }
    assert (await tenant.agent().get("/notifications", include="total"))["total"] == 0


async def test_an_action_url_has_a_scheme_of_the_list_or_is_a_path_of_ones_own(tenant: Tenant) -> None:
    refused = await asyncio.gather(
        *(tenant.service("POST", "/notifications", note(user_id=1, action_url=url)) for url in REFUSED_URLS)
    )
    for url, answer in zip(REFUSED_URLS, refused, strict=True):
        assert paths(answer) == {"$.action_url"}, url
    for url in TAKEN_URLS:
        assert (await tenant.notify(action_url=url))["action_url"] == url


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{'a': 1}", 400),
        (b'{"user_id": 1,}', 400),
        (b"\xff\xfe", 400),
        (b'{"title": "\xc3\x28"}', 400),
        (b'{"title": "\xed\xa0\x80"}', 400),
        (b'{"a": NaN}', 400),
        (b'{"a": Infinity}', 400),
        (b"{} {}", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"x"', 422),
        (b"5", 422),
    ],
)
async def test_a_body_that_is_not_json_is_400_and_one_that_is_no_object_422(
    tenant: Tenant, raw: bytes, status: int
) -> None:
    problem(await tenant.service("POST", "/notifications", raw=raw), status)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
             "multipart/form-data; boundary=x", "application/jsonx", "", "application/merge-patch+json"],
)  # fmt: skip
async def test_a_wrong_content_type_is_415(tenant: Tenant, kind: str) -> None:
    answer = await tenant.service("POST", "/notifications", note(user_id=1), content_type=kind)
    problem(answer, 415)


@pytest.mark.parametrize(
    "kind", ["application/json;charset=UTF-8", "Application/JSON", 'application/json; charset="utf-8"']
)
async def test_json_may_be_spelt_in_other_ways(tenant: Tenant, kind: str) -> None:
    assert (await tenant.service("POST", "/notifications", note(user_id=1), content_type=kind)).status_code == 201


async def test_a_compressed_body_is_415(tenant: Tenant) -> None:
    problem(await tenant.service("POST", "/notifications", raw=b"\x1f\x8b", content_encoding="gzip"), 415)


async def test_a_request_over_1_mib_is_413_and_a_bulk_one_over_16(tenant: Tenant) -> None:
    just = note(user_id=1)
    room = (1 << 20) - len(json.dumps(just).encode())
    raw = json.dumps(just).encode() + b" " * room
    assert (await tenant.service("POST", "/notifications", raw=raw)).status_code == 201
    problem(await tenant.service("POST", "/notifications", raw=raw + b" "), 413)
    bulk = json.dumps({"items": [just]}).encode()
    assert (await tenant.service("POST", "/notifications/bulk", raw=bulk + b" " * (8 << 20))).status_code == 201
    problem(await tenant.service("POST", "/notifications/bulk", raw=bulk + b" " * (16 << 20)), 413)


async def test_a_body_without_a_declared_length_is_bounded_too(tenant: Tenant) -> None:
    async def parts(count: int) -> AsyncIterator[bytes]:
        yield json.dumps(note(user_id=1)).encode()
        for _ in range(count):
            yield b" " * (1 << 16)

    headers = {"authorization": f"Bearer {tenant.service.bearer}", "content-type": "application/json"}
    url = f"{BASE}/notifications"
    assert (await tenant.client.post(url, content=parts(2), headers=headers)).status_code == 201
    problem(await tenant.client.post(url, content=parts(17), headers=headers), 413)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/notifications", {"GET", "POST"}),
        ("PUT", "/notifications", {"GET", "POST"}),
        ("POST", "/notifications/5/read", {"PUT"}),
        ("GET", "/notifications/5/read", {"PUT"}),
        ("POST", "/notifications/5", {"GET", "DELETE"}),
        ("GET", "/notifications/read-all", {"POST"}),
        ("DELETE", "/notifications/preferences", {"GET", "PUT", "PATCH"}),
        ("PATCH", "/api-keys", {"GET", "POST"}),
        ("GET", "/users/5/revoke", {"POST"}),
        ("POST", "/healthz", {"GET"}),
        ("TRACE", "/notifications", {"GET", "POST"}),
        ("PROPFIND", "/notifications", {"GET", "POST"}),
    ],
)
async def test_a_known_path_with_the_wrong_method_is_405_with_allow(
    tenant: Tenant, method: str, path: str, allow: set[str]
) -> None:
    answer = await tenant.admin(method, path)
    problem(answer, 405)
    assert set(answer.headers["allow"].replace(" ", "").split(",")) - {"HEAD", "OPTIONS"} == allow


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/notifications/", "/notifications/5/nothing", "/Notifications", "/../healthz",
             "/notifications%2F5", "//notifications", "/notifications/5/read/"],
)  # fmt: skip
async def test_an_unknown_path_is_404(tenant: Tenant, path: str) -> None:
    problem(await tenant.agent()("GET", BASE + path), 404)


@pytest.mark.parametrize(
    "bad",
    ["0", "-1", str(ID_MAX + 1), str(HUGE), "9" * 400, "abc", "1.5", "1e3", "%00", "%ff", "%20", "٣", "1%00", "+1"],
)
async def test_a_bad_id_in_a_path_is_422(tenant: Tenant, bad: str) -> None:
    for method, path, body in [
        ("GET", "/notifications/{}", ABSENT),
        ("PUT", "/notifications/{}/read", ABSENT),
        ("PUT", "/notifications/{}/snooze", {"until": ahead(hours=1)}),
        ("DELETE", "/notifications/{}", ABSENT),
        ("DELETE", "/notifications/{}/schedule", ABSENT),
        ("GET", "/notifications/{}/delivery", ABSENT),
    ]:
        assert paths(await tenant.agent()(method, path.format(bad), body)) == {"path.id"}
    assert paths(await tenant.admin("DELETE", f"/api-keys/{bad}")) == {"path.id"}
    assert paths(await tenant.admin("POST", f"/users/{bad}/revoke")) == {"path.user_id"}
    quiet = {"quiet_until": None}
    assert paths(await tenant.service("PUT", f"/users/{bad}/quiet", quiet)) == {"path.user_id"}


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", {"query.limit"}),
        ("limit=201", {"query.limit"}),
        ("limit=-1", {"query.limit"}),
        ("limit=x", {"query.limit"}),
        ("limit=", {"query.limit"}),
        ("limit=99999999999999999999999", {"query.limit"}),
        ("limit=5&limit=6", {"query.limit"}),
        ("offset=-1", {"query.offset"}),
        ("offset=99999999999999999999999", {"query.offset"}),
        ("cursor=", {"query.cursor"}),
        ("cursor=x", {"query.cursor"}),
        ("cursor=%00", {"query.cursor"}),
        ("cursor=" + "A" * 40, {"query.cursor"}),
        ("cursor=" + "A" * 5000, {"query.cursor"}),
        ("type=nothing", {"query.type[0]"}),
        ("type=", {"query.type[0]"}),
        ("priority=urgent", {"query.priority[0]"}),
        ("category=A", {"query.category[0]"}),
        ("is_read=maybe", {"query.is_read"}),
        ("is_archived=2", {"query.is_archived"}),
        ("since=2026-01-01", {"query.since"}),
        ("since=2026-01-01T00:00:00", {"query.since"}),
        ("until=x", {"query.until"}),
        ("q=%00", {"query.q"}),
        ("q=%ff", {"query"}),
        ("q=", {"query.q"}),
        ("q=" + "x" * 201, {"query.q"}),
        ("include=everything", {"query.include[0]"}),
        ("nonsense=1", {"query.nonsense"}),
        ("user_id=5", {"query.user_id"}),
        ("held=x&limit=0", {"query.held", "query.limit"}),
        ("&".join(f"a{n}=1" for n in range(500)), {"query"}),
    ],
)
async def test_a_bad_query_is_named(tenant: Tenant, query: str, where: set[str]) -> None:
    assert paths(await tenant.agent()("GET", f"{BASE}/notifications?{query}")) == where


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"timezone": "Mars/Olympus"}, {"$.timezone"}),
        ({"timezone": ""}, {"$.timezone"}),
        ({"timezone": "../../etc/passwd"}, {"$.timezone"}),
        ({"timezone": "\0"}, {"$.timezone"}),
        ({"timezone": "+02:00"}, {"$.timezone"}),
        ({"timezone": None}, {"$.timezone"}),
        ({"quiet_hours_start": "25:61"}, {"$.quiet_hours_start"}),
        ({"quiet_hours_start": "24:00"}, {"$.quiet_hours_start"}),
        ({"quiet_hours_start": "9:00"}, {"$.quiet_hours_start"}),
        ({"quiet_hours_start": "09:00:00"}, {"$.quiet_hours_start"}),
        ({"quiet_hours_start": "٠٩:٠٠"}, {"$.quiet_hours_start"}),
        ({"quiet_hours_end": "09:00\n"}, {"$.quiet_hours_end"}),
        ({"quiet_hours_end": 900}, {"$.quiet_hours_end"}),
        ({"quiet_hours_days": []}, {"$.quiet_hours_days"}),
        ({"quiet_hours_days": [7]}, {"$.quiet_hours_days"}),
        ({"quiet_hours_days": [-1]}, {"$.quiet_hours_days"}),
        ({"quiet_hours_days": [1, 1]}, {"$.quiet_hours_days"}),
        ({"quiet_hours_days": ["monday"]}, {"$.quiet_hours_days[0]"}),
        ({"quiet_hours_days": [10**30]}, {"$.quiet_hours_days"}),
        ({"quiet_hours_enabled": True}, {"$.quiet_hours_start", "$.quiet_hours_end"}),
        ({"quiet_hours_enabled": "yes"}, {"$.quiet_hours_enabled"}),
        ({"quiet_until": "2030-01-01T00:00:00"}, {"$.quiet_until"}),
        ({"quiet_until": "0001-01-01T00:00:00+14:00"}, {"$.quiet_until"}),
        ({"quiet_until": "9999-12-31T23:59:59-14:00"}, {"$.quiet_until"}),
        ({"muted_categories": ["A"]}, {"$.muted_categories[0]"}),
        ({"muted_categories": ["a"] * 257}, {"$.muted_categories"}),
        ({"muted_categories": "a"}, {"$.muted_categories"}),
        ({"locale": "klingon language"}, {"$.locale"}),
        ({"locale": "en\0"}, {"$.locale"}),
        ({"email_batch_frequency": "yearly"}, {"$.email_batch_frequency"}),
        ({"enable_in_app_notifications": 1}, {"$.enable_in_app_notifications"}),
        ({"notify_system": False}, {"$.notify_system"}),
        ({"nonsense": 1, "timezone": "x"}, {"$.nonsense", "$.timezone"}),
    ],
)
async def test_bad_preferences_are_named_and_nothing_is_kept(
    tenant: Tenant, fields: dict[str, Any], where: set[str]
) -> None:
    me = tenant.agent()
    before = await me.get("/notifications/preferences")
    found = paths(await me("PUT", "/notifications/preferences", before | fields))
    assert {path.partition("[")[0] for path in found} == {path.partition("[")[0] for path in where}
    if None not in fields.values():
        found = paths(await me("PATCH", "/notifications/preferences", fields))
        assert {path.partition("[")[0] for path in found} == {path.partition("[")[0] for path in where}
    assert await me.get("/notifications/preferences") == before


EVIL: list[Any] = [
    None, True, 0, -1, 1.5, 2**53, 2**63, -(2**63), 10**400, 1e308, "", " ", "x" * 5000, "\0", "\ud800", "25:61",
    "Mars/Olympus", "2030-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-14:00", "%s%n'\";--",
    [], [[]], [None], [2**63], ["\0"], {}, {"\0": 1}, {"\udc00": "\ud800"}, {"a": {"b": [[{}]]}},
]  # fmt: skip

BODIES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("service", "POST", "/notifications", note(user_id=1, user_ids=[1], category="x", priority="low", action_url="/",
        expires_at=ahead(days=2), deliver_at=ahead(days=1), related_entity_type="lead", related_entity_id="1", data={},
        collapse_key="k", channels=["in_app"])),
    ("service", "POST", "/notifications/bulk", {"items": [note(user_id=1)]}),
    ("service", "POST", "/notifications/withdraw", {"broadcast_id": 1, "collapse_key": "k", "related_entity_type": "x",
        "related_entity_id": "1"}),
    ("service", "POST", "/notifications/explain", {"user_id": 1, "channel": "email", "at": ahead()}),
    ("admin", "POST", "/notifications/cleanup", {"days": 36500, "include_unread": True}),
    ("agent", "POST", "/notifications/actions", {"ids": [1], "action": "read"}),
    ("agent", "POST", "/notifications/read-all", {"before": 1}),
    ("agent", "POST", "/notifications/seen", {"before": 1}),
    ("agent", "PUT", "/notifications/1/snooze", {"until": ahead(hours=1)}),
    ("service", "PUT", "/users/1/quiet", {"quiet_until": None}),
    ("admin", "POST", "/api-keys", {"name": "x"}),
    ("agent", "PUT", "/notifications/preferences", {}),
    ("agent", "PATCH", "/notifications/preferences", {}),
]  # fmt: skip


@pytest.mark.parametrize(("role", "method", "path", "body"), BODIES, ids=[f"{b[1]} {b[2]}" for b in BODIES])
async def test_no_value_of_any_field_makes_the_hub_fail(
    tenant: Tenant, role: str, method: str, path: str, body: dict[str, Any]
) -> None:
    caller = tenant.caller(role, None if role == "service" else 1)
    if path.endswith("preferences"):
        shown = await caller.get(path)
        # One switch stands for all of them, and a patch is made of what a PUT is.
        names = ["enable_in_app_notifications", *list(shown)[13:]] if method == "PUT" else ["quiet_until", "timezone"]
        body = {name: shown[name] for name in names}
    bodies = [body | {name: evil} for name in [*body, "\0", "\ud800", "__proto__"] for evil in EVIL]
    bodies += EVIL
    room = asyncio.Semaphore(8)

    async def send(one: Any) -> httpx.Response:
        async with room:
            return await caller(method, path, one)

    for sent, answer in zip(bodies, await asyncio.gather(*map(send, bodies)), strict=True):
        if not answer.is_success:
            assert answer.status_code in (403, 404, 409, 422), (sent, answer.text)
            problem(answer, answer.status_code)
    assert (await tenant.notify(77))["outcome"] == "live"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
async def test_a_bad_idempotency_key_is_422(tenant: Tenant, key: str) -> None:
    headers = [
        (b"authorization", f"Bearer {tenant.service.bearer}".encode()),
        (b"content-type", b"application/json"),
        (b"idempotency-key", key.encode()),
    ]
    answer = await tenant.client.post(f"{BASE}/notifications", content=json.dumps(note(user_id=1)), headers=headers)
    assert paths(answer) == {"header.Idempotency-Key"}


async def test_a_request_id_is_the_callers_if_it_is_sane_or_a_new_one(tenant: Tenant) -> None:
    me = tenant.agent()
    assert (await me("GET", "/notifications", x_request_id="abc-1")).headers["x-request-id"] == "abc-1"
    refused = await me("GET", "/notifications?limit=0", x_request_id="abc-2")
    assert problem(refused, 422)["request_id"] == "abc-2"
    ids = {
        (await me("GET", "/notifications", x_request_id=bad)).headers["x-request-id"] for bad in ("", "a b", "x" * 500)
    }
    assert len(ids) == 3
    assert not ids & {"", "a b", "x" * 500}
    for answer in (await me("GET", "/nothing"), await tenant.holding(None)("GET", "/notifications")):
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /api/v1/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET /api/v1/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST /api/v1/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /api/v1/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/v1/notifications HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"GET /api/v1/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_broken_request_gets_a_refusal_or_an_end_and_the_hub_lives_on(rest_node: Node, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest_node.port)
    try:
        writer.write(head)
        writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    assert answer == b"" or answer.split(b" ")[1].startswith(b"4"), answer[:200]
    async with httpx.AsyncClient(base_url=rest_node.url) as client:
        headers = {"authorization": f"Bearer {token(1)}"}
        assert (await client.get(f"{BASE}/notifications", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("method", "params", "status"),
    [
        ("notifications.read", {"id": 0}, 422),
        ("notifications.read", {"id": 2**53}, 422),
        ("notifications.read", {"id": 2**63}, 422),
        ("notifications.read", {"id": 10**30}, 422),
        ("notifications.read", {"id": "1"}, 422),
        ("notifications.read", {}, 422),
        ("notifications.read", {"id": 5}, 404),
        ("notifications.snooze", {"id": 5}, 422),
        ("notifications.snooze", {"id": 5, "until": "2030-01-01T00:00:00"}, 422),
        ("notifications.snooze", {"id": 5, "until": "9999-12-31T23:59:59-14:00"}, 422),
        ("notifications.snooze", {"id": 5, "until": "0001-01-01T00:00:00+14:00"}, 422),
        ("notifications.snooze", {"id": 5, "until": "\0"}, 422),
        ("notifications.actions", {"ids": [], "action": "read"}, 422),
        ("notifications.actions", {"ids": [5] * 201, "action": "read"}, 422),
        ("notifications.actions", {"ids": [5], "action": "eat"}, 422),
        ("notifications.read_all", {"before": "x"}, 422),
        ("notifications.read_all", {"before": 5}, 404),
        ("notifications.eat", {}, 404),
        ("\0", {}, 404),
    ],
)
async def test_a_socket_gets_the_problem_that_rest_would_have_answered(
    tenant: Tenant, method: str, params: dict[str, Any], status: int
) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        assert device.socket is not None
        for one in (params, params):
            await device.socket.send(json.dumps({"type": "call", "id": "c", "method": method, "params": one}))
            async with asyncio.timeout(5):
                answer = json.loads(await device.socket.recv())
            assert (answer["type"], answer["id"]) == ("error", "c")
            assert answer["error"]["status"] == status, answer
            assert {"type", "title", "detail"} <= set(answer["error"])
            assert bool(answer["error"].get("errors")) == (status == 422)
        await tenant.notify()
        await device.hear(1)
