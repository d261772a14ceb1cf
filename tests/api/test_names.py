"""Names beside ids: whoever an answer names has their name there, where they have one; events carry ids alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.rest import Caller
from tests.api.whole import Whole

TENANT = "names"
ADA, GRACE, NOBODY = 1, 2, 3


@pytest.fixture
async def office(hub: Whole) -> tuple[Caller, Caller]:
    """A supervisor and an agent with names; a third person has none."""
    admin = hub.caller(TENANT, "admin", 9)
    await admin.put(f"/users/{ADA}", {"display_name": "Ada"})
    await admin.put(f"/users/{GRACE}", {"display_name": "Grace"})
    return hub.caller(TENANT, "supervisor", ADA), hub.caller(TENANT, "agent", GRACE)


def names(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name.endswith("_name")}


async def test_of_tasks(office: tuple[Caller, Caller]):
    ada, grace = office
    both = {"assigned_to_name": "Grace", "created_by_name": "Ada"}
    task = await ada.post("/tasks", {"title": "t", "assigned_to": GRACE, "lead_id": 5})
    assert names(task) == both
    path = f"/tasks/{task['id']}"
    below = await ada.post("/tasks", {"title": "b", "parent_task_id": task["id"], "assigned_to": NOBODY})
    assert names(below) == {"created_by_name": "Ada"}
    assert names(await grace.get(path)) == both
    assert names((await grace.get(f"{path}/subtasks"))["items"][0]) == {"created_by_name": "Ada"}
    for where in ("/tasks", "/tasks/lead/5"):
        listed = {one["id"]: names(one) for one in (await ada.get(where))["items"]}
        assert listed[task["id"]] == both
    assert names((await ada.post("/tasks/bulk", {"items": [{"id": task["id"], "title": "u"}]}))["items"][0]) == both
    assert names(await grace.post(f"{path}/start")) == both
    assert names(await ada.put(path, await grace.get(path))) == both
    assert names(await ada.patch(path, {"assigned_to": NOBODY})) == {"created_by_name": "Ada"}
    free = await ada.post("/tasks", {"title": "free"})
    assert names(await grace.post(f"/tasks/{free['id']}/claim")) == both


async def test_of_who_is_on_a_task_and_what_they_say_and_did(office: tuple[Caller, Caller]):
    ada, grace = office
    task = await ada.post("/tasks", {"title": "t"})
    path = f"/tasks/{task['id']}"
    both = {"user_name": "Grace", "assigned_by_name": "Ada"}
    assert names(await ada.post(f"{path}/assign", {"user_id": GRACE})) == both
    assert names(await grace.post(f"{path}/assign/accept")) == both
    assert [names(one) for one in (await ada.get(f"{path}/assignments"))["items"]] == [both]
    said = await grace.post(f"{path}/comments", {"comment": "c"})
    assert names(said) == {"user_name": "Grace"}
    assert names(await grace.put(f"{path}/comments/{said['id']}", said)) == {"user_name": "Grace"}
    assert [names(one) for one in (await ada.get(f"{path}/comments"))["items"]] == [{"user_name": "Grace"}]
    assert {one["actor_name"] for one in (await ada.get(f"{path}/history"))["items"]} == {"Ada", "Grace"}


async def test_of_notifications(office: tuple[Caller, Caller], hub: Whole):
    ada, grace = office
    said = {"user_id": GRACE, "type": "system", "title": "t", "message": "m"}
    made = await ada.post("/notifications", said)
    signed = {"created_by_name": "Ada"}
    assert names(made) == signed
    path = f"/notifications/{made['id']}"
    for step in ("read", "unread", "archive", "unarchive"):
        assert names(await grace.put(f"{path}/{step}")) == signed
    assert names(await grace.put(f"{path}/snooze", {"until": "2100-01-01T00:00:00Z"})) == signed
    assert names(await grace.put(f"{path}/unsnooze")) == signed
    acted = await grace.post("/notifications/actions", {"ids": [made["id"]], "action": "read"})
    assert names(acted["items"][0]) == signed
    assert names(await grace.get(path)) == names((await grace.get("/notifications"))["items"][0]) == signed
    produced = await hub.caller(TENANT, "service", None).post("/notifications", said)
    assert names(produced) == {}


async def test_events_carry_ids_alone(office: tuple[Caller, Caller], hub: Whole):
    ada, _ = office
    await ada.post("/tasks", {"title": "t", "assigned_to": GRACE})
    rows = await hub.world.sql("SELECT tail FROM events WHERE user_id = $1", GRACE, tenant=TENANT)
    assert rows
    assert not any(b"_name" in row["tail"] for row in rows)
