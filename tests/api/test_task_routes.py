"""Tasks over HTTP, down to PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.store.pool import Database
from tests.api.test_notification_routes import Site
from tests.app.world import World
from tests.conftest import Databases

BOSS = "supervisor-1"


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def site(module_database_url: str) -> AsyncIterator[Site]:
    database = await Database.connect(module_database_url, pool_max=4)
    made = Site(World(database))
    yield made
    await made.client.aclose()
    await database.close()


async def make(site: Site, who: str = BOSS, **fields: Any) -> dict[str, Any]:
    answer = await site.call(who, "POST", "/tasks", {"title": "A task", **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["etag"] == '"1"'
    return answer.json()


async def test_only_a_title_is_required_and_the_rest_has_its_default(site: Site):
    task = await make(site)
    assert {name: task[name] for name in ("priority", "status", "due_date", "tags", "version", "created_by")} == {
        "priority": "normal",
        "status": "pending",
        "due_date": None,
        "tags": [],
        "version": 1,
        "created_by": 1,
    }
    refused = await site.call(BOSS, "POST", "/tasks", {"titel": "x"})
    assert {one["path"] for one in refused.json()["errors"]} == {"$.title", "$.titel"}


async def test_get_change_put_works_and_what_put_leaves_out_takes_its_default(site: Site):
    task = await make(site, description="Long", tags=["a"], assigned_to=7)
    found = (await site.call(BOSS, "GET", f"/tasks/{task['id']}")).json()
    assert (found["subtasks_count"], found["comments_count"]) == (0, 0)
    answer = await site.call(BOSS, "PUT", f"/tasks/{task['id']}", {**found, "title": "B"}, if_match='"1"')
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert "hub-position" in answer.headers
    lost = await site.call(BOSS, "PUT", f"/tasks/{task['id']}", {**found, "title": "C"}, if_match='"1"')
    assert lost.status_code == 412
    bare = (await site.call(BOSS, "PUT", f"/tasks/{task['id']}", {"title": "C"})).json()
    assert (bare["description"], bare["tags"], bare["assigned_to"], bare["version"]) == (None, [], None, 3)


async def test_a_merge_patch_changes_what_it_names(site: Site):
    task = await make(site, description="Long", tags=["a"])
    patched = await site.call(BOSS, "PATCH", f"/tasks/{task['id']}", {"description": None, "status": "in_progress"})
    assert patched.status_code == 200, patched.text
    assert (patched.json()["description"], patched.json()["status"], patched.json()["tags"]) == (
        None,
        "in_progress",
        ["a"],
    )
    refused = await site.call(BOSS, "PATCH", f"/tasks/{task['id']}", {"status": "pending"})
    assert (refused.status_code, refused.json()["state"]) == (409, "in_progress")
    assert (await site.call(BOSS, "PATCH", f"/tasks/{task['id']}", {"title": " "})).status_code == 422


async def test_every_move_has_its_address(site: Site):
    task = await make(site, assigned_to=7)
    path = f"/tasks/{task['id']}"
    for move, status in (("start", "in_progress"), ("complete", "completed"), ("reopen", "pending")):
        assert (await site.call("agent-7", "POST", f"{path}/{move}")).json()["status"] == status
    refused = await site.call("agent-7", "POST", f"{path}/reopen")
    assert (refused.status_code, refused.json()["state"]) == (409, "pending")
    assert (await site.call("agent-7", "POST", f"{path}/cancel?cascade=true")).json()["status"] == "cancelled"


async def test_bulk_makes_and_patches_and_names_what_is_wrong(site: Site):
    task = await make(site)
    made = await site.call(BOSS, "POST", "/tasks/bulk", {"items": [{"title": "x"}, {"title": "y"}]})
    assert (made.status_code, [one["title"] for one in made.json()["items"]]) == (201, ["x", "y"])
    items = [{"id": task["id"], "assigned_to": 9, "version": 1}, {"title": "z"}]
    mixed = await site.call(BOSS, "POST", "/tasks/bulk", {"items": items})
    assert (mixed.status_code, mixed.json()["items"][0]["assigned_to"]) == (200, 9)
    assert (await site.call(BOSS, "POST", "/tasks/bulk", {"items": items})).status_code == 412
    wrong = await site.call(BOSS, "POST", "/tasks/bulk", {"items": [{"title": ""}, {"id": task["id"], "nope": 1}]})
    assert wrong.status_code == 422
    assert {one["path"] for one in wrong.json()["errors"]} == {"$.items[0].title"}
    wrong = await site.call(BOSS, "POST", "/tasks/bulk", {"items": [{"id": task["id"], "nope": 1}]})
    assert {one["path"] for one in wrong.json()["errors"]} == {"$.items[0].nope"}
    assert (await site.call("service-0", "POST", "/tasks/bulk", {"items": [{"title": "x"}]})).status_code == 201


async def test_the_second_claim_names_the_winner_and_a_repeated_one_gets_its_answer_again(site: Site):
    task = await make(site)
    won = await site.call("agent-21", "POST", f"/tasks/{task['id']}/claim", idempotency_key="k")
    again = await site.call("agent-21", "POST", f"/tasks/{task['id']}/claim", idempotency_key="k")
    assert (won.status_code, again.content) == (200, won.content)
    lost = await site.call("agent-22", "POST", f"/tasks/{task['id']}/claim")
    assert (lost.status_code, lost.json()["winner"]) == (409, 21)
    assert (await site.call("stranger-22", "POST", f"/tasks/{task['id']}/claim")).status_code == 404


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "due_date", "-due_date", "priority", "-updated_at"])
async def test_pages_of_every_order_have_each_task_once(site: Site, sort: str):
    lead = 1000 + len(sort) * 7 + sort.count("-") + ord(sort[1])
    due = datetime(2030, 1, 1, tzinfo=UTC)
    items = [
        {
            "title": f"{n}",
            "lead_id": lead,
            "priority": ("low", "critical")[n % 2],
            "due_date": None if n == 3 else (due - timedelta(days=n)).isoformat(),
        }
        for n in range(7)
    ]
    made = (await site.call(BOSS, "POST", "/tasks/bulk", {"items": items})).json()["items"]
    seen: list[int] = []
    path = f"/tasks/lead/{lead}?limit=3&include=total&sort={sort}"
    cursor = ""
    while True:
        page = (await site.call(BOSS, "GET", path + cursor)).json()
        assert page["total"] == 7
        seen += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(one["id"] for one in made)
    if sort == "due_date":
        assert seen[0] == made[6]["id"]
        assert seen[-1] == made[3]["id"]


async def test_filters_find_what_they_name(site: Site):
    lead = 77
    one = await make(site, lead_id=lead, task_type="call", due_date="2030-01-01T00:00:00Z", priority="high")
    two = await make(
        site, lead_id=lead, assigned_to=31, group="sales", title="50% off_er", due_date="2031-01-01T00:00:00Z"
    )

    async def ids(query: str, who: str = BOSS) -> set[int]:
        answer = await site.call(who, "GET", f"/tasks?limit=200&{query}")
        assert answer.status_code == 200, answer.text
        return {task["id"] for task in answer.json()["items"]} & {one["id"], two["id"]}

    assert await ids("lead_id=77") == {one["id"], two["id"]}
    assert await ids("task_type=call,mail") == {one["id"]}
    assert await ids("unassigned=true") == {one["id"]}
    assert await ids("unassigned=false") == {two["id"]}
    assert await ids("group=sales") == {two["id"]}
    assert await ids("priority=high") == {one["id"]}
    assert await ids("status=pending,overdue&assigned_to=31") == {two["id"]}
    assert await ids("due_before=2030-06-01T00:00:00Z") == {one["id"]}
    assert await ids("due_after=2030-06-01T00:00:00Z") == {two["id"]}
    assert await ids("q=50%25") == {two["id"]}
    assert await ids("q=off_er") == {two["id"]}
    assert await ids("q=offXer") == set()
    assert await ids("lead_id=77", "agent-31") == {one["id"], two["id"]}
    assert await ids("lead_id=77", "agent-32") == {one["id"]}
    assert (await site.call("agent-31", "GET", "/tasks?assigned_to=1")).status_code == 403
    assert (await site.call("service-0", "GET", "/tasks")).status_code == 403


async def test_comments_assignments_and_history(site: Site):
    task = await make(site, assigned_to=41)
    path = f"/tasks/{task['id']}"
    said = await site.call(
        "agent-41", "POST", f"{path}/comments", {"comment": "Hm", "attachment_urls": ["https://a.b/c"]}
    )
    assert said.status_code == 201, said.text
    bad = await site.call("agent-41", "POST", f"{path}/comments", {"comment": "Hm", "attachment_urls": ["ftp://a/c"]})
    assert bad.status_code == 422
    listed = (await site.call(BOSS, "GET", f"{path}/comments?include=total")).json()
    assert (listed["total"], listed["items"]) == (1, [said.json()])
    one = f"{path}/comments/{said.json()['id']}"
    assert (await site.call(BOSS, "PUT", one, {"comment": "Mine"})).status_code == 403
    assert (await site.call("agent-41", "PUT", one, {**said.json(), "comment": "Aha"})).json()["comment"] == "Aha"
    assert (await site.call(BOSS, "DELETE", one)).status_code == 204
    assert (await site.call(BOSS, "DELETE", one)).status_code == 404
    body = {"user_id": 42, "role": "reviewer", "responsibility_percentage": 20}
    assigned = await site.call(BOSS, "POST", f"{path}/assign", body)
    assert (assigned.status_code, assigned.json()["role"]) == (201, "reviewer")
    assert (await site.call("agent-42", "POST", f"{path}/assign/accept")).json()["accepted_at"] is not None
    everyone = (await site.call("agent-42", "GET", f"{path}/assignments")).json()["items"]
    assert [(each["user_id"], each["role"]) for each in everyone] == [(41, "assignee"), (42, "reviewer")]
    assert (await site.call("agent-42", "PATCH", path, {"title": "x"})).status_code == 403
    assert (await site.call("agent-42", "DELETE", f"{path}/assign/42")).status_code == 204
    assert (await site.call("agent-42", "GET", path)).status_code == 404
    history = (await site.call(BOSS, "GET", f"{path}/history")).json()["items"]
    assert [entry["action"] for entry in history] == [
        "unassign", "assign.accept", "assign", "comment.delete", "comment.update", "comment.create", "create",
    ]  # fmt: skip


async def test_a_tree_and_its_end(site: Site):
    task = await make(site)
    below = await make(site, parent_task_id=task["id"])
    tree = (await site.call(BOSS, "GET", f"/tasks/{task['id']}/subtasks")).json()
    assert [one["id"] for one in tree["items"]] == [below["id"]]
    assert (await site.call(BOSS, "PATCH", f"/tasks/{task['id']}", {"parent_task_id": below["id"]})).status_code == 409
    assert (await site.call(BOSS, "POST", f"/tasks/{task['id']}/complete")).status_code == 409
    assert (await site.call(BOSS, "DELETE", f"/tasks/{task['id']}")).status_code == 409
    assert (await site.call(BOSS, "DELETE", f"/tasks/{task['id']}?cascade=true")).status_code == 204
    assert (await site.call(BOSS, "GET", f"/tasks/{below['id']}")).status_code == 404


async def test_figures_and_what_is_late(site: Site):
    late = await make(site, assigned_to=51, due_date="2020-01-01T00:00:00Z")
    await make(site, assigned_to=51, priority="low")
    figures = (await site.call("agent-51", "GET", "/tasks/stats")).json()
    assert (figures["total"], figures["by_status"]["pending"], figures["by_priority"]["low"]) == (2, 2, 1)
    assert (await site.call(BOSS, "GET", "/tasks/stats?user_id=51")).json() == figures
    overdue = (await site.call("agent-51", "GET", "/tasks/overdue")).json()["items"]
    assert [one["id"] for one in overdue] == [late["id"]]
