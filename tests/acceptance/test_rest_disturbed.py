"""Who is disturbed, and when: by what is answered, what is told, and what `explain` says beforehand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from hub import clock
from tests.acceptance.processes import Device
from tests.acceptance.rest import Tenant, ahead, instant, note, problem, until

pytestmark = pytest.mark.acceptance

PREFERENCES = "/notifications/preferences"
QUIET = {"quiet_hours_enabled": True, "quiet_hours_start": "00:00", "quiet_hours_end": "00:00"}
"""All day, every day: quiet without end."""


def summary(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(event["kind"].partition(".")[2], event["data"].get("id")) for event in events]


async def drained(device: Device, tenant: Tenant) -> list[dict[str, Any]]:
    """All that was told, up to a critical one that is sent last."""
    last = await tenant.notify(device.user, priority="critical", title="last")
    while not device.events or device.events[-1]["data"].get("id") != last["id"]:
        await device.hear(1)
    return device.events[:-1]


async def test_each_verdict_as_its_outcome(tenant: Tenant) -> None:
    me = tenant.agent()
    await me.patch(PREFERENCES, {"notify_call_missed": False, "muted_categories": ["noise"]})
    table: list[tuple[Any, str]] = [
        ({}, "live"),
        ({"type": "call_missed"}, "muted"),
        ({"type": "call_missed", "priority": "critical"}, "muted"),
        ({"category": "noise"}, "muted"),
        ({"type": "call_missed", "deliver_at": ahead(hours=1)}, "muted"),
        ({"deliver_at": ahead(hours=1)}, "held"),
        ({"deliver_at": ahead(hours=1), "priority": "critical"}, "held"),
        ({"deliver_at": ahead(hours=-1)}, "live"),
        ({"expires_at": ahead(hours=1)}, "live"),
    ]
    for fields, outcome in table:
        assert (await tenant.notify(**fields))["outcome"] == outcome, fields
    await me.patch(PREFERENCES, QUIET)
    table = [
        ({}, "held"),
        ({"priority": "high"}, "held"),
        ({"priority": "critical"}, "live"),
        ({"type": "call_missed"}, "muted"),
    ]
    for fields, outcome in table:
        assert (await tenant.notify(**fields))["outcome"] == outcome, fields
    await me.patch(PREFERENCES, {"enable_in_app_notifications": False})
    dropped: list[Any] = [{}, {"priority": "critical"}, {"deliver_at": ahead(hours=1)}]
    for fields in dropped:
        assert (await tenant.notify(**fields))["outcome"] == "muted", fields


async def test_what_is_muted_or_expired_at_birth_is_told_to_nobody_and_counted_nowhere(tenant: Tenant) -> None:
    await tenant.agent().patch(PREFERENCES, {"muted_categories": ["noise"]})
    device = tenant.device()
    async with device.on(tenant.node):
        await tenant.notify(category="noise")
        await tenant.notify(expires_at=ahead(seconds=-1))
        assert await drained(device, tenant) == []
        assert device.events[0]["counts"]["unread"] == 1


async def test_types_without_a_switch_cannot_be_muted_as_a_type(tenant: Tenant) -> None:
    switches = [f"notify_{kind}" for kind in ("task_assigned", "task_completed", "deadline_reminder", "lead_assigned",
                                               "call_missed", "message_received")]  # fmt: skip
    await tenant.agent().patch(PREFERENCES, dict.fromkeys(switches, False))
    assert (await tenant.notify(type="system"))["outcome"] == "live"
    for switch in switches:
        assert (await tenant.notify(type=switch.removeprefix("notify_")))["outcome"] == "muted"


async def test_quiet_holds_all_but_critical_and_ends_in_one_burst_by_priority_then_age(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    await me.patch(PREFERENCES, QUIET)
    async with device.on(tenant.node):
        made = {(priority, n): await tenant.notify(priority=priority) for n in (0, 1)
                for priority in ("low", "normal", "high")}  # fmt: skip
        assert {(one["outcome"], one["held_until"]) for one in made.values()} == {("held", None)}
        critical = await tenant.notify(priority="critical")
        assert critical["outcome"] == "live"
        assert [one["id"] for one in (await me.get("/notifications"))["items"]] == [critical["id"]]
        assert (await me.get("/notifications", held="true", include="total"))["total"] == 6
        await me.patch(PREFERENCES, {"quiet_hours_enabled": False})
        events = await device.hear(9)
        assert sorted(event["seq"] for event in events) == list(range(2, 11))
        in_order = sorted(events, key=lambda event: event["seq"])[1:]
        ids = [made[priority, n]["id"] for priority in ("high", "normal", "low") for n in (0, 1)]
        assert summary(in_order) == [("updated", None), ("ended", None), *(("created", one) for one in ids)]
        ended = in_order[1]["data"]
        assert ended == {"released": 6, "by_priority": {"critical": 0, "high": 2, "normal": 2, "low": 2}}
        released = in_order[2:]
        assert all(event["data"]["released"] is True and event["data"]["held_until"] is None for event in released)
        assert [event["counts"]["unread"] for event in released] == [2, 3, 4, 5, 6, 7]
        assert sum(event.get("ring", False) for event in released) <= 1
        assert (await me.get("/notifications", held="true"))["items"] == []


async def test_quiet_until_ends_by_itself(tenant: Tenant) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        ends = ahead(seconds=1.2)
        await tenant.service.put("/users/1/quiet", {"quiet_until": ends})
        held = await tenant.notify()
        assert abs(instant(held["held_until"]) - datetime.fromisoformat(ends)) < timedelta(milliseconds=1)
        _, ended, created = await device.hear(3, within_s=8)
        assert summary([ended, created]) == [("ended", None), ("created", held["id"])]
        late = instant(created["at"]) - instant(held["held_until"])
        assert timedelta(0) <= late < timedelta(seconds=5)


async def test_quiet_hours_end_by_the_wall_clock_of_the_users_zone(tenant: Tenant) -> None:
    """In Kathmandu, 5:45 ahead: quiet from an hour ago to an hour ahead, beginning on today's weekday or on another."""
    me = tenant.agent()
    there = clock.now() + timedelta(hours=5, minutes=45)
    begin, end = there - timedelta(hours=1), (there + timedelta(hours=1)).replace(second=0, microsecond=0)
    quiet = {
        "quiet_hours_enabled": True,
        "quiet_hours_start": begin.strftime("%H:%M"),
        "quiet_hours_end": end.strftime("%H:%M"),
        "quiet_hours_days": [begin.weekday()],
        "timezone": "Asia/Kathmandu",
    }
    await me.patch(PREFERENCES, quiet)
    held = await tenant.notify()
    assert held["outcome"] == "held"
    assert instant(held["held_until"]) == end - timedelta(hours=5, minutes=45)
    await me.patch(PREFERENCES, {"quiet_hours_days": [(begin.weekday() + 1) % 7]})
    assert (await tenant.notify())["outcome"] == "live"
    assert (await me.get("/notifications", held="true"))["items"] == []


async def test_changed_preferences_judge_what_is_held_anew_at_once(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    await me.patch(PREFERENCES, QUIET)
    stays = await tenant.notify(deliver_at=ahead(hours=1))
    dropped, goes = await tenant.notify(category="noise"), await tenant.notify()
    async with device.on(tenant.node):
        await me.patch(PREFERENCES, {"muted_categories": ["noise"], "quiet_hours_enabled": False})
        events = await device.hear(3)
        assert summary(events) == [("updated", None), ("ended", None), ("created", goes["id"])]
        assert [one["id"] for one in (await me.get("/notifications", held="true"))["items"]] == [stays["id"]]
        record = (await me.get("/notifications", include="muted"))["items"]
        assert {one["id"] for one in record} == {dropped["id"], goes["id"]}
    # A schedule that ends within quiet hours goes on waiting.
    await me.patch(PREFERENCES, QUIET)
    asked_again = await tenant.notify(deliver_at=ahead(seconds=0.3))
    assert asked_again["held_until"] is not None
    async with device.on(tenant.node):

        async def waits_on() -> bool:
            held = (await me.get("/notifications", held="true"))["items"]
            return {one["id"]: one["held_until"] for one in held}[asked_again["id"]] is None

        await until(waits_on, within_s=5)
        assert summary(await drained(device, tenant))[-1] == ("updated", None)


async def test_scheduled_it_goes_live_at_its_time(tenant: Tenant) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        made = await tenant.notify(deliver_at=ahead(seconds=1))
        (event,) = await device.hear(1, within_s=8)
        assert summary([event]) == [("created", made["id"])]
        assert event["data"]["released"] is True
        assert instant(event["at"]) >= instant(made["deliver_at"])
        assert event["seq"] == 1


async def test_expiry_is_an_event_within_5_s_and_until_then_it_is_shown(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        made = [await tenant.notify(expires_at=ahead(seconds=1)) for _ in range(2)]
        await me.put(f"/notifications/{made[1]['id']}/read")
        held = await tenant.notify(expires_at=ahead(seconds=1), deliver_at=ahead(seconds=0.9, hours=0))
        gone = []
        while len(gone) < 2:
            gone += [event for event in await device.hear(1, within_s=8) if event["kind"] == "notification.expired"]
        assert {event["data"]["id"] for event in gone} >= {made[0]["id"]}
        for event in gone:
            late = instant(event["at"]) - instant(made[0]["expires_at"])
            assert timedelta(seconds=-0.1) <= late < timedelta(seconds=5)
        last = await tenant.notify()
        while device.events[-1]["data"].get("id") != last["id"]:
            await device.hear(1)
        assert device.events[-1]["counts"]["unread"] == 1
        assert [one["id"] for one in (await me.get("/notifications"))["items"]] == [last["id"]]
        assert {one["id"] for one in (await me.get("/notifications", include="expired"))["items"]} == {
            last["id"], made[0]["id"], made[1]["id"], held["id"],
        }  # fmt: skip


async def test_what_expires_while_it_is_held_goes_silently(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    await me.patch(PREFERENCES, QUIET)
    async with device.on(tenant.node):
        held = await tenant.notify(expires_at=ahead(seconds=0.5))
        snoozed = await tenant.notify(priority="critical", expires_at=ahead(seconds=0.6))
        await device.hear(1)
        (event,) = await device.hear(1, within_s=8)
        assert summary([event]) == [("expired", snoozed["id"])]
        assert await drained(device, tenant) == device.events[:-1]
        assert held["id"] not in {event["data"].get("id") for event in device.events}
        assert (await me.get("/notifications", held="true"))["items"] == []


async def test_a_newer_one_of_its_key_replaces_an_unread_older_one_in_that_transaction(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        read = await tenant.notify(collapse_key="k")
        await me.put(f"/notifications/{read['id']}/read")
        old, other = await tenant.notify(collapse_key="k"), await tenant.notify(collapse_key="K")
        new = await tenant.notify(collapse_key="k")
        await tenant.notify(2, collapse_key="k")
        events = await device.hear(6)
        assert summary(events[2:]) == [
            ("created", old["id"]), ("created", other["id"]), ("deleted", old["id"]), ("created", new["id"]),
        ]  # fmt: skip
        assert events[4]["data"] == {"id": old["id"], "replaced_by": new["id"]}
        assert [event["counts"]["unread"] for event in events[4:]] == [1, 2]
        shown = [one["id"] for one in (await me.get("/notifications"))["items"]]
        assert shown == [new["id"], other["id"], read["id"]]


async def test_of_held_ones_the_newer_replaces_at_once_and_a_live_one_when_it_goes_live(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        live = await tenant.notify(collapse_key="k")
        first = await tenant.notify(collapse_key="k", deliver_at=ahead(hours=1))
        second = await tenant.notify(collapse_key="k", deliver_at=ahead(seconds=1))
        assert [one["id"] for one in (await me.get("/notifications", held="true"))["items"]] == [second["id"]]
        problem(await me("GET", f"/notifications/{first['id']}"), 404)
        assert [one["id"] for one in (await me.get("/notifications"))["items"]] == [live["id"]]
        events = await device.hear(3, within_s=8)
        assert summary(events) == [("created", live["id"]), ("deleted", live["id"]), ("created", second["id"])]
        assert events[1]["data"]["replaced_by"] == second["id"]


async def test_a_muted_one_replaces_nothing(tenant: Tenant) -> None:
    me = tenant.agent()
    await me.patch(PREFERENCES, {"muted_categories": ["noise"]})
    shown = await tenant.notify(collapse_key="k")
    await tenant.notify(collapse_key="k", category="noise")
    assert [one["id"] for one in (await me.get("/notifications"))["items"]] == [shown["id"]]


async def test_in_one_bulk_the_last_of_a_key_stays(tenant: Tenant) -> None:
    items = [note(user_id=1, collapse_key="k", title=f"{n}") for n in range(5)]
    await tenant.service.post("/notifications/bulk", {"items": items})
    page = await tenant.agent().get("/notifications", include="total")
    assert ([one["title"] for one in page["items"]], page["total"]) == (["4"], 1)
    assert (await tenant.agent().get("/notifications/stats"))["unread"]["unread"] == 1


async def test_with_desktop_notifications_off_nothing_rings(tenant: Tenant) -> None:
    me, device = tenant.agent(), tenant.device()
    async with device.on(tenant.node):
        await tenant.notify()
        assert [event.get("ring", False) for event in await device.hear(1)] == [True]
        await me.patch(PREFERENCES, {"enable_desktop_notifications": False})
        for priority in ("critical", "normal"):
            await tenant.notify(priority=priority)
        assert [event.get("ring", False) for event in await device.hear(3)] == [False] * 3


# -- explain ---------------------------------------------------------------------------------------------------------


async def test_explain_says_every_rule_and_which_one_decides_and_sends_nothing(tenant: Tenant) -> None:
    device = tenant.device()
    async with device.on(tenant.node):
        said = await tenant.agent().post("/notifications/explain", {})
        assert [rule["rule"] for rule in said["rules"]] == [
            "expired", "channel_off", "type_muted", "category_muted", "deliver_at", "snooze", "critical",
            "quiet_hours", "quiet_until", "batch", "default",
        ]  # fmt: skip
        assert [rule["rule"] for rule in said["rules"] if rule["decides"]] == ["default"]
        assert said["verdict"]["action"] == "send"
        assert await drained(device, tenant) == []


@pytest.mark.parametrize(
    ("preferences", "asked", "action", "rule", "goes_at"),
    [
        ({}, {}, "send", "default", "2031-06-02T12:00:00Z"),
        ({}, {"expires_at": "2031-06-02T12:00:00Z"}, "drop", "expired", None),
        ({"enable_email_notifications": False}, {"channel": "email"}, "drop", "channel_off", None),
        ({"enable_email_notifications": False}, {"channel": "sms"}, "send", "default", "2031-06-02T12:00:00Z"),
        ({"notify_call_missed": False}, {"type": "call_missed"}, "drop", "type_muted", None),
        ({"muted_categories": ["x"]}, {"category": "x", "priority": "critical"}, "drop", "category_muted", None),
        ({}, {"deliver_at": "2031-06-03T00:00:00+02:00"}, "hold", "deliver_at", "2031-06-02T22:00:00Z"),
        (QUIET, {"priority": "critical"}, "send", "critical", "2031-06-02T12:00:00Z"),
        (QUIET, {}, "hold", "quiet_hours", None),
        (QUIET | {"quiet_hours_days": [0]}, {}, "hold", "quiet_hours", "2031-06-03T00:00:00Z"),
        (
            QUIET | {"quiet_hours_start": "22:00", "quiet_hours_end": "07:00", "timezone": "America/New_York"},
            {"at": "2031-06-02T03:00:00Z"}, "hold", "quiet_hours", "2031-06-02T11:00:00Z",
        ),
        # In this night of Berlin the clocks go from 02:00 to 03:00, so 02:30 never comes.
        (
            QUIET | {"quiet_hours_start": "22:00", "quiet_hours_end": "02:30", "timezone": "Europe/Berlin"},
            {"at": "2031-03-30T00:30:00Z"}, "hold", "quiet_hours", "2031-03-30T01:00:00Z",
        ),
        # Monday 01:00 belongs to the interval that begins on Sunday.
        (
            QUIET | {"quiet_hours_start": "22:00", "quiet_hours_end": "06:00", "quiet_hours_days": [6]},
            {"at": "2031-06-02T01:00:00Z"}, "hold", "quiet_hours", "2031-06-02T06:00:00Z",
        ),
        ({"quiet_until": "2031-06-02T18:00:00Z"}, {}, "hold", "quiet_until", "2031-06-02T18:00:00Z"),
        ({"email_batch_frequency": "hourly"}, {"channel": "email", "at": "2031-06-02T12:00:01Z"}, "hold", "batch",
         "2031-06-02T13:00:00Z"),
        ({"email_batch_frequency": "daily", "timezone": "Asia/Kolkata"}, {"channel": "email"}, "hold", "batch",
         "2031-06-03T03:30:00Z"),
        ({"sms_batch_frequency": "weekly"}, {"channel": "sms"}, "hold", "batch", "2031-06-09T09:00:00Z"),
        ({"sms_batch_frequency": "weekly"}, {}, "send", "default", "2031-06-02T12:00:00Z"),
    ],
)  # fmt: skip
async def test_explain_foresees_when_it_would_go(
    tenant: Tenant, preferences: dict[str, Any], asked: dict[str, Any], action: str, rule: str, goes_at: str | None
) -> None:
    await tenant.agent().patch(PREFERENCES, preferences)
    question = {"user_id": 1, "at": "2031-06-02T12:00:00Z"} | asked
    said = await tenant.service.post("/notifications/explain", question)
    assert (said["verdict"]["action"], said["verdict"]["rule"], said["goes_at"]) == (action, rule, goes_at)
    assert [one["rule"] for one in said["rules"] if one["decides"]] == [rule]
    assert await tenant.agent().post("/notifications/explain", question) == said


async def test_explain_and_delivery_agree(tenant: Tenant) -> None:
    me = tenant.agent()
    actions = {"live": "send", "held": "hold", "muted": "drop", "expired": "drop"}
    for preferences in ({}, QUIET, {"notify_call_missed": False}, {"quiet_until": ahead(hours=1)}):
        await me.put(PREFERENCES, preferences)
        asked: list[Any] = [
            {}, {"type": "call_missed"}, {"priority": "critical"}, {"deliver_at": ahead(minutes=90)},
            {"expires_at": ahead(seconds=-1)}, {"type": "call_missed", "priority": "critical"},
        ]  # fmt: skip
        for fields in asked:
            made = await tenant.notify(**fields)
            said = await me.post("/notifications/explain", fields)
            assert actions[made["outcome"]] == said["verdict"]["action"], (preferences, fields)
            foreseen, held = said["verdict"]["until"], made["held_until"]
            assert (foreseen is None) == (held is None)
            assert held is None or abs(instant(foreseen) - instant(held)) < timedelta(milliseconds=1)
