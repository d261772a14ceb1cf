"""Creating: what goes live, what waits, what is only kept, and what each does to counts and deliveries."""

from __future__ import annotations

import pytest

from hub.app import create
from hub.app.errors import Forbidden
from hub.core.counts import Counts
from tests.app.world import ALL_DAY, TENANT, World, draft, later


async def test_a_live_one_is_an_event_with_counts_and_a_hint_of_the_same(world: World, user: int):
    made = await world.send(user, priority="high")
    [event] = await world.events(user)
    assert (made.outcome, event["kind"], event["seq"], event["data"]["id"]) == (
        "live",
        "notification.created",
        1,
        made.id,
    )
    assert event["counts"] == {"unread": 1, "unseen": 1, "critical": 0, "high": 1, "normal": 0, "low": 0}
    assert event["rings"] is True
    [hint] = world.broker.hints(user)
    assert [one.seq for one in hint.events] == [1]
    await world.check(user)


async def test_one_to_many_is_one_transaction_with_an_item_each(world: World, user: int):
    made = await world.send_many([draft(user + 2), draft(user), draft(user + 1)])
    assert [one.user_id for one in made] == [user + 2, user, user + 1]
    for one in range(3):
        assert await world.counts(user + one) == Counts(unread=1, unseen=1, normal=1)


async def test_successive_events_of_one_batch_carry_successive_counts(world: World, user: int):
    await world.send_many([draft(user), draft(user, priority="critical"), draft(user)])
    assert [event["counts"]["unread"] for event in await world.events(user)] == [1, 2, 3]
    await world.check(user)


async def test_quiet_hours_hold_all_but_critical(world: World, user: int):
    await world.prefer(user, **ALL_DAY)
    held, critical = await world.send_many([draft(user), draft(user, priority="critical")])
    assert (held.outcome, held.held_until) == ("held", None)
    assert critical.outcome == "live"
    assert await world.kinds(user, after=1) == ["notification.created"]
    assert (await world.channels(held.id))["in_app"] == ("held", "quiet_hours")
    await world.check(user)


async def test_deliver_at_holds_even_what_is_critical(world: World, user: int):
    at = later(3600)
    made = await world.send(user, priority="critical", deliver_at=at)
    row = await world.row(made.id)
    assert row is not None
    assert (made.outcome, made.held_until, row.due_at, row.hold_reason) == ("held", at, at, "schedule")
    assert await world.events(user) == []


@pytest.mark.parametrize(
    ("preference", "fields", "reason"),
    [
        ({"enable_in_app_notifications": False}, {}, "channel_off"),
        ({"notify_task_assigned": False}, {"type": "task_assigned"}, "type_muted"),
        ({"muted_categories": ("ads",)}, {"category": "ads"}, "category_muted"),
    ],
)
async def test_what_is_muted_is_kept_for_the_record_alone(
    world: World, user: int, preference: dict[str, object], fields: dict[str, object], reason: str
):
    await world.prefer(user, **preference)
    await world.give_address(user, "email")
    made = await world.send(user, **fields)
    assert made.outcome == "muted"
    assert await world.kinds(user) == ["preferences.updated"]
    assert await world.counts(user) == Counts()
    channels = await world.channels(made.id)
    assert channels["in_app"] == ("dropped", reason)
    assert channels["email"][0] == ("planned" if reason == "channel_off" else "dropped")


async def test_what_has_expired_is_recorded_and_never_told(world: World, user: int):
    made = await world.send(user, expires_at=later(-1))
    assert made.outcome == "expired"
    assert await world.events(user) == []
    assert (await world.channels(made.id))["in_app"] == ("dropped", "expired")


async def test_deliveries_are_planned_where_there_is_an_address(world: World, user: int):
    await world.give_address(user, "email", "slack")
    made = await world.send(user)
    assert await world.channels(made.id) == {
        "in_app": ("sent", None),
        "email": ("planned", None),
        "slack": ("planned", None),
    }


async def test_channels_given_are_the_only_ones(world: World, user: int):
    await world.give_address(user, "email", "slack")
    made = await world.send(user, channels=frozenset(["email", "sms"]))
    assert made.outcome == "muted"
    assert await world.channels(made.id) == {
        "in_app": ("dropped", "not_requested"),
        "email": ("planned", None),
        "sms": ("planned", None),
    }
    assert await world.events(user) == []


async def test_desktop_notifications_off_means_that_nothing_rings(world: World, user: int):
    await world.prefer(user, enable_desktop_notifications=False)
    await world.send(user, priority="critical")
    assert [event["rings"] for event in await world.events(user)] == [False, False]


async def test_an_agent_notifies_only_themselves(world: World, user: int):
    with pytest.raises(Forbidden):
        await create.create(world.deps, world.caller(user), [draft(user + 1)])
    assert await world.events(user + 1) == []
    outcome = await create.create(world.deps, world.caller(user), [draft(user)])
    assert str(outcome.position).endswith(":1")
    supervised = await create.create(world.deps, world.caller(user, "supervisor"), [draft(user + 1)])
    assert str(supervised.position).endswith(":1")  # the caller's own stream, not the recipient's


async def test_the_trail_says_who_and_how_many_and_no_content(world: World, user: int):
    await world.send_many([draft(user, title="a secret"), draft(user + 1)])
    [row] = await world.sql("SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")
    assert (row["action"], row["actor_id"], row["actor_key_id"], row["actor_role"]) == (
        "notification.create",
        None,
        9,
        "service",
    )
    assert (row["request_id"], row["address"], row["changes"]["count"]) == ("r-1", "192.0.2.1", 2)
    assert "secret" not in str(dict(row))


async def test_another_tenant_sees_nothing(world: World, user: int):
    await world.send(user)
    assert await world.sql("SELECT 1 FROM notifications WHERE user_id = $1", user, tenant="other") == []
    assert (await world.sql("SELECT 1 FROM notifications WHERE user_id = $1", user, tenant=TENANT)) != []


# -- collapse keys ---------------------------------------------------------------------------------------------------


async def test_a_newer_one_replaces_an_unread_older_one(world: World, user: int):
    old = await world.send(user, collapse_key="k")
    new = await world.send(user, collapse_key="k")
    events = await world.events(user, after=1)
    assert [event["kind"] for event in events] == ["notification.deleted", "notification.created"]
    assert events[0]["data"] == {"id": old.id, "replaced_by": new.id}
    assert [event["counts"]["unread"] for event in events] == [0, 1]
    assert await world.row(old.id) is None
    assert await world.channels(old.id) == {}
    await world.check(user)


async def test_one_that_was_read_is_not_replaced(world: World, user: int):
    old = await world.send(user, collapse_key="k")
    await world.act(user, "read", old.id)
    await world.send(user, collapse_key="k")
    assert await world.row(old.id) is not None
    await world.check(user)


async def test_another_key_and_another_user_are_left_alone(world: World, user: int):
    first = await world.send(user, collapse_key="k")
    second = await world.send(user + 1, collapse_key="k")
    await world.send(user, collapse_key="j")
    assert await world.row(first.id) is not None
    assert await world.row(second.id) is not None


async def test_a_held_newer_one_replaces_a_held_older_one_at_once_and_silently(world: World, user: int):
    await world.prefer(user, **ALL_DAY)
    old = await world.send(user, collapse_key="k")
    new = await world.send(user, collapse_key="k")
    assert await world.row(old.id) is None
    assert await world.row(new.id) is not None
    assert await world.kinds(user, after=1) == []


async def test_a_held_newer_one_leaves_a_live_older_one_until_it_goes_live(world: World, user: int):
    old = await world.send(user, collapse_key="k")
    new = await world.send(user, collapse_key="k", deliver_at=later(3600))
    assert await world.row(old.id) is not None
    await world.make_due(new.id)
    await world.release(user)
    assert await world.row(old.id) is None
    assert await world.kinds(user, after=1) == ["notification.deleted", "notification.created"]
    await world.check(user)


async def test_a_muted_one_replaces_nothing(world: World, user: int):
    old = await world.send(user, collapse_key="k", category="calls")
    await world.prefer(user, muted_categories=("calls",))
    await world.send(user, collapse_key="k", category="calls")
    assert await world.row(old.id) is not None
    await world.check(user)


async def test_within_one_batch_the_last_of_a_key_remains(world: World, user: int):
    made = await world.send_many([draft(user, collapse_key="k") for _ in range(3)])
    assert [await world.row(one.id) is not None for one in made] == [False, False, True]
    assert await world.kinds(user) == [
        "notification.created",
        "notification.deleted",
        "notification.created",
        "notification.deleted",
        "notification.created",
    ]
    await world.check(user)
