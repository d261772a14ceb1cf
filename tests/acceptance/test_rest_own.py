"""What people do with their own notifications: what is answered, what every device is told, what the badge shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.rest import Tenant, ahead, good, instant, note, paths, problem

pytestmark = pytest.mark.acceptance


def badge(counts: Any) -> tuple[int, int]:
    return counts["unread"], counts["unseen"]


async def unread_of(tenant: Tenant, user: int = 1) -> list[int]:
    return [one["id"] for one in (await tenant.agent(user).get("/notifications/unread", limit=200))["items"]]


async def history_of(tenant: Tenant, user: int = 1, **query: Any) -> list[int]:
    return [one["id"] for one in (await tenant.agent(user).get("/notifications", limit=200, **query))["items"]]


async def test_each_step_is_told_to_every_device_and_done_twice_it_is_told_once(tenant: Tenant) -> None:
    me, device, other = tenant.agent(), tenant.device(), tenant.device()
    async with device.on(tenant.node), other.on(tenant.node):
        made = await tenant.notify(priority="high")
        await asyncio.gather(device.hear(1), other.hear(1))
        steps: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
            ("read", {"is_read": True, "is_seen": True}, (0, 0)),
            ("unread", {"is_read": False, "read_at": None, "is_seen": True}, (1, 0)),
            ("archive", {"is_archived": True}, (0, 0)),
            ("unarchive", {"is_archived": False, "archived_at": None}, (1, 0)),
        ]
        for step, shown, counts in steps:
            after = await me.put(f"/notifications/{made['id']}/{step}")
            assert {name: after[name] for name in shown} == shown, step
            assert await me.put(f"/notifications/{made['id']}/{step}") == after
            (event,), (same,) = await asyncio.gather(device.hear(1), other.hear(1))
            assert event["data"] == after == same["data"]
            assert (event["kind"], "counts" in event) == ("notification.updated", True)
            assert badge(event["counts"]) == counts, step
            assert await me.get(f"/notifications/{made['id']}") == after
        await me.delete(f"/notifications/{made['id']}")
        (event,) = await device.hear(1)
        assert (event["kind"], event["data"]) == ("notification.deleted", {"id": made["id"]})
        assert badge(event["counts"]) == (0, 0)
        assert event["seq"] == 6
        problem(await me("DELETE", f"/notifications/{made['id']}"), 404)


async def test_reading_sets_read_at_once(tenant: Tenant) -> None:
    made = await tenant.notify()
    first = await tenant.agent().put(f"/notifications/{made['id']}/read")
    assert instant(first["read_at"]) >= instant(made["created_at"])
    assert instant(first["updated_at"]) > instant(made["updated_at"])
    assert (await tenant.agent().put(f"/notifications/{made['id']}/read"))["read_at"] == first["read_at"]


async def test_actions_are_one_transaction_over_up_to_200(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    made = (await tenant.service.post("/notifications/bulk", {"items": [note(user_id=1)] * 200}))["items"]
    ids = [one["id"] for one in made]
    async with device.on(tenant.node):
        for action, unread in (("read", 0), ("unread", 200), ("archive", 0), ("unarchive", 200), ("delete", 0)):
            done = await me.post("/notifications/actions", {"ids": ids, "action": action})
            assert [one["id"] for one in done["items"]] == ([] if action == "delete" else ids)
            assert done["deleted"] == (ids if action == "delete" else [])
            events = await device.hear(200)
            assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + 200))
            assert events[-1]["counts"]["unread"] == unread == len(await unread_of(tenant))
    for bad in ({"ids": [*ids, 1], "action": "read"}, {"ids": [], "action": "read"}):
        assert paths(await me("POST", "/notifications/actions", bad)) == {"$.ids"}
    assert paths(await me("POST", "/notifications/actions", {"ids": [1], "action": "snooze"})) == {"$.action"}


async def test_an_id_named_twice_is_done_once(tenant: Tenant) -> None:
    made = await tenant.notify()
    done = await tenant.agent().post("/notifications/actions", {"ids": [made["id"]] * 2, "action": "delete"})
    assert (done["deleted"], done["missing"]) == ([made["id"]], [])


@pytest.mark.parametrize(("path", "kind"), [("read-all", "notifications.read_all"), ("seen", "notifications.seen")])
async def test_all_that_is_live_is_read_or_seen_in_one_event(tenant: Tenant, path: str, kind: str) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        for priority in ("critical", "low", "normal"):
            await tenant.notify(priority=priority)
        held = await tenant.notify(deliver_at=ahead(hours=1))
        await device.hear(3)
        done = await me.post(f"/notifications/{path}")
        assert (done["count"], done["before_seq"]) == (3, 3)
        (event,) = await device.hear(1)
        assert (event["kind"], event["data"]) == (kind, {"before_seq": 3, "count": 3})
        assert event["counts"] == done["counts"]
        assert badge(done["counts"]) == ((0, 0) if path == "read-all" else (3, 0))
        assert (await me.post(f"/notifications/{path}"))["count"] == 0
        untouched = (await me.get("/notifications", held="true"))["items"]
        assert [(one["id"], one["is_read"], one["is_seen"]) for one in untouched] == [(held["id"], False, False)]
        shown = (await me.get("/notifications"))["items"]
        assert {(one["is_read"], one["is_seen"]) for one in shown} == {(path == "read-all", True)}
        assert all((one["read_at"] is not None) == (path == "read-all") for one in shown)


@pytest.mark.parametrize("path", ["read-all", "seen"])
async def test_before_is_by_the_order_of_going_live_and_not_by_id(tenant: Tenant, path: str) -> None:
    me, device = tenant.agent(), tenant.device()
    name = "is_read" if path == "read-all" else "is_seen"
    async with device.on(tenant.node):
        late = await tenant.notify(title="lowest id, live last", deliver_at=ahead(seconds=1))
        first = await tenant.notify(title="first")
        before = await tenant.notify(title="the one that was seen last")
        after = await tenant.notify(title="arrived meanwhile")
        *_, released = await device.hear(4)
        assert (released["data"]["id"], released["data"]["released"]) == (late["id"], True)
        assert late["id"] < before["id"]
        assert (await me.post(f"/notifications/{path}", {"before": before["id"]}))["count"] == 2
        (event,) = await device.hear(1)
        assert event["data"] == {"before_seq": 2, "count": 2}
        marked = {one["id"]: one[name] for one in (await me.get("/notifications"))["items"]}
        assert marked == {first["id"]: True, before["id"]: True, after["id"]: False, late["id"]: False}


async def test_before_that_is_unknown_or_has_not_been_live_changes_nothing(tenant: Tenant) -> None:
    me = tenant.agent()
    held = await tenant.notify(deliver_at=ahead(hours=1))
    live = await tenant.notify()
    for path in ("read-all", "seen"):
        problem(await me("POST", f"/notifications/{path}", {"before": 2**53 - 1}), 404)
        problem(await me("POST", f"/notifications/{path}", {"before": held["id"]}), 409)
    assert await unread_of(tenant) == [live["id"]]


async def test_snoozed_it_is_unread_held_and_out_of_the_counts_and_comes_back_live(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        made = await tenant.notify()
        await me.put(f"/notifications/{made['id']}/read")
        await device.hear(2)
        until = ahead(seconds=1.5)
        after = await me.put(f"/notifications/{made['id']}/snooze", {"until": until})
        assert (after["is_read"], after["is_seen"], after["read_at"]) == (False, False, None)
        assert abs((instant(after["held_until"]) - instant(until.replace("+00:00", "Z"))).total_seconds()) < 0.001
        (event,) = await device.hear(1)
        assert (event["kind"], event["data"]) == ("notification.updated", after)
        assert event.get("counts", {"unread": 0})["unread"] == 0
        assert await history_of(tenant) == []
        assert await unread_of(tenant) == []
        assert await history_of(tenant, held="true") == [made["id"]]
        (back,) = await device.hear(1, within_s=8)
        assert (back["kind"], back["data"]["released"], back["data"]["id"]) == (
            "notification.created", True, made["id"],
        )  # fmt: skip
        assert badge(back["counts"]) == (1, 1)
        assert back["data"]["held_until"] is None
        assert instant(back["at"]) >= instant(after["held_until"])
        assert await unread_of(tenant) == [made["id"]]


async def test_an_unread_one_leaves_the_counts_when_it_is_snoozed_and_unsnoozed_is_back(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        made = await tenant.notify(priority="critical")
        await device.hear(1)
        await me.put(f"/notifications/{made['id']}/snooze", {"until": ahead(days=1)})
        (event,) = await device.hear(1)
        assert (event["counts"]["unread"], event["counts"]["critical"]) == (0, 0)
        await me.put(f"/notifications/{made['id']}/snooze", {"until": ahead(days=2)})
        (event,) = await device.hear(1)
        assert event["kind"] == "notification.updated"
        back = await me.put(f"/notifications/{made['id']}/unsnooze")
        assert back["held_until"] is None
        (event,) = await device.hear(1)
        assert (event["kind"], event["data"]["released"], badge(event["counts"])) == (
            "notification.created", True, (1, 1),
        )  # fmt: skip
        assert await me.put(f"/notifications/{made['id']}/unsnooze") == back
        await tenant.notify(title="after")
        assert [event["data"]["title"] for event in await device.hear(1)] == ["after"]


async def test_reading_while_snoozed_ends_the_snooze(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        made = await tenant.notify()
        await me.put(f"/notifications/{made['id']}/snooze", {"until": ahead(seconds=1)})
        after = await me.put(f"/notifications/{made['id']}/read")
        assert (after["is_read"], after["held_until"]) == (True, None)
        assert await history_of(tenant) == [made["id"]]
        assert await history_of(tenant, held="true") == []
        # Past the end of the snooze nothing comes of it: what comes next is what is sent next.
        later = await tenant.notify(deliver_at=ahead(seconds=1.5))
        events = await device.hear(4, within_s=8)
        assert [event["kind"] for event in events] == [
            "notification.created", "notification.updated", "notification.updated", "notification.created",
        ]  # fmt: skip
        assert events[-1]["data"]["id"] == later["id"]


@pytest.mark.parametrize("step", ["read", "archive", "delete"])
async def test_what_was_read_archived_or_deleted_while_held_is_not_released(tenant: Tenant, step: str) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        held = await tenant.notify(deliver_at=ahead(seconds=0.7))
        if step == "delete":
            await me.delete(f"/notifications/{held['id']}")
        else:
            after = await me.put(f"/notifications/{held['id']}/{step}")
            assert after["held_until"] is None
        later = await tenant.notify(deliver_at=ahead(seconds=1.2))
        events = await device.hear(1, within_s=8)
        while events[-1]["data"].get("id") != later["id"]:
            events += await device.hear(1, within_s=8)
        assert not [one for one in events if one["kind"] == "notification.created" and one["data"]["id"] == held["id"]]
        assert await history_of(tenant, held="true") == []
        assert await unread_of(tenant) == [later["id"]]


@pytest.mark.parametrize("until", [{}, {"until": None}, {"until": ahead(seconds=-1)}, {"until": "2030-01-01T00:00:00"}])
async def test_a_snooze_ends_in_the_future(tenant: Tenant, until: dict[str, Any]) -> None:
    made = await tenant.notify()
    assert paths(await tenant.agent()("PUT", f"/notifications/{made['id']}/snooze", until)) == {"$.until"}
    assert await unread_of(tenant) == [made["id"]]


async def test_what_is_scheduled_is_cancelled_by_its_recipient_or_its_creator(tenant: Tenant) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        for canceller in (tenant.agent(), tenant.service):
            scheduled = await tenant.notify(deliver_at=ahead(seconds=1))
            assert (scheduled["outcome"], instant(scheduled["held_until"])) == (
                "held", instant(scheduled["deliver_at"]),
            )  # fmt: skip
            await canceller.delete(f"/notifications/{scheduled['id']}/schedule")
            problem(await canceller("DELETE", f"/notifications/{scheduled['id']}/schedule"), 404)
            problem(await canceller("GET", f"/notifications/{scheduled['id']}"), 404)
        live = await tenant.notify()
        problem(await tenant.agent()("DELETE", f"/notifications/{live['id']}/schedule"), 409)
        later = await tenant.notify(deliver_at=ahead(seconds=1.5))
        events = await device.hear(2, within_s=8)
        assert [event["data"]["id"] for event in events] == [live["id"], later["id"]]
        problem(await tenant.agent()("DELETE", f"/notifications/{later['id']}/schedule"), 409)


async def test_figures_are_those_of_the_inbox(tenant: Tenant) -> None:
    me = tenant.agent()
    empty = await me.get("/notifications/stats")
    assert (empty["total"], empty["unread"]["unread"], empty["read_rate"], empty["median_time_to_read_s"]
            if "median_time_to_read_s" in empty else empty["median_read_s"]) == (0, 0, None, None)  # fmt: skip
    made = [await tenant.notify(type=kind, priority=priority) for kind, priority in [
        ("system", "critical"), ("system", "low"), ("call_missed", "high"), ("call_missed", "high")]]  # fmt: skip
    await tenant.notify(deliver_at=ahead(hours=1))
    await me.put(f"/notifications/{made[1]['id']}/read")
    figures = await me.get("/notifications/stats")
    assert (figures["total"], figures["read_rate"]) == (4, 0.25)
    assert figures["unread"] == {"unread": 3, "unseen": 3, "critical": 1, "high": 2, "normal": 0, "low": 0}
    assert figures["unread_by_type"] == {"system": 1, "call_missed": 2}
    assert 0 <= figures["median_read_s"] < 30
    assert await tenant.supervisor.get("/notifications/stats", user_id=1) == figures
    assert (await tenant.supervisor.get("/notifications/stats", user_id=2))["total"] == 0


async def test_cleanup_deletes_what_is_old_and_done_with_and_tells_each_user_once(tenant: Tenant) -> None:
    device = tenant.device()
    made = {name: await tenant.notify(title=name) for name in ("read", "archived", "unread", "young and read")}
    made["held"] = await tenant.notify(deliver_at=ahead(hours=1))
    made["expired"] = await tenant.notify(expires_at=ahead(seconds=-1))
    me = tenant.agent()
    for name, step in (("read", "read"), ("archived", "archive"), ("young and read", "read")):
        await me.put(f"/notifications/{made[name]['id']}/{step}")
    other = await tenant.notify(2)
    await tenant.agent(2).put(f"/notifications/{other['id']}/read")
    await tenant.sql(
        "UPDATE notifications SET created_at = created_at - interval '10 d' WHERE tenant_id = $1 AND id <> $2",
        tenant.name,
        made["young and read"]["id"],
    )
    assert (await tenant.admin.post("/notifications/cleanup", {"days": 11}))["count"] == 0
    async with device.on(tenant.node):
        assert (await tenant.admin.post("/notifications/cleanup", {"days": 9}))["count"] == 4
        (event,) = await device.hear(1)
        assert (event["kind"], event["data"]["count"]) == ("notifications.cleaned", 2)
        assert await history_of(tenant, include="expired,muted") == [made["young and read"]["id"], made["unread"]["id"]]
        assert await history_of(tenant, held="true") == [made["held"]["id"]]
        everything = {"days": 9, "include_unread": True}
        assert (await tenant.admin.post("/notifications/cleanup", everything))["count"] == 1
        (event,) = await device.hear(1)
        assert badge(event["counts"]) == (0, 0)
        assert await history_of(tenant) == [made["young and read"]["id"]]
        assert await history_of(tenant, held="true") == [made["held"]["id"]]
    for bad in ({}, {"days": 0}, {"days": -1}, {"days": 10**9}, {"days": 1.5}, {"days": "9"}):
        assert paths(await tenant.admin("POST", "/notifications/cleanup", bad)) == {"$.days"}


async def test_forty_at_once_on_one_inbox_leave_counts_that_are_what_is_there(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    ids = [
        one["id"]
        for one in (await tenant.service.post("/notifications/bulk", {"items": [note(user_id=1)] * 40}))["items"]
    ]
    async with device.on(tenant.node):
        work = [
            *(me("PUT", f"/notifications/{one}/read") for one in ids[:10]),
            *(me("PUT", f"/notifications/{one}/archive") for one in ids[5:15]),
            *(me("DELETE", f"/notifications/{one}") for one in ids[12:18]),
            *(me("PUT", f"/notifications/{one}/snooze", {"until": ahead(hours=1)}) for one in ids[16:22]),
            *(tenant.service("POST", "/notifications", note(user_id=1)) for _ in range(10)),
            me("POST", "/notifications/seen"),
        ]
        for answer in await asyncio.gather(*work):
            assert answer.status_code in (200, 201, 204, 404), answer.text
        last = good(await tenant.service("POST", "/notifications", note(user_id=1))).json()
        events = await device.hear(1)
        while events[-1]["data"].get("id") != last["id"]:
            events += await device.hear(1)
        assert [event["seq"] for event in events] == list(range(41, 41 + len(events)))
        shown = len(await unread_of(tenant))
        assert events[-1]["counts"]["unread"] == shown
        assert (await me.get("/notifications/stats"))["unread"]["unread"] == shown
