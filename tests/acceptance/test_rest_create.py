"""Creating and taking back notifications: what is answered, what is told, and that a repetition is none."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.acceptance.processes import Node
from tests.acceptance.rest import BASE, Caller, Tenant, ahead, good, instant, note, paths, position, problem

pytestmark = pytest.mark.acceptance

FIELDS = [
    "id", "tenant_id", "user_id", "type", "title", "message", "priority", "category", "is_seen", "is_read", "read_at",
    "action_url", "is_archived", "archived_at", "expires_at", "deliver_at", "held_until", "related_entity_type",
    "related_entity_id", "data", "collapse_key", "created_by", "created_at", "updated_at",
]  # fmt: skip
TYPES = [
    "lead_assigned", "task_assigned", "task_completed", "deadline_reminder", "call_missed", "message_received",
    "system",
]  # fmt: skip


async def test_a_notification_has_the_fields_of_the_contract_and_its_defaults(tenant: Tenant) -> None:
    made = await tenant.notify(1)
    assert made.pop("outcome") == "live"
    assert set(made) == set(FIELDS)
    assert (made["priority"], made["category"], made["tenant_id"], made["user_id"]) == (
        "normal", "general", tenant.name, 1,
    )  # fmt: skip
    assert [made[name] for name in ("is_seen", "is_read", "is_archived")] == [False, False, False]
    assert isinstance(made["id"], int)
    assert abs(datetime.now(UTC) - instant(made["created_at"])) < timedelta(seconds=30)
    assert await tenant.agent().get(f"/notifications/{made['id']}") == made
    assert (await tenant.agent().get("/notifications"))["items"] == [made]


@pytest.mark.parametrize("kind", TYPES)
async def test_every_type_is_taken(tenant: Tenant, kind: str) -> None:
    assert (await tenant.notify(type=kind))["type"] == kind


async def test_the_device_is_told_what_rest_answers(tenant: Tenant) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        made = await tenant.notify(
            priority="high",
            category="sales.new-1_x",
            data={"lead": {"id": 7}, "score": 1.5, "tags": ["a", None, True], "big": 2**53},
            action_url="tel:+4930123456",
            related_entity_type="lead",
            related_entity_id="7",
            expires_at=ahead(days=1),
        )
        (event,) = await device.hear(1)
        assert (event["kind"], event["seq"], event["priority"]) == ("notification.created", 1, "high")
        assert event["data"] == {name: made[name] for name in FIELDS}
        assert event["counts"] == {"unread": 1, "unseen": 1, "critical": 0, "high": 1, "normal": 0, "low": 0}
        assert event["ring"] is True


@pytest.mark.parametrize(
    "text",
    ["<script>alert('x')</script>", "a & b &amp; c", "  spaces kept  ", "línea\nsecond\ttab", "👩‍👩‍👧‍👦 مرحبا 你好",
     "\u202eright", "\x01\x7f\u0085", "\\u0000 is no NUL", "'; DROP TABLE notifications; --", "%s %d {} ${x}",
     "\ufeff\ufffe\uffff", "𝕏" * 100],
)  # fmt: skip
async def test_text_is_plain_text_and_comes_back_as_it_went(tenant: Tenant, text: str) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        made = await tenant.notify(title=text, message=text, data={"t": text, text: 1})
        (event,) = await device.hear(1)
        for one in (made, event["data"], await tenant.agent().get(f"/notifications/{made['id']}")):
            assert (one["title"], one["message"], one["data"]) == (text, text, {"t": text, text: 1})


async def test_sizes_are_taken_up_to_their_limits(tenant: Tenant) -> None:
    room = 16 * 1024 - len('{"a":""}')
    made = await tenant.notify(
        2**53 - 1,
        title="𝕏" * 200,
        message="ä" * 4000,
        data={"a": "x" * room},
        category="a" * 64,
        related_entity_type="lead",
        related_entity_id="x" * 128,
    )
    assert (len(made["title"]), len(made["message"]), made["user_id"]) == (200, 4000, 2**53 - 1)
    over = note(user_id=1, data={"a": "x" * (room + 1)})
    assert paths(await tenant.service("POST", "/notifications", over)) == {"$.data"}


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        ("2031-01-01T05:30:00+05:30", "2031-01-01T00:00:00Z"),
        ("2030-12-31T16:00:00-08:00", "2031-01-01T00:00:00Z"),
        ("2031-01-01T00:00:00z", "2031-01-01T00:00:00Z"),
        ("2031-01-01 00:00:00Z", "2031-01-01T00:00:00Z"),
        ("2031-01-01T00:00:00.123456Z", "2031-01-01T00:00:00.123456Z"),
        ("2031-01-01T00:00:00.123456789Z", "2031-01-01T00:00:00.123457Z"),
    ],
)
async def test_times_come_with_any_offset_and_are_answered_in_utc(tenant: Tenant, given: str, answered: str) -> None:
    made = await tenant.notify(deliver_at=given)
    assert instant(made["deliver_at"]) == instant(answered)
    assert instant((await tenant.agent().get(f"/notifications/{made['id']}"))["deliver_at"]) == instant(answered)


async def test_user_ids_get_one_each_in_their_order_and_up_to_1000(tenant: Tenant) -> None:
    device = tenant.device(500)
    async with device.on(tenant.node):
        made = (await tenant.service.post("/notifications", note(user_ids=list(range(1000, 0, -1)))))["items"]
        assert [one["user_id"] for one in made] == list(range(1000, 0, -1))
        assert {one["outcome"] for one in made} == {"live"}
        (event,) = await device.hear(1)
        assert event["data"]["id"] == made[500]["id"]


async def test_bulk_makes_up_to_1000_different_ones_in_one_transaction(tenant: Tenant) -> None:
    items = [note(user_id=1 + n % 7, title=f"{n}", priority=["low", "critical"][n % 2]) for n in range(1000)]
    device = tenant.device(1)
    async with device.on(tenant.node):
        made = (await tenant.service.post("/notifications/bulk", {"items": items}))["items"]
        assert [(one["user_id"], one["title"], one["priority"]) for one in made] == [
            (item["user_id"], item["title"], item["priority"]) for item in items
        ]
        mine = [one for one in made if one["user_id"] == 1]
        events = await device.hear(len(mine))
        assert sorted(event["seq"] for event in events) == list(range(1, len(mine) + 1))
        in_order = sorted(events, key=lambda event: event["seq"])
        assert [event["data"]["id"] for event in in_order] == [one["id"] for one in mine]
        assert in_order[-1]["counts"]["unread"] == len(mine)
        assert device.cursor == len(mine)
    assert paths(await tenant.service("POST", "/notifications/bulk", {"items": [*items, items[0]]})) == {"$.items"}
    two_recipients = {"items": [note(user_ids=list(range(1, 600))), note(user_ids=list(range(1, 600)))]}
    assert paths(await tenant.service("POST", "/notifications/bulk", two_recipients)) == {"$.items"}
    assert (await tenant.agent(1).get("/notifications", include="total"))["total"] == len(mine)


async def test_channels_name_where_it_goes(tenant: Tenant) -> None:
    made = await tenant.notify(channels=["email"])
    delivery = (await tenant.agent().get(f"/notifications/{made['id']}/delivery"))["items"]
    assert {one["channel"] for one in delivery} == {"in_app", "email"}
    assert (await tenant.agent().get("/notifications"))["items"] == []


# -- idempotency -----------------------------------------------------------------------------------------------------


async def keyed(caller: Caller, path: str, body: Any, key: str) -> Any:
    return await caller("POST", path, body, idempotency_key=key)


@pytest.mark.parametrize(
    ("role", "path", "body"),
    [
        ("service", "/notifications", note(user_id=1)),
        ("service", "/notifications", note(user_ids=[1, 2])),
        ("service", "/notifications/bulk", {"items": [note(user_id=1), note(user_id=1)]}),
        ("service", "/notifications/withdraw", {"collapse_key": "k"}),
        ("admin", "/notifications/cleanup", {"days": 1}),
        ("agent", "/notifications/actions", {"ids": [0], "action": "read"}),
        ("agent", "/notifications/read-all", {}),
        ("agent", "/notifications/seen", {}),
        ("admin", "/users/77/revoke", None),
    ],
)
async def test_the_same_key_and_bytes_get_the_first_answer_again(
    tenant: Tenant, role: str, path: str, body: Any
) -> None:
    first_one = await tenant.service.post("/notifications", note(user_id=1, collapse_key="k"))
    await tenant.sql("UPDATE notifications SET created_at = created_at - interval '3 d' WHERE id = $1", first_one["id"])
    if body is not None and "ids" in body:
        body = body | {"ids": [first_one["id"]]}
    caller = tenant.caller(role, None if role == "service" else 1)
    raw = b"" if body is None else json.dumps(body).encode()

    async def send(raw: bytes, key: str) -> Any:
        return await caller("POST", path, raw=raw or None, idempotency_key=key)

    first = good(await send(raw, "k-1"))
    before = await heads(tenant)
    # What happens in between must not show in the repetition.
    again = good(await send(raw, "k-1"))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert await heads(tenant) == before
    problem(await send(raw + b" " if raw else b"{}", "k-1"), 422)
    assert await heads(tenant) == before


async def heads(tenant: Tenant) -> Any:
    rows = await tenant.sql(
        "SELECT (SELECT coalesce(sum(head), 0) FROM user_streams WHERE tenant_id = $1) AS heads,"
        " (SELECT count(*) FROM notifications WHERE tenant_id = $1) AS notifications,"
        " (SELECT count(*) FROM audit_log WHERE tenant_id = $1) AS audits",
        tenant.name,
    )
    return tuple(rows[0].values())


async def test_twenty_twins_at_once_make_one_row_and_get_the_same_answer(tenant: Tenant) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        twins = [keyed(tenant.service, "/notifications", note(user_id=1), "twin") for _ in range(20)]
        answers = await asyncio.gather(*twins)
        assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
        await tenant.notify(1, title="after")
        events = await device.hear(2)
        assert [event["data"]["title"] for event in events] == ["A title", "after"]


async def test_twenty_twins_with_other_bytes_make_one_row_and_the_rest_is_422(tenant: Tenant) -> None:
    twins = [keyed(tenant.service, "/notifications", note(user_id=1, title=f"{n}"), "twin") for n in range(20)]
    answers = await asyncio.gather(*twins)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: 19}
    assert (await tenant.agent().get("/notifications", include="total"))["total"] == 1


async def test_a_key_belongs_to_its_tenant_user_and_path(tenant: Tenant, stranger: Tenant) -> None:
    body = note(user_id=1)
    key = (await tenant.admin.post("/api-keys", {"name": "x"}))["key"]
    callers = [tenant.service, tenant.supervisor, tenant.admin, tenant.agent(1), tenant.holding(key), stranger.service]
    ids = {good(await keyed(caller, "/notifications", body, "k")).json()["id"] for caller in callers}
    assert len(ids) == len(callers)
    good(await keyed(tenant.service, "/notifications/bulk", {"items": [body]}, "k"))
    for path in ("/notifications/read-all", "/notifications/seen"):
        good(await keyed(tenant.agent(1), path, {}, "k"))


async def test_only_a_success_is_kept(tenant: Tenant) -> None:
    problem(await keyed(tenant.service, "/notifications", note(user_id=0), "k"), 422)
    missing = await keyed(tenant.agent(), "/notifications/actions", {"ids": [5], "action": "read"}, "j")
    problem(missing, 404)
    good(await keyed(tenant.service, "/notifications", note(user_id=1), "k"))
    mine = await tenant.notify(1)
    good(await keyed(tenant.agent(), "/notifications/actions", {"ids": [mine["id"]], "action": "read"}, "j"))


async def test_a_second_waits_while_the_first_runs_then_is_told_to_come_again(tenant: Tenant) -> None:
    # The first one stands still at the lock of its recipient's stream.
    await tenant.notify(1)
    holder = await asyncpg.connect(tenant.database_url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM user_streams WHERE tenant_id = $1 FOR UPDATE", tenant.name)
            first = asyncio.create_task(keyed(tenant.service, "/notifications", note(user_id=1), "k"))
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            async with asyncio.timeout(5):
                while not await holder.fetchval(waiting):
                    await asyncio.sleep(0.02)
            second = asyncio.create_task(keyed(tenant.service, "/notifications", note(user_id=1), "k"))
            async with asyncio.timeout(3):
                while await holder.fetchval(waiting) < 2:
                    await asyncio.sleep(0.02)
            assert not second.done()
        answers = await asyncio.gather(first, second)
    finally:
        await holder.close()
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content


WRITERS, WRITES = 40, 400


async def test_a_key_holds_however_the_server_dies(
    tenant: Tenant, rest_database_url: str, valkey_server: str, tmp_path: Path
) -> None:
    """Killed under many writes: what was answered is answered the same again, what was not happened at most once."""
    first: dict[int, bytes] = {}
    with Node(rest_database_url, valkey_server, tmp_path).running() as doomed:
        await doomed.ready()
        async with httpx.AsyncClient(base_url=doomed.url) as client:
            caller = Caller(client, tenant.service.bearer)

            async def send_on(begin: int) -> None:
                for n in range(begin, WRITES, WRITERS):
                    answer = await keyed(caller, "/notifications", note(user_id=1 + n % 3, title=f"{n}"), f"k{n}")
                    first[n] = good(answer).content
                    if len(first) == WRITES // 4:
                        doomed.kill()

            ends = await asyncio.gather(*map(send_on, range(WRITERS)), return_exceptions=True)
        assert WRITES // 4 <= len(first) < WRITES, ends
        assert all(isinstance(end, httpx.TransportError) for end in ends)
    happened: set[int] = set()
    for n in range(WRITES):
        body = note(user_id=1 + n % 3, title=f"{n}")
        answer = good(await keyed(tenant.service, "/notifications", body, f"k{n}"))
        assert answer.content == first.get(n, answer.content)
        happened.add(answer.json()["id"])
    assert len(happened) == WRITES
    for user in (1, 2, 3):
        page = await tenant.agent(user).get("/notifications", limit=200)
        assert sorted(int(one["title"]) for one in page["items"]) == [n for n in range(WRITES) if 1 + n % 3 == user]


async def test_an_api_key_made_again_with_its_key_is_the_same_one(tenant: Tenant) -> None:
    first = good(await keyed(tenant.admin, "/api-keys", {"name": "x"}, "k")).json()
    again = good(await keyed(tenant.admin, "/api-keys", {"name": "x"}, "k")).json()
    assert again["id"] == first["id"]
    # Shown once, and stored only hashed: a kept answer cannot have it.
    assert (bool(first["key"]), again["key"]) == (True, "")
    assert len((await tenant.admin.get("/api-keys"))["items"]) == 1


# -- taking back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [{"collapse_key": "k"}, {"related_entity_type": "lead", "related_entity_id": "7"}])
async def test_withdrawn_is_deleted_on_every_device_and_cancelled_where_it_waits(
    tenant: Tenant, by: dict[str, Any]
) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        live, other = await tenant.notify(1, **by), await tenant.notify(1)
        scheduled = await tenant.notify(2, deliver_at=ahead(hours=1), **by)
        by_another = await tenant.supervisor.post("/notifications", note(user_id=1, related_entity_type="lead",
                                                                        related_entity_id="7"))  # fmt: skip
        await device.hear(3)
        assert (await tenant.service.post("/notifications/withdraw", by))["count"] == 2
        (gone,) = await device.hear(1)
        assert (gone["kind"], gone["data"], gone["counts"]["unread"]) == ("notification.deleted", {"id": live["id"]}, 2)
        listed = (await tenant.agent().get("/notifications"))["items"]
        assert [one["id"] for one in listed] == [by_another["id"], other["id"]]
        assert (await tenant.agent(2).get("/notifications", held="true"))["items"] == []
        problem(await tenant.agent(2)("GET", f"/notifications/{scheduled['id']}"), 404)
        assert (await tenant.service.post("/notifications/withdraw", by))["count"] == 0


@pytest.mark.parametrize(
    "by",
    [{}, {"collapse_key": "k", "broadcast_id": 1}, {"related_entity_type": "lead"}, {"related_entity_id": "7"},
     {"collapse_key": None}, {"user_id": 5}],
)  # fmt: skip
async def test_a_withdrawal_names_exactly_one_of_three(tenant: Tenant, by: dict[str, Any]) -> None:
    problem(await tenant.service("POST", "/notifications/withdraw", by), 422)


async def test_a_withdrawal_of_many_users_ends_in_one_answer(tenant: Tenant) -> None:
    await tenant.service.post("/notifications", note(user_ids=list(range(1, 451)), collapse_key="k"))
    answers = await asyncio.gather(
        *(keyed(tenant.service, "/notifications/withdraw", {"collapse_key": "k"}, "w") for _ in range(3))
    )
    assert {answer.content for answer in answers} == {answers[0].content}
    assert (await tenant.sql("SELECT count(*) FROM notifications WHERE tenant_id = $1", tenant.name))[0][0] == 0


# -- positions -------------------------------------------------------------------------------------------------------


async def test_what_is_loaded_over_rest_and_then_listened_to_from_its_position_misses_nothing(tenant: Tenant) -> None:
    """While a producer writes without a pause: page, then socket with the page's position as its first cursor."""
    me = tenant.agent()
    writing = True

    async def produce() -> list[int]:
        made: list[int] = []
        while writing:
            made.append((await tenant.notify(1))["id"])
        return made

    producer = asyncio.create_task(produce())
    try:
        rounds: list[tuple[set[int], Any]] = []
        for path in ("/notifications?limit=200", "/notifications/unread?limit=200", "/notifications/stats"):
            answer = good(await me("GET", f"{BASE}{path}"))
            device = tenant.device()
            device.epoch, device.cursor = position(answer)
            async with device.on(tenant.node):
                assert device.welcome["resume"] == "replay"
                first = await device.hear(5)
            assert first[0]["seq"] == position(answer)[1] + 1
            page = answer.json()
            listed = {one["id"] for one in page["items"]} if "items" in page else set(range(page["total"]))
            assert len(listed) == position(answer)[1] or path.endswith("stats")
            rounds.append((listed, [event["data"]["id"] for event in first]))
    finally:
        writing = False
        made = await producer
    for listed, heard in rounds[:2]:
        after = made[len(listed) :]
        assert listed == set(made[: len(listed)])
        assert heard == after[: len(heard)]


async def test_every_write_answers_the_callers_position(tenant: Tenant) -> None:
    me = tenant.agent()
    empty = good(await me("GET", "/notifications"))
    assert position(empty)[1] == 0
    device = tenant.device()
    device.epoch, device.cursor = position(empty)
    async with device.on(tenant.node):
        assert device.welcome["resume"] == "replay"
        for seq, (method, path, body) in enumerate(
            [
                ("POST", "/notifications", note(user_id=1)),
                ("PUT", "/notifications/{}/read", None),
                ("PUT", "/notifications/{}/unread", None),
                ("PUT", "/notifications/{}/archive", None),
                ("PUT", "/notifications/{}/unarchive", None),
                ("PUT", "/notifications/{}/snooze", {"until": ahead(hours=1)}),
                ("PUT", "/notifications/{}/unsnooze", None),
                ("POST", "/notifications/seen", {}),
                ("POST", "/notifications/actions", {"ids": ["{}"], "action": "archive"}),
                ("PATCH", "/notifications/preferences", {"timezone": "Asia/Kolkata"}),
                ("DELETE", "/notifications/{}", None),
            ],
            start=1,
        ):
            mine = (await tenant.sql("SELECT id FROM notifications WHERE tenant_id = $1", tenant.name)) or [[0]]
            if body is not None and "ids" in body:
                body = body | {"ids": [mine[0][0]]}
            sent = () if body is None else (body,)
            answer = good(await me(method, path.format(mine[0][0]), *sent))
            assert position(answer) == (position(empty)[0], seq), path
            (event,) = await device.hear(1)
            assert event["seq"] == seq
    elsewhere = good(await tenant.service("POST", "/notifications", note(user_id=1)))
    assert "hub-position" not in elsewhere.headers
