"""Preferences: whose, what they may be, and what the tenant has locked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.rest import Tenant, ahead, good, instant, note, paths, position, problem

pytestmark = pytest.mark.acceptance

SWITCHES = [
    "enable_email_notifications", "enable_sms_notifications", "enable_push_notifications",
    "enable_whatsapp_notifications", "enable_slack_notifications", "enable_in_app_notifications",
    "enable_desktop_notifications", "notify_task_assigned", "notify_task_completed", "notify_deadline_reminder",
    "notify_lead_assigned", "notify_call_missed", "notify_message_received",
]  # fmt: skip
OTHERS = [
    "quiet_hours_enabled", "quiet_hours_start", "quiet_hours_end", "quiet_hours_days", "quiet_until",
    "muted_categories", "timezone", "locale", "email_batch_frequency", "sms_batch_frequency",
]  # fmt: skip
PATH = "/notifications/preferences"

CHANGED: dict[str, Any] = {
    **dict.fromkeys(SWITCHES, False),
    "quiet_hours_enabled": True,
    "quiet_hours_start": "22:00",
    "quiet_hours_end": "06:30",
    "quiet_hours_days": [0, 6],
    "quiet_until": "2030-01-01T00:00:00Z",
    "muted_categories": ["a", "b.c"],
    "timezone": "Asia/Kolkata",
    "locale": "pt-BR",
    "email_batch_frequency": "weekly",
    "sms_batch_frequency": "hourly",
}


async def test_without_a_row_they_are_the_defaults(tenant: Tenant) -> None:
    shown = await tenant.agent().get(PATH)
    assert list(shown) == [*SWITCHES, *OTHERS]
    assert all(shown[name] is True for name in SWITCHES)
    assert (shown["quiet_hours_enabled"], shown["quiet_hours_days"], shown["quiet_until"]) == (False, None, None)
    assert (shown["timezone"], shown["muted_categories"]) == ("UTC", [])
    assert (shown["email_batch_frequency"], shown["sms_batch_frequency"]) == ("immediate", "immediate")


async def test_get_change_put_works_and_says_the_same_everywhere(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        shown = await me.get(PATH)
        assert await me.put(PATH, shown) == shown
        for name, value in CHANGED.items():
            if name == "quiet_hours_enabled":
                continue
            shown = await me.get(PATH)
            assert await me.put(PATH, shown | {name: value}) == shown | {name: value}
        whole = await me.put(PATH, CHANGED)
        assert whole == CHANGED == await me.get(PATH)
        events = await device.hear(1)
        while events[-1]["data"] != CHANGED:
            events += await device.hear(1)
        assert {event["kind"] for event in events} == {"preferences.updated"}
        assert await me.put(PATH, CHANGED) == CHANGED
        await tenant.notify(title="after", priority="critical", channels=["in_app"])
        await me.patch(PATH, {"enable_in_app_notifications": True})
        (event,) = await device.hear(1)
        assert event["data"] == CHANGED | {"enable_in_app_notifications": True}


async def test_what_a_put_leaves_out_takes_its_default_and_a_patch_leaves_it(tenant: Tenant) -> None:
    me = tenant.agent()
    defaults = await me.get(PATH)
    await me.put(PATH, CHANGED)
    assert await me.patch(PATH, {}) == CHANGED
    assert await me.patch(PATH, {"timezone": "UTC"}) == CHANGED | {"timezone": "UTC"}
    assert await me.patch(PATH, {"quiet_until": None, "muted_categories": []}) == CHANGED | {
        "timezone": "UTC", "quiet_until": None, "muted_categories": [],
    }  # fmt: skip
    as_merge_patch = await me("PATCH", PATH, {"locale": None}, content_type="application/merge-patch+json")
    assert good(as_merge_patch).json()["locale"] == "en"
    assert await me.put(PATH, {"notify_call_missed": False}) == defaults | {"notify_call_missed": False}
    assert await me.put(PATH, {}) == defaults
    for wrong in ([], None, "x", 5):
        problem(await me("PATCH", PATH, wrong), 422)


async def test_all_that_is_wrong_is_named(tenant: Tenant) -> None:
    bad = {"timezone": "Mars/Olympus", "quiet_hours_start": "25:61", "quiet_hours_days": [], "nonsense": 1}
    for method in ("PUT", "PATCH"):
        assert paths(await tenant.agent()(method, PATH, bad)) == {
            "$.timezone", "$.quiet_hours_start", "$.quiet_hours_days", "$.nonsense",
        }  # fmt: skip


async def test_an_admin_and_a_service_keep_those_of_others(tenant: Tenant) -> None:
    for keeper in (tenant.admin, tenant.service):
        kept = good(await keeper("PATCH", f"{PATH}?user_id=5", {"locale": "de"})).json()
        assert kept["locale"] == "de"
        assert await tenant.agent(5).get(PATH) == kept
        assert await keeper.get(PATH, user_id=5) == kept
        good(await keeper("PUT", f"{PATH}?user_id=5", {}))
    assert (await tenant.agent(6).get(PATH))["locale"] == "en"
    for method, body in (("GET", {}), ("PUT", {}), ("PATCH", {})):
        sent = () if method == "GET" else (body,)
        problem(await tenant.service(method, PATH, *sent), 403)
        problem(await tenant.agent(6)(method, f"{PATH}?user_id=5", *sent), 403)
        good(await tenant.agent(6)(method, f"{PATH}?user_id=6", *sent))
        assert paths(await tenant.admin(method, f"{PATH}?user_id={2**53}", *sent)) == {"query.user_id"}


async def test_two_patches_of_different_fields_both_last(tenant: Tenant) -> None:
    me = tenant.agent()
    fields = {**dict.fromkeys(SWITCHES, False), "timezone": "Asia/Kolkata", "locale": "de"}
    await asyncio.gather(*(me.patch(PATH, {name: value}) for name, value in fields.items()))
    shown = await me.get(PATH)
    assert {name: shown[name] for name in fields} == fields


async def test_read_while_they_change_they_are_those_of_the_position_that_is_answered(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    first = good(await me("GET", PATH))
    as_of: dict[int, Any] = {position(first)[1]: first.json()}
    async with device.on(tenant.node):

        async def change() -> None:
            for n in range(40):
                await me.patch(PATH, {"muted_categories": [f"c{n}"]})

        changing = asyncio.create_task(change())
        shown: list[tuple[int, Any]] = []
        while not changing.done():
            answer = good(await me("GET", PATH))
            shown.append((position(answer)[1], answer.json()))
        await changing
        as_of |= {event["seq"]: event["data"] for event in await device.hear(40)}
    assert len({seq for seq, _ in shown}) > 5
    assert all(as_of[seq] == preferences for seq, preferences in shown)


async def test_the_telephone_system_sets_quiet_until_while_a_call_lasts(tenant: Tenant) -> None:
    device = tenant.device(5)
    async with device.on(tenant.node):
        shown = await tenant.service.put("/users/5/quiet", {"quiet_until": "2099-01-01T01:00:00+01:00"})
        assert instant(shown["quiet_until"]) == instant("2099-01-01T00:00:00Z")
        held = await tenant.notify(5)
        assert (held["outcome"], instant(held["held_until"])) == ("held", instant("2099-01-01T00:00:00Z"))
        critical = await tenant.notify(5, priority="critical")
        assert critical["outcome"] == "live"
        await tenant.service.put("/users/5/quiet", {"quiet_until": None})
        events = await device.hear(5)
        assert [event["kind"] for event in events] == [
            "preferences.updated", "notification.created", "preferences.updated", "quiet_hours.ended",
            "notification.created",
        ]  # fmt: skip
        assert (events[-1]["data"]["id"], events[-1]["data"]["released"]) == (held["id"], True)
        assert events[-2]["data"] == {"released": 1, "by_priority": {"critical": 0, "high": 0, "normal": 1, "low": 0}}
    for bad, where in [({}, "$.quiet_until"), ({"quiet_until": "x"}, "$.quiet_until"), ({"until": None}, "$.until")]:
        assert where in paths(await tenant.service("PUT", "/users/5/quiet", bad))


async def test_a_locked_preference_cannot_be_switched_off_and_prevails_over_what_was_kept(tenant: Tenant) -> None:
    me = tenant.agent()
    await me.put(PATH, {"notify_task_assigned": False, "notify_call_missed": False})
    await tenant.admin.patch("/settings", {"locked": ["notify_task_assigned", "enable_in_app_notifications"]})
    shown = await me.get(PATH)
    assert (shown["notify_task_assigned"], shown["notify_call_missed"]) == (True, False)
    assert (await tenant.notify(type="task_assigned"))["outcome"] == "live"
    assert (await tenant.notify(type="call_missed"))["outcome"] == "muted"
    for method in ("PUT", "PATCH"):
        off = {"notify_task_assigned": False, "enable_in_app_notifications": False, "notify_call_missed": False}
        assert paths(await me(method, PATH, off)) == {"$.notify_task_assigned", "$.enable_in_app_notifications"}
    assert await me.put(PATH, shown) == shown
    # The service that keeps them for a person cannot either.
    off = await tenant.service("PATCH", f"{PATH}?user_id=1", {"enable_in_app_notifications": False})
    assert paths(off) == {"$.enable_in_app_notifications"}


async def test_one_that_was_off_before_it_was_locked_does_not_bar_other_changes(tenant: Tenant) -> None:
    me = tenant.agent()
    await me.put(PATH, {"notify_task_assigned": False})
    await tenant.admin.patch("/settings", {"locked": ["notify_task_assigned"]})
    assert (await me.patch(PATH, {"timezone": "Asia/Kolkata"}))["timezone"] == "Asia/Kolkata"
    quiet = await tenant.service.put("/users/1/quiet", {"quiet_until": ahead(hours=1)})
    assert quiet["quiet_until"] is not None
    assert quiet["notify_task_assigned"] is True


async def test_a_user_without_a_row_has_the_defaults_of_the_tenant(tenant: Tenant) -> None:
    await tenant.admin.patch("/settings", {"preferences": {"notify_call_missed": False, "timezone": "Asia/Kolkata"}})
    me = tenant.agent()
    shown = await me.get(PATH)
    assert (shown["notify_call_missed"], shown["timezone"], shown["notify_task_assigned"]) == (
        False, "Asia/Kolkata", True,
    )  # fmt: skip
    assert (await tenant.notify(type="call_missed"))["outcome"] == "muted"
    await me.put(PATH, CHANGED | {"notify_call_missed": True})
    assert await me.put(PATH, {}) == shown
    assert (await me.patch(PATH, {"notify_call_missed": True, "timezone": "UTC"}))["notify_call_missed"] is True
    assert await me.patch(PATH, {"notify_call_missed": None, "timezone": None}) == shown


async def test_an_inbox_begins_with_the_first_notification_so_anyone_may_be_named(tenant: Tenant) -> None:
    assert (await tenant.service.post("/notifications", note(user_id=2**53 - 1)))["outcome"] == "live"
    good(await tenant.service("PATCH", f"{PATH}?user_id=123456789", {"locale": "de"}))
    assert (await tenant.agent(123456789).get(PATH))["locale"] == "de"
