"""What people do with their own: each by a row of what it is before and after."""

from __future__ import annotations

from typing import Any

import pytest

from hub.app import own
from hub.app.errors import Conflict, Forbidden, Invalid, NotFound
from hub.core.counts import Counts
from tests.app.world import ALL_DAY, World, later

NONE = Counts()
ONE = Counts(unread=1, unseen=1, normal=1)


async def snooze(world: World, user: int, notification_id: int, seconds: float = 3600) -> Any:
    outcome = await own.snooze(world.deps, world.caller(user), notification_id, later(seconds))
    assert outcome.result is not None
    return outcome.result.items[0]


async def unsnooze(world: World, user: int, notification_id: int) -> Any:
    outcome = await own.unsnooze(world.deps, world.caller(user), notification_id)
    assert outcome.result is not None
    return outcome.result.items[0] if outcome.result.items else None


async def sweep(world: World, user: int, what: Any, before: int | None = None) -> own.Swept:
    outcome = await own.sweep(world.deps, world.caller(user), what, before)
    assert outcome.result is not None
    return outcome.result


@pytest.mark.parametrize(
    ("actions", "counts", "kinds"),
    [
        (["read"], NONE, 1),
        (["read", "read"], NONE, 1),
        (["read", "unread"], Counts(unread=1, normal=1), 2),
        (["unread"], ONE, 0),
        (["archive"], NONE, 1),
        (["archive", "archive"], NONE, 1),
        (["archive", "unarchive"], ONE, 2),
        (["unarchive"], ONE, 0),
        (["archive", "read", "unarchive"], NONE, 3),
        (["archive", "read", "unread", "unarchive"], Counts(unread=1, normal=1), 4),
    ],
)
async def test_each_action_changes_what_it_says_and_twice_is_once(
    world: World, user: int, actions: list[str], counts: Counts, kinds: int
):
    made = await world.send(user)
    for action in actions:
        await world.act(user, action, made.id)
    assert await world.counts(user) == counts
    assert await world.kinds(user, after=1) == ["notification.updated"] * kinds
    await world.check(user)


async def test_reading_implies_seen(world: World, user: int):
    made = await world.send(user)
    [read] = (await world.act(user, "read", made.id)).items
    assert (read.is_read, read.is_seen, read.read_at is not None) == (True, True, True)


async def test_delete_is_an_event_with_counts_and_takes_the_deliveries(world: World, user: int):
    made = await world.send(user)
    done = await world.act(user, "delete", made.id)
    assert (done.items, done.deleted) == ([], [made.id])
    [event] = await world.events(user, after=1)
    assert (event["kind"], event["data"], event["counts"]["unread"]) == ("notification.deleted", {"id": made.id}, 0)
    assert await world.channels(made.id) == {}
    with pytest.raises(NotFound):
        await world.act(user, "delete", made.id)


async def test_several_are_one_transaction_with_successive_counts(world: World, user: int):
    made = [await world.send(user) for _ in range(3)]
    await world.act(user, "read", *(one.id for one in made))
    assert [event["counts"]["unread"] for event in await world.events(user, after=3)] == [2, 1, 0]
    assert len(world.broker.hints(user)[-1].events) == 3


async def test_nobody_changes_what_is_anothers(world: World, user: int):
    made = await world.send(user)
    mine = await world.send(user + 1)
    with pytest.raises(NotFound):
        await world.act(user + 1, "read", made.id)
    done = await world.act(user + 1, "read", mine.id, made.id)
    assert done.missing == [made.id]
    assert await world.counts(user) == ONE
    with pytest.raises(Forbidden):
        await own.act(world.deps, world.caller(user, "service"), [made.id], "read")


# -- what is held ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["read", "archive"])
async def test_a_held_one_that_was_dealt_with_is_not_released(world: World, user: int, action: str):
    await world.prefer(user, **ALL_DAY)
    made = await world.send(user)
    await world.act(user, action, made.id)
    row = await world.row(made.id)
    assert row is not None
    assert (row.state, row.live_seq, row.is_read, row.is_archived) == ("live", 2, action == "read", action == "archive")
    assert await world.kinds(user) == ["preferences.updated", "notification.updated"]
    await world.prefer(user, quiet_hours_enabled=False)
    assert await world.kinds(user, after=2) == ["preferences.updated"]
    assert await world.counts(user) == NONE
    await world.check(user)


async def test_a_held_one_that_was_deleted_is_gone_without_an_event(world: World, user: int):
    await world.prefer(user, **ALL_DAY)
    made = await world.send(user)
    await world.act(user, "delete", made.id)
    assert await world.row(made.id) is None
    assert await world.kinds(user) == ["preferences.updated"]


async def test_dealing_with_a_held_one_cancels_what_would_have_been_sent(world: World, user: int):
    await world.give_address(user, "email", "slack")
    made = await world.send(user, deliver_at=later(3600))
    assert (await world.channels(made.id))["slack"] == ("held", "deliver_at")
    await world.act(user, "archive", made.id)
    assert await world.channels(made.id) == {
        "in_app": ("sent", None),
        "email": ("cancelled", "archived"),
        "slack": ("cancelled", "archived"),
    }


async def test_reading_cancels_mail_and_sms_that_have_not_left(world: World, user: int):
    await world.give_address(user, "email", "sms", "slack")
    made = await world.send(user)
    await world.sql(
        "UPDATE notification_delivery SET status = 'sending' WHERE notification_id = $1 AND channel = 'sms'", made.id
    )
    await world.act(user, "read", made.id)
    assert await world.channels(made.id) == {
        "in_app": ("sent", None),
        "email": ("cancelled", "read"),
        "sms": ("sending", None),
        "slack": ("planned", None),
    }


@pytest.mark.parametrize("how", ["read", "read_all"])
async def test_reading_what_is_critical_cancels_nothing(world: World, user: int, how: str):
    await world.give_address(user, "email")
    critical = await world.send(user, priority="critical")
    normal = await world.send(user)
    if how == "read":
        await world.act(user, "read", critical.id, normal.id)
    else:
        await sweep(world, user, "read_all")
    assert (await world.channels(critical.id))["email"] == ("planned", None)
    assert (await world.channels(normal.id))["email"] == ("cancelled", "read")


# -- snooze ----------------------------------------------------------------------------------------------------------


async def test_snooze_makes_unread_and_held(world: World, user: int):
    made = await world.send(user)
    await world.act(user, "read", made.id)
    snoozed = await snooze(world, user, made.id)
    assert (snoozed.is_read, snoozed.held_until is not None) == (False, True)
    assert await world.counts(user) == NONE
    assert (await world.kinds(user))[-1] == "notification.updated"
    await world.check(user)
    await world.make_due(made.id)
    await world.release(user)
    [event] = (await world.events(user))[-1:]
    assert (event["kind"], event["data"]["released"]) == ("notification.created", True)
    assert (event["counts"]["unread"], event["counts"]["unseen"]) == (1, 1)  # it comes as if new
    await world.check(user)


async def test_reading_while_snoozed_ends_the_snooze(world: World, user: int):
    made = await world.send(user)
    await snooze(world, user, made.id)
    [read] = (await world.act(user, "read", made.id)).items
    row = await world.row(made.id)
    assert row is not None
    assert (read.held_until, row.state, row.live_seq) == (None, "live", 1)
    assert await world.release(user) == 0
    await world.check(user)


async def test_snoozing_twice_the_same_is_one_event(world: World, user: int):
    made = await world.send(user)
    until = later(3600)
    for _ in range(2):
        await own.snooze(world.deps, world.caller(user), made.id, until)
    assert await world.kinds(user, after=1) == ["notification.updated"]


async def test_unsnooze_comes_live_at_once(world: World, user: int):
    made = await world.send(user, priority="low")
    await snooze(world, user, made.id)
    back = await unsnooze(world, user, made.id)
    assert back.held_until is None
    assert await world.kinds(user, after=2) == ["notification.created"]
    assert await world.counts(user) == Counts(unread=1, unseen=1, low=1)
    await unsnooze(world, user, made.id)
    assert await world.head(user) == 3
    await world.check(user)


async def test_unsnooze_in_quiet_hours_stays_held_until_they_end(world: World, user: int):
    made = await world.send(user)
    await snooze(world, user, made.id)
    await world.prefer(user, **ALL_DAY)
    await unsnooze(world, user, made.id)
    row = await world.row(made.id)
    assert row is not None
    assert (row.state, row.hold_reason, row.held_until) == ("held", "quiet", None)
    await world.check(user)
    await world.prefer(user, quiet_hours_enabled=False)
    assert (await world.kinds(user))[-2:] == ["quiet_hours.ended", "notification.created"]
    await world.check(user)


async def test_a_snooze_holds_what_has_not_been_sent_elsewhere(world: World, user: int):
    await world.give_address(user, "email")
    made = await world.send(user)
    await snooze(world, user, made.id)
    assert (await world.channels(made.id)) == {"in_app": ("held", "snooze"), "email": ("held", "snooze")}
    await unsnooze(world, user, made.id)
    assert (await world.channels(made.id)) == {"in_app": ("sent", None), "email": ("planned", None)}


async def test_a_snooze_needs_a_future_and_something_that_is_there(world: World, user: int):
    made = await world.send(user)
    with pytest.raises(Invalid) as caught:
        await snooze(world, user, made.id, -1)
    assert caught.value.errors[0][0] == "$.until"
    muted = await world.send(user, channels=frozenset(["email"]))
    with pytest.raises(Conflict):
        await snooze(world, user, muted.id)


async def test_a_replaced_snoozed_one_is_told_since_clients_hold_it(world: World, user: int):
    old = await world.send(user, collapse_key="k")
    await snooze(world, user, old.id)
    new = await world.send(user, collapse_key="k")
    events = await world.events(user, after=2)
    assert events[0]["data"] == {"id": old.id, "replaced_by": new.id}
    await world.check(user)


# -- all at once -----------------------------------------------------------------------------------------------------


async def test_read_all_reads_what_is_live_and_leaves_what_is_held(world: World, user: int):
    await world.send(user, priority="high")
    await world.act(user, "archive", (await world.send(user)).id)
    held = await world.send(user, deliver_at=later(3600))
    snoozed = await world.send(user)
    await snooze(world, user, snoozed.id)
    head = await world.head(user)
    swept = await sweep(world, user, "read_all")
    assert (swept.count, swept.before_seq, swept.counts) == (2, head, NONE)
    [event] = await world.events(user, after=head)
    assert (event["kind"], event["data"]) == ("notifications.read_all", {"before_seq": head, "count": 2})
    for one in (held, snoozed):
        row = await world.row(one.id)
        assert row is not None
        assert not row.is_read
    await world.check(user)
    assert (await sweep(world, user, "read_all")).count == 0
    assert await world.head(user) == head + 1


async def test_before_counts_by_when_it_went_live_not_by_id(world: World, user: int):
    scheduled = await world.send(user, deliver_at=later(3600))
    first = await world.send(user)
    second = await world.send(user)
    await world.make_due(scheduled.id)
    await world.release(user)
    swept = await sweep(world, user, "read_all", before=first.id)
    assert swept.count == 1
    unread = [one for one in (scheduled, first, second) if not (await world.row(one.id)).is_read]  # type: ignore[union-attr]
    assert [one.id for one in unread] == [scheduled.id, second.id]
    await world.check(user)


async def test_seen_is_not_read(world: World, user: int):
    await world.send(user)
    assert (await sweep(world, user, "seen")).counts == Counts(unread=1, normal=1)
    await world.check(user)


async def test_before_must_be_ones_own_and_have_been_live(world: World, user: int):
    other = await world.send(user + 1)
    held = await world.send(user, deliver_at=later(3600))
    with pytest.raises(NotFound):
        await sweep(world, user, "read_all", before=other.id)
    with pytest.raises(Conflict):
        await sweep(world, user, "seen", before=held.id)


# -- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["recipient", "creator"])
async def test_a_schedule_is_cancelled_by_whom_it_is_for_or_who_made_it(world: World, user: int, who: str):
    made = await world.send(user, deliver_at=later(3600))
    for stranger in (world.caller(user + 1), world.caller(user, "service"), world.caller(user, tenant="other")):
        with pytest.raises(NotFound):
            await own.cancel_schedule(world.deps, stranger, made.id)
    await own.cancel_schedule(world.deps, world.caller(user) if who == "recipient" else world.producer, made.id)
    assert await world.row(made.id) is None
    assert await world.events(user) == []


async def test_what_is_live_already_is_a_conflict(world: World, user: int):
    scheduled = await world.send(user, deliver_at=later(3600))
    await world.make_due(scheduled.id)
    await world.release(user)
    for one in (scheduled, await world.send(user)):
        with pytest.raises(Conflict):
            await own.cancel_schedule(world.deps, world.caller(user), one.id)
