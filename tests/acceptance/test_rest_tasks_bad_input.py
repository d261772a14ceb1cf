"""Bad input of tasks, and of every route that the document of a running hub lists."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.acceptance.rest import ABSENT, BASE, Tenant, good, note, paths, problem

pytestmark = pytest.mark.acceptance

ID_MAX = 2**53 - 1


async def task(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    return await tenant.supervisor.post("/tasks", {"title": "A task", **fields})


# -- what a task cannot become ----------------------------------------------------------------------------------------


async def test_a_cycle_of_parents_is_409_however_it_is_asked_for(tenant: Tenant) -> None:
    boss = tenant.supervisor
    first = await task(tenant)
    second = await task(tenant, parent_task_id=first["id"])
    third = await task(tenant, parent_task_id=second["id"])
    for below in (first, second, third):
        change = {"parent_task_id": below["id"]}
        problem(await boss("PATCH", f"/tasks/{first['id']}", change), 409)
        problem(await boss("PUT", f"/tasks/{first['id']}", {"title": "A task"} | change), 409)
        problem(await boss("POST", "/tasks/bulk", {"items": [{"id": first["id"]} | change]}), 409)
    both = [{"id": first["id"], "parent_task_id": third["id"]}, {"id": third["id"], "parent_task_id": None}]
    problem(await boss("POST", "/tasks/bulk", {"items": both}), 409)
    tree = (await boss.get(f"/tasks/{first['id']}/subtasks"))["items"]
    assert (tree[0]["id"], tree[0]["subtasks"][0]["id"]) == (second["id"], third["id"])
    assert (await boss.get(f"/tasks/{first['id']}"))["version"] == 1


@pytest.mark.parametrize(
    ("steps", "state", "refused"),
    [
        ((), "pending", ("reopen",)),
        (("start",), "in_progress", ("start", "reopen")),
        (("complete",), "completed", ("start", "cancel", "complete")),
        (("cancel",), "cancelled", ("start", "complete", "cancel")),
    ],
)
async def test_an_illegal_move_is_409_and_names_the_state(
    tenant: Tenant, steps: tuple[str, ...], state: str, refused: tuple[str, ...]
) -> None:
    boss, made = tenant.supervisor, await task(tenant)
    for step in steps:
        await boss.post(f"/tasks/{made['id']}/{step}")
    for step in refused:
        said = problem(await boss("POST", f"/tasks/{made['id']}/{step}"), 409)
        assert said["state"] == state
        assert state in said["detail"]
    assert (await boss.get(f"/tasks/{made['id']}"))["status"] == state


async def test_a_completed_task_is_not_cancelled_by_any_way(tenant: Tenant) -> None:
    boss, made = tenant.supervisor, await task(tenant)
    await boss.post(f"/tasks/{made['id']}/complete")
    for method, path, body in (
        ("POST", f"/tasks/{made['id']}/cancel", ABSENT),
        ("POST", f"/tasks/{made['id']}/cancel?cascade=true", ABSENT),
        ("PATCH", f"/tasks/{made['id']}", {"status": "cancelled"}),
        ("PUT", f"/tasks/{made['id']}", {"title": "A task", "status": "cancelled"}),
        ("POST", "/tasks/bulk", {"items": [{"id": made["id"], "status": "cancelled"}]}),
    ):
        assert problem(await boss(method, path, body), 409)["state"] == "completed"
    assert (await boss.get(f"/tasks/{made['id']}"))["status"] == "completed"


async def test_of_a_hundred_who_claim_at_once_one_wins_and_the_rest_are_told_who(tenant: Tenant) -> None:
    made = await task(tenant)
    answers = await asyncio.gather(
        *(tenant.agent(user)("POST", f"/tasks/{made['id']}/claim") for user in range(1, 101))
    )
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    winner = won[0].json()["assigned_to"]
    lost = [problem(answer, 409)["winner"] for answer in answers if answer.status_code != 200]
    assert lost == [winner] * 99
    assert (await tenant.supervisor.get(f"/tasks/{made['id']}"))["assigned_to"] == winner


async def test_an_if_match_of_yesterday_is_412_and_changes_nothing(tenant: Tenant) -> None:
    boss, made = tenant.supervisor, await task(tenant)
    path = f"/tasks/{made['id']}"
    await boss.patch(path, {"title": "Today's"})
    for tag in ('"1"', '"3"', 'W/"2"', '"x"', '"1", "3"', '""', '"9007199254740993"'):
        for method, where, body in (
            ("PUT", path, {"title": "Lost"}),
            ("PATCH", path, {"title": "Lost"}),
            ("DELETE", path, ABSENT),
            *(("POST", f"{path}/{step}", ABSENT) for step in ("start", "complete", "cancel")),
        ):
            problem(await boss(method, where, body, if_match=tag), 412)
    problem(await boss("POST", "/tasks/bulk", {"items": [{"id": made["id"], "version": 1, "title": "Lost"}]}), 412)
    for tag in ("2", '"2', "yesterday", '"2" "3"'):
        assert paths(await boss("PATCH", path, {"title": "Lost"}, if_match=tag)) == {"header.If-Match"}
    now = await boss.get(path)
    assert (now["title"], now["version"], now["status"]) == ("Today's", 2, "pending")
    good(await boss("PATCH", path, {"title": "Known"}, if_match='"1", "2"'))
    good(await boss("PATCH", path, {"title": "Whatever"}, if_match="*"))


async def test_a_cursor_of_another_list_is_422(tenant: Tenant) -> None:
    boss = tenant.supervisor
    old = {"due_date": "2020-01-01T00:00:00Z", "lead_id": 5}
    made = [await task(tenant, **old) for _ in range(3)]
    for _ in range(2):
        await boss.post(f"/tasks/{made[0]['id']}/comments", {"comment": "Well"})
        await boss.patch(f"/tasks/{made[0]['id']}", {"progress_percentage": 50})
        await boss.patch(f"/tasks/{made[0]['id']}", {"progress_percentage": 60})
        await tenant.notify(800)
    # Figures say that every list has a second page; one task's comments and history are lists of their own.
    lists = ["/tasks", "/tasks/overdue", "/tasks/lead/5", f"/tasks/{made[0]['id']}/comments",
             f"/tasks/{made[0]['id']}/history", "/notifications", "/notifications/unread"]  # fmt: skip
    cursors = {path: (await boss.get(path, limit=1))["next_cursor"] for path in lists}
    assert all(cursors.values())
    for path in lists:
        for source, cursor in cursors.items():
            answer = await boss("GET", path, query={"cursor": cursor, "limit": 1})
            if source == path:
                good(answer)
            else:
                assert paths(answer) == {"query.cursor"}, (source, path)
    answer = await boss("GET", "/tasks", query={"cursor": cursors["/tasks"], "sort": "due_date"})
    assert paths(answer) == {"query.cursor"}


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'{"title": "x", "progress_percentage": NaN}', 400),
        (b'{"title": "x", "progress_percentage": -Infinity}', 400),
        (b'{"title": NaN}', 400),
        (b'{"title": "x", "assigned_to": 9007199254740992}', 422),
        (b'{"title": "x", "assigned_to": 9223372036854775808}', 422),
        (b'{"title": "x", "assigned_to": -9223372036854775809}', 422),
        (b'{"title": "x", "lead_id": 1' + b"0" * 400 + b"}", 422),
        (b'{"title": "x", "parent_task_id": 1' + b"0" * 5000 + b"}", 422),
        (b'{"title": "x", "estimated_duration_min": 2147483648}', 422),
        (b'{"title": "x", "progress_percentage": 1e999}', 422),
        (b'{"title": "x", "progress_percentage": 50.5}', 422),
        (b'{"title": "x", "progress_percentage": true}', 422),
        (b'{"title": "x", "progress_percentage": "50"}', 422),
        (b'{"title": "x", "due_date": "2030-01-01T00:00:00"}', 422),
        (b'{"title": "x", "due_date": "2030-01-01"}', 422),
        (b'{"title": "x", "scheduled_at": "2030-01-01 00:00:00"}', 422),
        (b'{"title": "x", "scheduled_at": 1893456000}', 422),
        (b'{"title": "x", "due_date": "2030-02-30T00:00:00Z"}', 422),
        (b'{"title": "x", "tags": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"title": "x", "tags": ' + b"[" * 500 + b"]" * 500 + b"}", 422),
        (b'{"title": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}", 422),
        (b'{"title": "x", "title": 5}', 422),
        (b'{"title": "x", "\xff": 1}', 400),
        (b'{"title": "x"} x', 400),
    ],
)
async def test_a_value_that_is_none_is_refused_and_nothing_is_made(tenant: Tenant, raw: bytes, status: int) -> None:
    problem(await tenant.supervisor("POST", "/tasks", raw=raw), status)
    assert (await tenant.supervisor.get("/tasks", include="total"))["total"] == 0


async def test_of_members_of_one_name_the_last_counts(tenant: Tenant) -> None:
    answer = good(await tenant.supervisor("POST", "/tasks", raw=b'{"title": 5, "title": "first", "title": "last"}'))
    assert answer.json()["title"] == "last"


@pytest.mark.parametrize("name", ["due_before", "due_after"])
async def test_an_instant_of_a_query_has_an_offset(tenant: Tenant, name: str) -> None:
    for text in ("2030-01-01T00:00:00", "2030-01-01", "tomorrow", "1893456000"):
        assert paths(await tenant.supervisor("GET", "/tasks", query={name: text})) == {f"query.{name}"}
    good(await tenant.supervisor("GET", "/tasks", query={name: "2030-01-01T00:00:00+14:00"}))


# -- every route of the document --------------------------------------------------------------------------------------


async def operations(tenant: Tenant) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, a path that can be called, and what the running hub's own document says."""
    document = good(await tenant.client.get("/openapi.json")).json()
    return [
        (method.upper(), re.sub(r"\{\w+\}", "1", path), one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]


async def test_every_body_is_bounded_json_and_says_so(tenant: Tenant) -> None:
    """An admin may call every route, so that nothing refuses before the body is looked at."""
    seen = 0
    for method, path, one in await operations(tenant):
        if "requestBody" not in one:
            continue
        seen += 1
        for raw in (b"{", b"not json", b"\xff", b'{"a": NaN}', b"[" * 100_000, b"{} {}"):
            problem(await tenant.admin(method, path, raw=raw), 400)
        for raw in (b"[]", b"5", b'"x"'):
            problem(await tenant.admin(method, path, raw=raw), 422)
        # The members of a merge patch are judged with the row that it is for, and here there is none.
        is_of_none = method == "PATCH" and path.endswith("/1")
        problem(await tenant.admin(method, path, {"no_such_field": 1}), 404 if is_of_none else 422)
        for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", ""):
            problem(await tenant.admin(method, path, {}, content_type=kind), 415)
        size = 17 if path.endswith("/bulk") else 10
        problem(await tenant.admin(method, path, raw=b" " * (size << 20)), 413)
    assert seen > 25


async def test_every_other_method_of_every_path_is_405_with_allow(tenant: Tenant) -> None:
    known: dict[str, set[str]] = {}
    for method, path, _ in await operations(tenant):
        known.setdefault(path, set()).add(method)
    for path, methods in known.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
            answer = await tenant.admin(method, path)
            problem(answer, 405)
            allowed = set(answer.headers["allow"].replace(" ", "").split(","))
            assert allowed - {"HEAD", "OPTIONS"} == methods, path


async def test_a_body_where_none_is_taken_is_422(tenant: Tenant) -> None:
    for method, path, one in await operations(tenant):
        if "requestBody" not in one and path.startswith(BASE):
            assert "$" in paths(await tenant.admin(method, path, note()))
