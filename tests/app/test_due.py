"""The end of a hold, changed preferences, expiry, and what is taken back."""

from __future__ import annotations

import asyncio

import pytest

from hub.app import due, preferences, withdraw
from hub.app.errors import Forbidden, Invalid
from hub.app.unit import Unit, perform
from hub.core.counts import Counts
from hub.store.notifications import Withdrawn
from tests.app.test_own import snooze
from tests.app.world import ALL_DAY, TENANT, World, draft, later


async def test_a_release_goes_by_priority_then_the_oldest_first(world: World, user: int):
    at = later(3600)
    made = await world.send_many(
        [draft(user, priority=one, deliver_at=at) for one in ("low", "normal", "critical", "normal", "high")]
    )
    await world.make_due(*(one.id for one in made))
    assert await world.release(user) == 5
    events = await world.events(user)
    ids = [one.id for one in made]
    assert [event["data"]["id"] for event in events] == [ids[2], ids[4], ids[1], ids[3], ids[0]]
    assert all(event["data"]["released"] and event["released"] for event in events)
    assert [event["counts"]["unread"] for event in events] == [1, 2, 3, 4, 5]
    await world.check(user)
    assert await world.release(user) == 0


async def test_the_end_of_quiet_is_said_before_the_first_of_what_it_held(world: World, user: int):
    await world.prefer(user, **ALL_DAY)
    await world.send_many([draft(user, priority="high"), draft(user), draft(user)])
    await world.prefer(user, quiet_hours_enabled=False)
    events = await world.events(user, after=1)
    assert [event["kind"] for event in events] == [
        "preferences.updated",
        "quiet_hours.ended",
        "notification.created",
        "notification.created",
        "notification.created",
    ]
    assert events[1]["data"] == {"released": 3, "by_priority": {"critical": 0, "high": 1, "normal": 2, "low": 0}}
    await world.check(user)


async def test_a_schedule_that_ends_in_quiet_hours_waits_for_their_end(world: World, user: int):
    made = await world.send(user, deliver_at=later(3600))
    await world.prefer(user, quiet_until=later(7200))
    await world.make_due(made.id)
    assert await world.release(user) == 1
    row = await world.row(made.id)
    assert row is not None
    assert (row.state, row.hold_reason) == ("held", "quiet")
    assert row.due_at is not None
    assert row.due_at > later(3600)


async def test_what_expires_while_it_is_held_is_dropped_and_never_counted(world: World, user: int):
    made = await world.send(user, deliver_at=later(3600), expires_at=later(7200))
    await world.make_due(made.id)
    await world.make_expired(made.id)
    await world.release(user)
    row = await world.row(made.id)
    assert row is not None
    assert row.state == "expired"
    assert await world.events(user) == []
    assert (await world.channels(made.id))["in_app"] == ("dropped", "expired")


async def test_preferences_judge_anew_at_once_whatever_waits(world: World, user: int):
    await world.give_address(user, "email")
    await world.prefer(user, **ALL_DAY)
    made = await world.send(user, category="ads")
    scheduled = await world.send(user, category="ads", deliver_at=later(3600))
    await world.prefer(user, muted_categories=("ads",))
    for one in (made, scheduled):
        row = await world.row(one.id)
        assert row is not None
        assert row.state == "muted"
        assert await world.channels(one.id) == {
            "in_app": ("dropped", "category_muted"),
            "email": ("dropped", "category_muted"),
        }
    assert await world.counts(user) == Counts()


async def test_a_snoozed_one_that_is_muted_leaves_the_screens_that_hold_it(world: World, user: int):
    made = await world.send(user, category="ads")
    await snooze(world, user, made.id)
    await world.prefer(user, muted_categories=("ads",))
    assert await world.kinds(user, after=2) == ["preferences.updated", "notification.deleted"]
    await world.check(user)


async def test_saying_the_same_again_is_no_event(world: World, user: int):
    await world.prefer(user, locale="de")
    await world.prefer(user, locale="de")
    assert await world.kinds(user) == ["preferences.updated"]
    rows = await world.sql(
        "SELECT changes FROM audit_log WHERE action = 'preferences.update' AND entity_id = $1", str(user)
    )
    assert [row["changes"] for row in rows] == [{"fields": {"locale": ["en", "de"]}}]


async def test_what_the_tenant_has_locked_cannot_be_switched_off(world: World, user: int):
    await world.sql(
        "INSERT INTO tenant_settings (tenant_id, locked, preferences)"
        " VALUES ('locking', '{enable_email_notifications}', '{\"timezone\": \"Europe/Berlin\"}')",
        tenant="locking",
    )
    caller = world.caller(user, tenant="locking")
    with pytest.raises(Invalid) as caught:
        await preferences.change_preferences(
            world.deps, caller, lambda now, _: type(now)(enable_email_notifications=False)
        )
    assert [path for path, _ in caught.value.errors] == ["$.enable_email_notifications"]
    assert (await preferences.read_preferences(world.deps, caller)).result.timezone == "Europe/Berlin"  # type: ignore[union-attr]


async def test_only_an_admin_and_a_service_see_the_preferences_of_others(world: World, user: int):
    for role in ("agent", "supervisor"):
        with pytest.raises(Forbidden):
            await preferences.read_preferences(world.deps, world.caller(user, role), user + 1)
    with pytest.raises(Forbidden):
        await preferences.read_preferences(world.deps, world.caller(None, "service"))


async def test_a_release_larger_than_one_transaction_goes_on(world: World, user: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(due, "ROWS_MAX", 4)
    monkeypatch.setattr(preferences, "ROWS_MAX", 4)
    await world.prefer(user, **ALL_DAY)
    await world.send_many([draft(user) for _ in range(10)])
    await world.prefer(user, quiet_hours_enabled=False)
    assert world.deps.wakes.release.is_set()
    assert await world.counts(user) == Counts(unread=4, unseen=4, normal=4)
    while await world.release(user):
        pass
    assert await world.counts(user) == Counts(unread=10, unseen=10, normal=10)
    await world.check(user)


async def test_two_nodes_do_not_queue_up_on_one_user(world: World, user: int):
    made = await world.send(user, deliver_at=later(3600))
    await world.make_due(made.id)
    async with world.database.transaction(TENANT) as tx:
        await tx.fetch("SELECT pg_try_advisory_xact_lock(hashtextextended($1 || ':' || $2::bigint, 7))", TENANT, user)
        assert await world.release(user) == 0
    assert await world.release(user) == 1


@pytest.mark.parametrize("step", ["release", "expire"])
async def test_what_is_due_is_read_under_the_lock(world: World, user: int, step: str):
    """Deleted by its person while the worker waits for the lock: it must not come back."""
    made = await world.send(user, deliver_at=later(3600), expires_at=later(7200))
    await (world.make_due if step == "release" else world.make_expired)(made.id)
    working: list[asyncio.Task[int]] = []

    async def work(unit: Unit) -> None:
        await unit.lock([user])
        working.append(asyncio.create_task(world.release(user) if step == "release" else world.expire(user)))
        while not await world.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0)
        await unit.tx.execute("DELETE FROM notifications WHERE id = $1", made.id)

    await perform(world.deps, world.caller(user), work)
    assert await working[0] == 0
    assert await world.events(user) == []


# -- expiry ----------------------------------------------------------------------------------------------------------


async def test_what_is_live_expires_by_an_event_with_counts_and_read_ones_too(world: World, user: int):
    made = await world.send_many([draft(user, expires_at=later(3600)) for _ in range(2)])
    await world.act(user, "read", made[1].id)
    await world.make_expired(*(one.id for one in made))
    assert await world.expire(user) == 2
    events = await world.events(user, after=3)
    assert [event["kind"] for event in events] == ["notification.expired"] * 2
    assert {event["data"]["id"] for event in events} == {one.id for one in made}
    assert await world.counts(user) == Counts()
    await world.check(user)
    assert await world.expire(user) == 0


async def test_what_never_was_live_expires_silently(world: World, user: int):
    held = await world.send(user, deliver_at=later(3600), expires_at=later(7200))
    muted = await world.send(user, channels=frozenset(["email"]), expires_at=later(7200))
    await world.make_expired(held.id, muted.id)
    assert await world.expire(user) == 2
    assert await world.events(user) == []
    assert (await world.channels(muted.id)) == {
        "in_app": ("dropped", "not_requested"),
        "email": ("cancelled", "expired"),
    }
    assert await world.expire(user) == 0


# -- taking back -----------------------------------------------------------------------------------------------------


async def test_only_what_the_caller_created_is_withdrawn(world: World, user: int):
    mine = [await world.send(user + n, related_entity_type="lead", related_entity_id="7") for n in range(2)]
    held = await world.send(user, related_entity_type="lead", related_entity_id="7", deliver_at=later(3600))
    asked = Withdrawn(created_by=None, created_by_key=9, related=("lead", "7"))
    others = Withdrawn(created_by=None, created_by_key=8, related=("lead", "7"))
    assert (await withdraw.withdraw(world.deps, world.producer, others)).result == withdraw.Count(0)
    assert (await withdraw.withdraw(world.deps, world.producer, asked)).result == withdraw.Count(3)
    assert [await world.row(one.id) for one in (*mine, held)] == [None] * 3
    assert await world.kinds(user) == ["notification.created", "notification.deleted"]
    await world.check(user)
    with pytest.raises(Forbidden):
        await withdraw.withdraw(world.deps, world.caller(user), asked)


async def test_withdrawing_by_collapse_key_goes_part_by_part(world: World, user: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(withdraw, "USERS_MAX", 2)
    await world.send_many([draft(user + n, collapse_key=f"w{user}") for n in range(5)])
    asked = Withdrawn(created_by=None, created_by_key=9, collapse_key=f"w{user}")
    assert (await withdraw.withdraw(world.deps, world.producer, asked)).result == withdraw.Count(5)
    for n in range(5):
        await world.check(user + n)


@pytest.mark.parametrize("include_unread", [False, True])
async def test_a_clean_up_is_one_event_a_user_and_never_takes_what_is_held(
    world: World, user: int, include_unread: bool
):
    old = await world.send_many(
        [draft(user), draft(user, priority="high"), draft(user, deliver_at=later(3600)), draft(user)]
    )
    await world.act(user, "read", old[0].id)
    await world.act(user, "archive", old[3].id)
    new = await world.send(user)
    await world.act(user, "read", new.id)
    head = await world.head(user)
    await world.sql(
        "UPDATE notifications SET created_at = now() - interval '8 days' WHERE id = ANY($1::bigint[])",
        [one.id for one in old],
    )
    caller = world.caller(1, "admin")
    outcome = await withdraw.clean_up(world.deps, caller, 7, include_unread=include_unread)
    assert outcome.result == withdraw.Count(3 if include_unread else 2)
    assert [await world.row(one.id) is not None for one in (*old, new)] == [
        False,
        not include_unread,
        True,
        False,
        True,
    ]
    [event] = await world.events(user, after=head)
    assert (event["kind"], event["data"]["count"]) == ("notifications.cleaned", 3 if include_unread else 2)
    assert ("counts" in event) == include_unread
    assert await world.counts(user) == (Counts() if include_unread else Counts(unread=1, unseen=1, high=1))
    await withdraw.clean_up(world.deps, caller, 7, include_unread=True)  # leaves nothing to the other case


async def test_releases_of_one_user_by_many_nodes_at_once_happen_once(world: World, user: int):
    made = await world.send_many([draft(user, deliver_at=later(3600)) for _ in range(20)])
    await world.make_due(*(one.id for one in made))
    done = await asyncio.gather(*(world.release(user) for _ in range(6)))
    assert sum(done) == 20
    await world.check(user)
