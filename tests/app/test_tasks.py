"""Tasks on a real PostgreSQL: who may, who wins, what is told, and what is never half done."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from hub.app import task_people, task_time, task_views, tasks, tenant
from hub.app.caller import Caller
from hub.app.errors import AppError, Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from hub.app.tasks import Write
from hub.core.task import Status, Task, TaskFields
from hub.store import upkeep
from hub.store.task_lists import Asked
from tests.app.world import TENANT, World, later


def making(**fields: Any) -> Write:
    return Write(None, lambda _: TaskFields(**{"title": "A task", **fields}))


def changing(task_id: int, versions: tuple[int, ...] | None = None, **fields: Any) -> Write:
    return Write(task_id, lambda now: msgspec.structs.replace(now, **fields), versions)


async def make(world: World, caller: Caller, **fields: Any) -> Task:
    return (await write(world, caller, making(**fields)))[0]


async def write(world: World, caller: Caller, *writes: Write) -> list[Task]:
    outcome = await tasks.write(world.deps, caller, writes)
    assert outcome.result is not None
    return outcome.result


async def move(world: World, caller: Caller, task_id: int, wanted: Status, **how: Any) -> Task:
    outcome = await tasks.change_status(world.deps, caller, task_id, wanted, **how)
    assert outcome.result is not None
    return outcome.result


async def mine(world: World, caller: Caller, **asked: Any) -> list[Task]:
    outcome = await task_views.list_tasks(world.deps, caller, Asked(limit=200, **asked), with_total=True)
    assert outcome.result is not None
    assert outcome.result.total == len(outcome.result.items)
    return [one.task for one in outcome.result.items]


async def notified(world: World, user_id: int) -> list[tuple[str, str, str]]:
    rows = await world.sql(
        "SELECT type, category, related_entity_id FROM notifications WHERE user_id = $1 ORDER BY id", user_id
    )
    return [tuple(row) for row in rows]


async def wake(world: World) -> list[int]:
    async with world.database.system() as tx:
        due = [task_id for tenant, task_id in await upkeep.find_due_tasks(tx, 500) if tenant == TENANT]
    await task_time.wake_due(world.deps, TENANT, due)
    return due


async def pass_time(world: World, task_id: int, minutes: float) -> None:
    """As if it had been asked for so much earlier."""
    await world.sql(
        "UPDATE tasks SET due_date = due_date - $2::interval, wake_at = wake_at - $2::interval,"
        " scheduled_at = scheduled_at - $2::interval WHERE id = $1",
        task_id,
        timedelta(minutes=minutes),
    )


# -- whom a task tells -------------------------------------------------------------------------------------------------


async def test_a_new_task_is_told_to_who_made_it_and_who_gets_it(world: World, user: int):
    boss, agent = world.caller(user, "supervisor"), user + 1
    task = await make(world, boss, assigned_to=agent, priority="high")
    assert await world.kinds(user) == ["task.created", "task.assigned"]
    assert await world.kinds(agent) == ["task.created", "task.assigned", "notification.created"]
    assert await notified(world, agent) == [("task_assigned", "general", str(task.id))]
    assert await notified(world, user) == []
    created = (await world.events(agent))[0]
    assert created["data"]["id"] == task.id
    assert created["priority"] == "high"
    await world.check(agent)


async def test_what_one_assigns_to_oneself_notifies_nobody(world: World, user: int):
    await make(world, world.caller(user), assigned_to=user)
    assert await notified(world, user) == []


async def test_handing_over_tells_who_had_it_and_gives_the_task_to_who_has_it_now(world: World, user: int):
    boss, first, second = world.caller(user, "supervisor"), user + 1, user + 2
    task = await make(world, boss, assigned_to=first)
    head = await world.head(first)
    await write(world, boss, changing(task.id, assigned_to=second))
    assert await world.kinds(first, head) == ["task.updated", "task.unassigned"]
    assert (await world.events(first, head))[1]["data"]["user_id"] == first
    assert await world.kinds(second) == ["task.assigned", "notification.created"]
    assert (await world.events(second))[0]["data"]["task"]["assigned_to"] == second
    assert await notified(world, second) == [("task_assigned", "general", str(task.id))]
    assert [one.id for one in await mine(world, world.caller(first))] == []


async def test_completing_tells_who_made_it(world: World, user: int):
    boss, agent = world.caller(user, "supervisor"), world.caller(user + 1)
    task = await make(world, boss, assigned_to=user + 1)
    done = await move(world, agent, task.id, "completed")
    assert done.completed_at is not None
    assert await notified(world, user) == [("task_completed", "general", str(task.id))]
    assert (await world.kinds(user))[-2:] == ["task.completed", "notification.created"]


async def test_a_comment_is_told_to_all_but_its_author(world: World, user: int):
    boss, agent = world.caller(user, "supervisor"), world.caller(user + 1)
    task = await make(world, boss, assigned_to=user + 1)
    await task_people.assign(world.deps, boss, task.id, user + 2, "watcher", None)
    await task_people.add_comment(world.deps, agent, task.id, "On it", ["https://example.org/a"])
    assert ("message_received", "comment", str(task.id)) in await notified(world, user)
    assert ("message_received", "comment", str(task.id)) in await notified(world, user + 2)
    assert ("message_received", "comment", str(task.id)) not in await notified(world, user + 1)
    assert "task.commented" in await world.kinds(user + 1)


async def test_only_its_author_changes_a_comment(world: World, user: int):
    boss, agent = world.caller(user, "supervisor"), world.caller(user + 1)
    task = await make(world, boss, assigned_to=user + 1)
    said = (await task_people.add_comment(world.deps, agent, task.id, "On it", [])).result
    assert said is not None
    with pytest.raises(Forbidden):
        await task_people.change_comment(world.deps, boss, task.id, said.id, "No", [])
    changed = (await task_people.change_comment(world.deps, agent, task.id, said.id, "Done", [])).result
    assert changed is not None
    assert changed.comment == "Done"
    with pytest.raises(Forbidden):
        await task_people.add_comment(world.deps, world.caller(user + 5), (await make(world, boss)).id, "x", [])


async def test_accepting_is_told_to_who_assigned_it(world: World, user: int):
    boss, agent = world.caller(user, "supervisor"), world.caller(user + 1)
    task = await make(world, boss, assigned_to=user + 1)
    accepted = (await task_people.take_step(world.deps, agent, task.id, "accept")).result
    assert accepted is not None
    assert accepted.accepted_at is not None
    assert len(await notified(world, user)) == 1
    await task_people.take_step(world.deps, agent, task.id, "accept")
    assert len(await notified(world, user)) == 1
    declined = (await task_people.take_step(world.deps, agent, task.id, "decline")).result
    assert declined is not None
    assert (declined.accepted_at, declined.declined_at is None) == (None, False)


# -- claiming ----------------------------------------------------------------------------------------------------------


async def test_of_a_hundred_claims_one_wins_and_the_rest_are_told_who(world: World, user: int):
    task = await make(world, world.caller(user, "supervisor"))
    claims = [tasks.claim(world.deps, world.caller(user * 1000 + n), task.id) for n in range(100)]
    results = await asyncio.gather(*claims, return_exceptions=True)
    won = [one.result for one in results if not isinstance(one, BaseException)]
    lost = [one for one in results if isinstance(one, Conflict)]
    assert (len(won), len(lost)) == (1, 99)
    assert won[0] is not None
    assert {one.extra["winner"] for one in lost} == {won[0].assigned_to}
    assert await notified(world, user) == [("task_assigned", "general", str(task.id))]
    assert await notified(world, won[0].assigned_to or 0) == []


async def test_a_task_of_a_group_is_claimed_by_its_members_only(world: World, user: int):
    name = f"group {user}"
    await world.sql("INSERT INTO groups (tenant_id, name) VALUES ($1, $2)", TENANT, name)
    await world.sql(
        "INSERT INTO group_members (tenant_id, group_name, user_id) VALUES ($1, $2, $3)", TENANT, name, user + 1
    )
    task = await make(world, world.caller(user, "supervisor"), group=name)
    with pytest.raises(NotFound):
        await tasks.claim(world.deps, world.caller(user + 2), task.id)
    assert task.id not in [one.id for one in await mine(world, world.caller(user + 2))]
    assert task.id in [one.id for one in await mine(world, world.caller(user + 1), unassigned=True)]
    await tasks.claim(world.deps, world.caller(user + 1), task.id)
    with pytest.raises(NotFound):
        await tasks.claim(world.deps, world.caller(user + 2), task.id)


# -- who may -----------------------------------------------------------------------------------------------------------


async def test_an_agent_knows_their_own_and_what_is_free_a_supervisor_all_a_service_none(world: World, user: int):
    boss = world.caller(user, "supervisor")
    hidden = await make(world, boss, assigned_to=user + 1)
    free = await make(world, boss)
    stranger = world.caller(user + 3)
    with pytest.raises(NotFound):
        await task_views.read_task(world.deps, stranger, hidden.id)
    with pytest.raises(NotFound):
        await write(world, stranger, changing(hidden.id, title="Mine"))
    assert (await task_views.read_task(world.deps, stranger, free.id)).result is not None
    with pytest.raises(Forbidden):
        await write(world, stranger, changing(free.id, title="Mine"))
    with pytest.raises(NotFound):
        await task_views.read_task(world.deps, world.caller(user, "admin", tenant="globex"), free.id)
    assert {hidden.id, free.id} <= {one.id for one in await mine(world, world.caller(user + 9, "admin"))}
    made = await make(world, world.producer, assigned_to=user + 1)
    assert made.created_by is None
    with pytest.raises(Forbidden):
        await write(world, world.producer, changing(made.id, title="Mine"))
    with pytest.raises(Forbidden):
        await mine(world, stranger, assigned_to=user + 1)


async def test_a_lost_update_is_refused_and_a_change_of_nothing_counts_no_version(world: World, user: int):
    caller = world.caller(user)
    task = await make(world, caller)
    changed = (await write(world, caller, changing(task.id, (1,), title="Another")))[0]
    assert changed.version == 2
    with pytest.raises(PreconditionFailed):
        await write(world, caller, changing(task.id, (1,), title="A third"))
    head = await world.head(user)
    assert (await write(world, caller, changing(task.id, title="Another")))[0].version == 2
    assert await world.head(user) == head


# -- trees -------------------------------------------------------------------------------------------------------------


async def chain(world: World, caller: Caller, depth: int) -> list[int]:
    ids = [(await make(world, caller)).id]
    for _ in range(depth - 1):
        ids.append((await make(world, caller, parent_task_id=ids[-1])).id)
    return ids


async def test_a_loop_three_deep_is_refused(world: World, user: int):
    caller = world.caller(user)
    first, second, third = await chain(world, caller, 3)
    for parent in (first, second, third):
        with pytest.raises(Conflict):
            await write(world, caller, changing(first, parent_task_id=parent))
    assert (await write(world, caller, changing(third, parent_task_id=first)))[0].parent_task_id == first
    await write(world, caller, changing(second, parent_task_id=third))


async def test_a_loop_is_not_made_by_two_at_once(world: World, user: int):
    caller = world.caller(user)
    for _ in range(8):
        one, other = (await make(world, caller)).id, (await make(world, caller)).id
        results = await asyncio.gather(
            write(world, caller, changing(one, parent_task_id=other)),
            write(world, caller, changing(other, parent_task_id=one)),
            return_exceptions=True,
        )
        assert sorted(isinstance(result, Conflict) for result in results) == [False, True]


async def test_a_loop_within_one_batch_is_refused(world: World, user: int):
    caller = world.caller(user)
    one, other = (await make(world, caller)).id, (await make(world, caller)).id
    with pytest.raises(Conflict):
        await write(world, caller, changing(one, parent_task_id=other), changing(other, parent_task_id=one))
    assert [
        row["parent_task_id"] for row in await world.sql("SELECT parent_task_id FROM tasks WHERE id = $1", one)
    ] == [None]


async def test_an_unknown_parent_is_invalid(world: World, user: int):
    hidden = await make(world, world.caller(user), assigned_to=user)
    for parent in (hidden.id, 2**52):
        with pytest.raises(Invalid):
            await make(world, world.caller(user + 1), parent_task_id=parent)


@pytest.mark.parametrize("wanted", ["completed", "cancelled"])
async def test_open_subtasks_hold_their_parent_open_unless_they_follow(world: World, user: int, wanted: Status):
    caller = world.caller(user)
    first, second, third = await chain(world, caller, 3)
    with pytest.raises(Conflict):
        await move(world, caller, first, wanted)
    with pytest.raises(Conflict):
        await write(world, caller, changing(first, status=wanted))
    await move(world, caller, first, wanted, cascade=True)
    rows = await world.sql("SELECT status FROM tasks WHERE id = ANY($1::bigint[])", [first, second, third])
    assert [row["status"] for row in rows] == [wanted] * 3


async def test_a_tree_is_deleted_only_when_asked_for(world: World, user: int):
    caller = world.caller(user)
    ids = await chain(world, caller, 3)
    tree = (await task_views.read_subtasks(world.deps, caller, ids[0])).result
    assert tree is not None
    assert [tree[0].id, tree[0].subtasks[0].id] == ids[1:]
    with pytest.raises(Conflict):
        await tasks.delete(world.deps, caller, ids[0], cascade=False)
    await tasks.delete(world.deps, caller, ids[0], cascade=True)
    assert (await world.kinds(user))[-3:] == ["task.deleted"] * 3
    assert await mine(world, caller, assigned_to=user) == []
    assert await world.sql("SELECT id FROM tasks WHERE id = ANY($1::bigint[])", ids) == []


# -- many at once ------------------------------------------------------------------------------------------------------


async def test_a_batch_happens_wholly_or_not_at_all(world: World, user: int):
    caller = world.caller(user)
    task = await make(world, caller)
    head = await world.head(user)
    with pytest.raises(NotFound):
        await write(world, caller, making(title="New"), changing(task.id, title="Changed"), changing(2**52, title="-"))
    assert await world.head(user) == head
    assert [one.title for one in await mine(world, caller) if one.created_by == user] == ["A task"]


async def test_a_thousand_are_handed_to_another_in_one_transaction(world: World, user: int):
    boss = world.caller(user, "supervisor")
    made = await write(world, boss, *[making(assigned_to=user + 1) for _ in range(1000)])
    handed = await write(world, boss, *[changing(one.id, assigned_to=user + 2) for one in made])
    assert {one.assigned_to for one in handed} == {user + 2}
    assert len(await notified(world, user + 2)) == 1000
    assert await mine(world, world.caller(user + 1), assigned_to=user + 1) == []


# -- time --------------------------------------------------------------------------------------------------------------


async def test_reminders_come_before_and_at_the_due_date_and_it_becomes_overdue_once(world: World, user: int):
    boss, agent = world.caller(user, "supervisor"), world.caller(user + 1)
    task = await make(world, boss, assigned_to=user + 1, due_date=later(3600), scheduled_at=later(1800))
    # At scheduled_at, 15 minutes before due_date, and at it.
    for reminded, minutes in enumerate((31, 15, 15), 1):
        assert task.id not in await wake(world)
        await pass_time(world, task.id, minutes)
        assert task.id in await wake(world)
        assert [one[0] for one in await notified(world, user + 1)].count("deadline_reminder") == reminded
    found = (await task_views.read_task(world.deps, agent, task.id)).result
    assert found is not None
    assert found.status == "overdue"
    assert (await world.kinds(user)).count("task.overdue") == 1
    started = await move(world, agent, task.id, "in_progress")
    assert started.status == "in_progress"
    await wake(world)
    assert (await world.kinds(user)).count("task.overdue") == 1


@pytest.mark.parametrize(
    ("passed", "minutes", "reminded"),
    [
        # Not reminded yet: later, sooner, and at once where that has passed. The due date itself reminds again.
        (0, 5, [0, 1, 2]),
        (0, 40, [0, 1, 2]),
        (0, 90, [1, 1, 2]),
        # Reminded already, a quarter of an hour before: not again.
        (50, 5, [1, 1, 2]),
        (50, 90, [1, 1, 2]),
    ],
)
async def test_reminders_are_planned_anew_where_the_tenant_reminds_otherwise(
    world: World, user: int, passed: int, minutes: int, reminded: list[int]
):
    boss, admin = world.caller(user, "supervisor"), world.caller(user, "admin")
    await set_minutes(world, admin, 15)
    task = await make(world, boss, assigned_to=user + 1, due_date=later(3600))
    if passed:
        await pass_time(world, task.id, passed)
        await wake(world)
    # The same once more changes nothing: what died in between is finished so.
    for _ in range(2):
        await set_minutes(world, admin, minutes)
    found: list[int] = []
    # At once; five minutes before the due date at the latest; at it.
    for ahead in (0, 57 - passed, 5):
        await pass_time(world, task.id, ahead)
        await wake(world)
        found.append([one[0] for one in await notified(world, user + 1)].count("deadline_reminder"))
    assert found == reminded
    await set_minutes(world, admin, 15)


async def test_reminders_are_planned_anew_in_parts(world: World, user: int, monkeypatch: pytest.MonkeyPatch):
    boss, admin = world.caller(user, "supervisor"), world.caller(user, "admin")
    await set_minutes(world, admin, 15)
    made = [await make(world, boss, due_date=later(7200)) for _ in range(5)]
    monkeypatch.setattr(task_time, "REPLANNED_MAX", 2)
    await set_minutes(world, admin, 30)
    rows = await world.sql(
        "SELECT due_date - wake_at AS ahead FROM tasks WHERE id = ANY($1::bigint[])", [one.id for one in made]
    )
    assert [row["ahead"] for row in rows] == [timedelta(minutes=30)] * 5
    await set_minutes(world, admin, 15)


async def set_minutes(world: World, admin: Caller, minutes: int) -> None:
    await tenant.change_settings(world.deps, admin, lambda now: replace(now, reminder_minutes=minutes))


async def test_a_due_date_moved_ahead_takes_overdue_back_and_plans_anew(world: World, user: int):
    caller = world.caller(user)
    task = await make(world, caller, assigned_to=user, due_date=later(-5))
    assert task.id in await wake(world)
    assert [one.id for one in await mine(world, caller, past_due=True)] == [task.id]
    back = (await write(world, caller, changing(task.id, due_date=later(3600))))[0]
    assert back.status == "pending"
    wakes: list[datetime] = [
        row["wake_at"] for row in await world.sql("SELECT wake_at FROM tasks WHERE id = $1", task.id)
    ]
    assert back.due_date is not None
    assert wakes == [back.due_date - timedelta(minutes=15)]
    assert await mine(world, caller, past_due=True) == []


async def test_two_workers_wake_a_task_once(world: World, user: int):
    task = await make(world, world.caller(user), assigned_to=user + 1, due_date=later(-5))
    await asyncio.gather(*(task_time.wake_due(world.deps, TENANT, [task.id]) for _ in range(4)))
    assert (await world.kinds(user + 1)).count("task.overdue") == 1
    assert [one[0] for one in await notified(world, user + 1)] == ["task_assigned", "deadline_reminder"]


async def test_figures_and_history(world: World, user: int):
    caller = world.caller(user)
    first, second = (await make(world, caller, assigned_to=user)), (await make(world, caller, assigned_to=user))
    await move(world, caller, first.id, "completed")
    await write(world, caller, changing(second.id, title="Another", description="More"))
    figures = (await task_views.read_figures(world.deps, caller, None)).result
    assert figures is not None
    assert (figures.total, figures.by_status["completed"], figures.completion_rate) == (2, 1, 0.5)
    page = (await task_views.list_history(world.deps, caller, second.id, None, 50, 0, with_total=True)).result
    assert page is not None
    assert [(entry.action, entry.version, entry.actor_id) for entry in page.items] == [
        ("update", 2, user),
        ("create", 1, user),
    ]
    assert page.items[0].changes["title"] == ["A task", "Another"]
    with pytest.raises(AppError):
        await task_views.read_figures(world.deps, caller, user + 1)


async def test_a_subtask_that_comes_while_its_parent_is_completed_is_before_or_after_it(world: World, user: int):
    caller = world.caller(user)
    for _ in range(8):
        parent = (await make(world, caller)).id
        results = await asyncio.gather(
            move(world, caller, parent, "completed"),
            make(world, caller, parent_task_id=parent),
            return_exceptions=True,
        )
        assert not isinstance(results[1], BaseException)
        assert isinstance(results[0], Task | Conflict)
        rows = await world.sql("SELECT t.status, t.completed_at, s.created_at FROM tasks t, tasks s"
                               " WHERE t.id = $1 AND s.parent_task_id = t.id", parent)  # fmt: skip
        # Where it was completed all the same, the subtask came afterwards.
        assert rows[0]["status"] == "pending" or rows[0]["completed_at"] <= rows[0]["created_at"]


async def test_many_who_hand_over_each_other_s_tasks_never_deadlock(world: World, user: int):
    boss = world.caller(user, "supervisor")
    made = [(await make(world, boss, assigned_to=user + n % 3)).id for n in range(6)]
    batches = [
        write(
            world, boss, *[changing(task_id, assigned_to=user + (n + place) % 4) for place, task_id in enumerate(order)]
        )
        for n in range(10)
        for order in (made, made[::-1])
    ]
    await asyncio.gather(*batches)
    for person in range(user, user + 4):
        await world.check_log(person)
