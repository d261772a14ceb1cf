"""What time and others do to tasks, as a running hub tells it over the socket by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.processes import Device
from tests.acceptance.rest import Tenant, ahead

pytestmark = pytest.mark.acceptance

OVERDUE_WITHIN_S = 30
"""Promised: a task past its due date becomes overdue by itself within that time."""


async def _hear_until(device: Device, kinds: set[str], within_s: float) -> list[dict[str, Any]]:
    """Every event until each of these kinds has come."""
    while not kinds <= {event["kind"] for event in device.events}:
        await device.hear(1, within_s=within_s)
    return device.events


async def test_a_task_past_due_becomes_overdue_by_itself_and_tells_and_reminds_who_is_on_it(tenant: Tenant) -> None:
    assignee, watcher = tenant.device(11), tenant.device(12)
    async with assignee.on(tenant.node), watcher.on(tenant.node):
        made = await tenant.supervisor.post(
            "/tasks", {"title": "Call back", "priority": "high", "assigned_to": 11, "due_date": ahead(seconds=2)}
        )
        await tenant.supervisor.post(f"/tasks/{made['id']}/assign", {"user_id": 12, "role": "watcher"})
        told = await _hear_until(assignee, {"task.overdue", "notification.created"}, OVERDUE_WITHIN_S)
        overdue = next(event["data"] for event in told if event["kind"] == "task.overdue")
        assert (overdue["id"], overdue["status"]) == (made["id"], "overdue")
        seen = await _hear_until(watcher, {"task.overdue"}, OVERDUE_WITHIN_S)
        assert [event["data"] for event in seen if event["kind"] == "task.overdue"] == [overdue]
        assert await tenant.supervisor.get(f"/tasks/{made['id']}") == overdue | {
            "subtasks_count": 0,
            "comments_count": 0,
        }
        inbox = (await tenant.agent(11).get("/notifications", type="deadline_reminder"))["items"]
        assert len(inbox) == 1
        named = {name: inbox[0][name] for name in ("priority", "related_entity_type", "related_entity_id")}
        assert named == {"priority": "high", "related_entity_type": "task", "related_entity_id": str(made["id"])}


async def test_who_watches_the_free_tasks_hears_that_one_came_and_was_claimed(tenant: Tenant) -> None:
    watching = tenant.device(21)
    async with watching.on(tenant.node):
        assert watching.socket is not None
        await watching.socket.send(
            json.dumps({"type": "call", "id": "1", "method": "tasks.subscribe", "params": {"scope": "unassigned"}})
        )
        while json.loads(await watching.socket.recv())["type"] != "result":
            pass
        made = await tenant.supervisor.post("/tasks", {"title": "Whoever"})
        won = await tenant.agent(22).post(f"/tasks/{made['id']}/claim")
        heard: list[dict[str, Any]] = []
        while len(heard) < 2:
            frame = json.loads(await watching.socket.recv())
            if frame.get("kind") == "tasks.changed":
                heard.append(frame["data"])
        assert [(one["id"], one["version"], one["assigned_to"]) for one in heard] == [
            (made["id"], made["version"], None),
            (made["id"], won["version"], 22),
        ]
