"""Lists: filters, pages that stay true while rows arrive, totals only where asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.rest import BASE, Tenant, ahead, good, note, paths, problem, until

pytestmark = pytest.mark.acceptance


async def filled(tenant: Tenant, count: int) -> list[int]:
    items = [note(user_id=1, title=f"{n}") for n in range(count)]
    made = await tenant.service.post("/notifications/bulk", {"items": items})
    return [one["id"] for one in made["items"]]


@pytest.mark.parametrize("path", ["/notifications", "/notifications/unread"])
async def test_a_list_has_items_a_cursor_and_a_total_only_where_it_is_asked_for(tenant: Tenant, path: str) -> None:
    me = tenant.agent()
    assert await me.get(path) == {"items": [], "next_cursor": None}
    assert await me.get(path, include="total") == {"items": [], "next_cursor": None, "total": 0}
    ids = await filled(tenant, 201)
    page = await me.get(path)
    assert set(page) == {"items", "next_cursor"}
    assert [one["id"] for one in page["items"]] == ids[:-51:-1]
    whole = await me.get(path, limit=200, include="total")
    assert (len(whole["items"]), whole["total"], whole["next_cursor"] is None) == (200, 201, False)
    last = await me.get(path, limit=200, cursor=whole["next_cursor"])
    assert ([one["id"] for one in last["items"]], last["next_cursor"]) == ([ids[0]], None)
    assert len((await me.get(path, limit=1))["items"]) == 1


@pytest.mark.parametrize("path", ["/notifications", "/notifications/unread"])
async def test_pages_stay_true_while_rows_arrive_and_go(tenant: Tenant, path: str) -> None:
    me = tenant.agent()
    ids = await filled(tenant, 100)
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page, _ = await asyncio.gather(me.get(path, limit=7, **cursor), filled(tenant, 3))
        seen += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        # One that was shown goes; what follows must not move up.
        await me.delete(f"/notifications/{seen[-1]}")
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one <= ids[-1]] == ids[::-1]


async def test_offsets_number_pages(tenant: Tenant) -> None:
    me = tenant.agent()
    ids = (await filled(tenant, 25))[::-1]
    for offset in (0, 10, 20, 25, 9999):
        page = await me.get("/notifications", limit=10, offset=offset, include="total")
        assert [one["id"] for one in page["items"]] == ids[offset : offset + 10]
        assert page["total"] == 25
    followed = await me.get(
        "/notifications", limit=10, cursor=(await me.get("/notifications", limit=10, offset=5))["next_cursor"]
    )
    assert [one["id"] for one in followed["items"]] == ids[15:25]


async def test_a_cursor_of_another_list_another_filter_or_made_up_is_422(tenant: Tenant) -> None:
    me = tenant.agent()
    await filled(tenant, 3)
    cursor = (await me.get("/notifications", limit=1))["next_cursor"]
    for path, query in [
        ("/notifications/unread", {}),
        ("/notifications", {"type": "system"}),
        ("/notifications", {"held": "true"}),
        ("/notifications", {"q": "x"}),
    ]:
        answer = await me("GET", path, query=query | {"cursor": cursor, "limit": 1})
        assert paths(answer) == {"query.cursor"}
    for forged in (cursor[:-1], cursor + "A", cursor[::-1], "A" + cursor[1:], cursor + "="):
        if forged != cursor:
            assert paths(await me("GET", "/notifications", query={"cursor": forged})) == {"query.cursor"}
    assert paths(await me("GET", "/notifications", query={"cursor": cursor, "offset": 1})) == {"query.offset"}
    # What a cursor shows is asked anew for its holder.
    assert (await tenant.agent(2).get("/notifications", limit=1, cursor=cursor))["items"] == []


async def test_filters_leave_out_what_they_say(tenant: Tenant) -> None:
    me = tenant.agent()
    call = await tenant.notify(type="call_missed", category="phone", priority="high", title="Ada called")
    lead = await tenant.notify(type="lead_assigned", category="sales", priority="low", message="100% of_it \\ here")
    task = await tenant.notify(type="task_assigned", title="ÄRGER")
    await me.put(f"/notifications/{lead['id']}/read")
    await me.put(f"/notifications/{task['id']}/archive")

    async def found(**query: Any) -> set[str]:
        page = await me.get("/notifications", include="total", **query)
        assert page["total"] == len(page["items"])
        names = {call["id"]: "call", lead["id"]: "lead", task["id"]: "task"}
        return {names[one["id"]] for one in page["items"]}

    assert await found() == {"call", "lead", "task"}
    assert await found(type="call_missed") == {"call"}
    assert await found(type="call_missed,task_assigned") == {"call", "task"}
    assert await found(category="sales,phone") == {"call", "lead"}
    assert await found(priority="low") == {"lead"}
    assert await found(priority="critical") == set()
    assert await found(is_read="true") == {"lead"}
    assert await found(is_read="false") == {"call", "task"}
    assert await found(is_archived="true") == {"task"}
    assert await found(is_archived="false") == {"call", "lead"}
    assert await found(since=lead["created_at"]) == {"lead", "task"}
    assert await found(until=lead["created_at"]) <= {"call", "lead"}
    assert await found(since=ahead(hours=1)) == set()
    assert await found(since=call["created_at"], until=ahead(hours=1)) == {"call", "lead", "task"}
    assert await found(q="ada") == {"call"}
    assert await found(q="100%") == {"lead"}
    assert await found(q="of_it") == {"lead"}
    assert await found(q="ofxit") == set()
    assert await found(q="\\") == {"lead"}
    assert await found(q="%") == {"lead"}
    assert await found(q="ärger") == {"task"}
    assert await found(q="'; --") == set()
    assert await found(type="call_missed", is_read="true") == set()


async def test_unread_is_what_the_badge_counts(tenant: Tenant) -> None:
    me = tenant.agent()
    ids = await filled(tenant, 5)
    await me.put(f"/notifications/{ids[0]}/read")
    await me.put(f"/notifications/{ids[1]}/archive")
    await me.put(f"/notifications/{ids[2]}/snooze", {"until": ahead(hours=1)})
    await tenant.notify(deliver_at=ahead(hours=1))
    page = await me.get("/notifications/unread", include="total")
    assert ([one["id"] for one in page["items"]], page["total"]) == ([ids[4], ids[3]], 2)
    assert (await me.get("/notifications/stats"))["unread"]["unread"] == 2


async def test_held_muted_and_expired_are_listed_only_where_they_are_asked_for(tenant: Tenant) -> None:
    me = tenant.agent()
    await me.patch("/notifications/preferences", {"muted_categories": ["noise"]})
    live = await tenant.notify()
    muted = await tenant.notify(category="noise")
    held = await tenant.notify(deliver_at=ahead(hours=1))
    expired = await tenant.notify(expires_at=ahead(seconds=-5))
    assert (live["outcome"], muted["outcome"], held["outcome"]) == ("live", "muted", "held")
    for query, ids in [
        ({}, [live]),
        ({"include": "muted"}, [muted, live]),
        ({"include": "expired"}, [expired, live]),
        ({"include": "muted,expired,total"}, [expired, muted, live]),
        ({"held": "true"}, [held]),
        ({"held": "false"}, [live]),
    ]:
        page = await me.get("/notifications", **query)
        assert [one["id"] for one in page["items"]] == [one["id"] for one in ids], query
        assert ("total" in page) == ("total" in query.get("include", ""))
    listed = (await me.get("/notifications", held="true"))["items"][0]
    assert listed["held_until"] == held["held_until"] is not None


async def test_the_same_list_for_every_device_and_only_ones_own(tenant: Tenant) -> None:
    await filled(tenant, 3)
    assert (await tenant.agent(2).get("/notifications", include="total"))["total"] == 0
    first, second = (
        good(await tenant.agent()("GET", "/notifications")),
        good(await tenant.agent()("GET", "/notifications")),
    )
    assert first.content == second.content
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "no-store"
    head = await tenant.agent()("HEAD", f"{BASE}/notifications")
    assert (head.status_code, head.content) == (200, b"")


async def test_the_delivery_of_one_names_every_channel_and_its_outcome(tenant: Tenant) -> None:
    me = tenant.agent()
    await tenant.sql(
        "INSERT INTO contacts (tenant_id, user_id, channel, address) VALUES ($1, 1, 'email', 'a@b.example'),"
        " ($1, 1, 'sms', '+49301')",
        tenant.name,
    )
    await me.patch("/notifications/preferences", {"enable_sms_notifications": False, "email_batch_frequency": "daily"})

    async def delivery(made: Any) -> dict[str, Any]:
        rows = (await me.get(f"/notifications/{made['id']}/delivery"))["items"]
        return {row["channel"]: (row["status"], row["reason"]) for row in rows}

    made = await tenant.notify()
    shown = await delivery(made)
    assert set(shown) == {"in_app", "email", "sms"}
    assert shown["sms"] == ("dropped", "channel_off")
    assert shown["email"] == ("held", "batch")
    # Read in the app before it was handed over: cancelled, in the transaction of the read.
    await me.put(f"/notifications/{made['id']}/read")
    assert (await delivery(made))["email"][0] == "cancelled"
    critical = await tenant.notify(priority="critical")
    assert (await delivery(critical))["email"] == ("planned", None)
    await me.put(f"/notifications/{critical['id']}/read")
    assert (await delivery(critical))["email"] == ("planned", None)
    await me.delete(f"/notifications/{made['id']}")
    problem(await me("GET", f"/notifications/{made['id']}/delivery"), 404)


async def test_in_the_app_it_is_delivered_once_a_device_has_acknowledged_it(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()

    async def status(made: Any) -> str:
        ((one),) = (await me.get(f"/notifications/{made['id']}/delivery"))["items"]
        return one["status"]

    held = await tenant.notify(deliver_at=ahead(hours=1))
    async with device.on(tenant.node):
        made = await tenant.notify()
        await device.hear(1)
        assert (await status(held), await status(made)) == ("held", "sent")
        assert device.socket is not None
        await device.socket.send('{"type": "ack", "cursor": 1}')

        async def delivered() -> bool:
            return await status(made) == "delivered"

        await until(delivered, within_s=5)
        assert (await tenant.service.get(f"/notifications/{made['id']}/delivery"))["items"][0]["status"] == "delivered"
        assert await status(held) == "held"
