"""Changes of tasks that share a transaction: the same comes of them as alone, and a fault stays with whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.app import task_people, tasks
from hub.app.errors import AppError, Conflict, Forbidden, NotFound, PreconditionFailed
from hub.app.group_commit import perform_joint
from hub.app.names import NamedTask
from hub.app.task_group import Desk, TaskJoint
from hub.app.tasks import Write
from hub.core.task import Status, TaskFields
from hub.store.pool import Database
from hub.store.tasks import lock_tree
from tests.app.world import TENANT, World, draft, once

Change = Callable[[TaskFields], TaskFields]


def says(**fields: Any) -> Change:
    return lambda now: replace(now, **fields)


async def make(world: World, by: int, **fields: Any) -> NamedTask:
    fields = {"title": "Call back", **fields}
    outcome = await tasks.write(world.deps, world.caller(by, "supervisor"), [Write(None, says(**fields))])
    assert outcome.result is not None
    return outcome.result[0]


async def settled(*writes: Any) -> list[Any]:
    return await asyncio.gather(*writes, return_exceptions=True)


async def test_what_comes_in_one_turn_is_one_transaction(world: World, user: int):
    made = [await make(world, user, title=str(n), assigned_to=user + 1) for n in range(20)]
    figures = world.deps.lanes.figures
    before = figures.groups
    agent = world.caller(user + 1)
    done = await asyncio.gather(
        *(tasks.change_status(world.deps, agent, one.id, "in_progress") for one in made[:10]),
        *(tasks.write_one(world.deps, agent, Write(one.id, says(description="x"))) for one in made[10:]),
        tasks.write_one(world.deps, agent, Write(None, says(title="new"))),
        task_people.take_step(world.deps, agent, made[0].id, "accept"),
    )
    assert figures.groups == before + 1
    assert [one.result.version for one in done[:20]] == [2] * 20
    assert done[20].result.created_by == user + 1
    # Each answer has its caller's place as of the end of the transaction.
    assert {str(one.position) for one in done} == {f"{done[0].position.epoch}:{await world.head(user + 1)}"}
    await world.check(user)
    await world.check(user + 1)


async def test_each_is_decided_after_those_before_it(world: World, user: int):
    one = await make(world, user)
    parent = await make(world, user)
    child = await make(world, user, parent_task_id=parent.id)
    overseer, first, second = world.caller(user, "supervisor"), world.caller(user + 1), world.caller(user + 2)
    results = await settled(
        tasks.claim(world.deps, first, one.id),
        tasks.claim(world.deps, second, one.id),
        tasks.write_one(world.deps, overseer, Write(one.id, says(title="Later"), versions=(1,))),
        tasks.write_one(world.deps, overseer, Write(one.id, says(title="Then"), versions=(2,))),
        # What is below has been closed by then, and opened again.
        tasks.change_status(world.deps, overseer, parent.id, "completed"),
        tasks.change_status(world.deps, overseer, child.id, "completed"),
        tasks.change_status(world.deps, overseer, parent.id, "completed"),
        tasks.change_status(world.deps, overseer, parent.id, "pending"),
        tasks.change_status(world.deps, overseer, child.id, "pending"),
        tasks.change_status(world.deps, overseer, parent.id, "cancelled"),
    )
    assert [type(result) for result in (results[1], results[2], results[4], results[9])] == [
        Conflict, PreconditionFailed, Conflict, Conflict,
    ]  # fmt: skip
    assert results[1].extra == {"winner": user + 1}
    assert (results[3].result.title, results[3].result.version) == ("Then", 3)
    assert results[6].result.status == "completed"
    assert world.deps.lanes.figures.undone == 0


async def test_what_is_opened_below_by_another_of_the_group_counts(world: World, user: int):
    parent = await make(world, user)
    child = await make(world, user, parent_task_id=parent.id)
    overseer = world.caller(user, "supervisor")
    await tasks.change_status(world.deps, overseer, child.id, "completed")
    opened, refused = await settled(
        tasks.change_status(world.deps, overseer, child.id, "pending"),
        tasks.change_status(world.deps, overseer, parent.id, "completed"),
    )
    assert opened.result.status == "pending"
    assert isinstance(refused, Conflict)


async def test_whoever_is_told_nothing_learns_their_place_too(world: World, user: int):
    one, other = await make(world, user, assigned_to=user + 1), await make(world, user, assigned_to=user + 1)
    await world.send_many([draft(user + 2), draft(user + 2)])
    passing_by = world.caller(user + 2, "supervisor")
    done = await asyncio.gather(
        *(tasks.change_status(world.deps, passing_by, task.id, "in_progress") for task in (one, other))
    )
    assert [outcome.position.seq for outcome in done if outcome.position] == [2, 2]


async def test_one_of_many_nodes_wins(world: World, user: int):
    nodes = [World(world.database) for _ in range(6)]
    for _ in range(5):
        one = await make(world, user)
        results = await settled(
            *(tasks.claim(node.deps, node.caller(user + n), one.id) for n, node in enumerate(nodes, 1))
        )
        [winner] = [result.result.assigned_to for result in results if not isinstance(result, Conflict)]
        assert {result.extra["winner"] for result in results if isinstance(result, Conflict)} == {winner}


async def test_what_may_close_waits_while_the_tree_is_changed(user: int, module_database_url: str):
    database = await Database.connect(module_database_url, pool_max=6, statement_timeout_s=900, lock_timeout_s=900)
    world = World(database)
    one, other = await make(world, user, assigned_to=user + 1), await make(world, user, assigned_to=user + 1)
    agent = world.caller(user + 1)
    async with database.transaction(TENANT) as tx:
        await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await lock_tree(tx, TENANT)
        closes = asyncio.create_task(tasks.change_status(world.deps, agent, one.id, "completed"))
        opens = await tasks.change_status(world.deps, agent, other.id, "in_progress")
        assert opens.result is not None
        await tasks.write_one(world.deps, agent, Write(None, says(title="meanwhile")))
        assert not closes.done()
    assert (await closes).result is not None
    await database.close()


async def test_a_refusal_is_its_own(world: World, user: int):
    mine = await make(world, user, assigned_to=user + 1)
    results = await settled(
        tasks.change_status(world.deps, world.caller(user + 2), mine.id, "in_progress"),
        tasks.change_status(world.deps, world.caller(user + 1), mine.id, "in_progress"),
        tasks.change_status(world.deps, world.caller(user + 1), mine.id + 10_000_000, "in_progress"),
        tasks.claim(world.deps, world.caller(None, "service", key=9), mine.id),
        tasks.write_one(world.deps, world.caller(None, "service", key=9), Write(None, says(title="by a service"))),
    )
    assert [type(one) for one in (results[0], *results[2:4])] == [NotFound, NotFound, Forbidden]
    assert results[1].result.status == "in_progress"
    assert results[4].result.created_by is None
    rows = await world.sql("SELECT action, actor_role FROM audit_log WHERE entity_id = $1 ORDER BY id", str(mine.id))
    assert [tuple(row) for row in rows] == [("task.create", "supervisor"), ("task.status", "agent")]
    rows = await world.sql("SELECT actor_id, actor_role FROM task_history WHERE task_id = $1 ORDER BY id", mine.id)
    assert [tuple(row) for row in rows] == [(user, "supervisor"), (user + 1, "agent")]


async def test_a_decision_that_breaks_fails_alone(world: World, user: int):
    one, other = await make(world, user, assigned_to=user + 1), await make(world, user, assigned_to=user + 1)

    def breaks(desk: Desk) -> None:
        desk.changes.put(desk.find(one.id), replace(desk.find(one.id).row, title="never"), "update")
        raise ZeroDivisionError

    def changes_then_refuses(desk: Desk) -> None:
        desk.changes.put(desk.find(one.id), replace(desk.find(one.id).row, title="never"), "update")
        raise NotFound("after all")

    agent = world.caller(user + 1)
    rounds: list[tuple[Any, type[Exception], Status, Status]] = [
        (breaks, ZeroDivisionError, "in_progress", "completed"),
        (changes_then_refuses, NotFound, "pending", "in_progress"),
    ]
    for decide, error, first, second in rounds:
        results = await settled(
            perform_joint(world.deps, agent, TaskJoint(decide=decide, shown=NamedTask, task_id=one.id)),
            tasks.change_status(world.deps, agent, other.id, first),
            tasks.change_status(world.deps, agent, other.id, second),
        )
        assert isinstance(results[0], error)
        # Those of one task keep their order.
        assert [result.result.status for result in results[1:]] == [first, second]
    assert world.deps.lanes.figures.undone == 2
    assert await world.sql("SELECT title FROM tasks WHERE id = $1", one.id) == [("Call back",)]
    await world.check(user)


async def test_one_key_is_done_once_on_any_node(world: World, user: int):
    one = await make(world, user)
    nodes = [World(world.database) for _ in range(4)]
    caller = world.caller(user + 1, once=once("claim"))
    new = world.caller(user + 1, once=once("create"))
    outcomes = await asyncio.gather(
        *(tasks.claim(node.deps, caller, one.id) for node in nodes for _ in range(2)),
        *(tasks.write_one(node.deps, new, Write(None, says(title="new"))) for node in nodes for _ in range(2)),
    )
    for same in (outcomes[:8], outcomes[8:]):
        assert sorted(outcome.repeated for outcome in same) == [False] + [True] * 7
        assert len({outcome.answer for outcome in same}) == 1
    assert await world.sql("SELECT count(*) FROM tasks WHERE title = 'new' AND created_by = $1", user + 1) == [(1,)]


async def test_too_many_people_for_one_transaction_are_not_for_one_each(
    world: World, user: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hub.app.task_desk.PEOPLE_MAX", 3)
    made = [await make(world, user, assigned_to=user + n) for n in range(1, 5)]
    done = await asyncio.gather(
        *(tasks.change_status(world.deps, world.caller(user, "supervisor"), one.id, "in_progress") for one in made)
    )
    assert [one.result.status for one in done] == ["in_progress"] * 4
    assert world.deps.lanes.figures.undone == 1


# -- as alone --------------------------------------------------------------------------------------------------------

Op = tuple[str, int, int, int]
OPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["start", "complete", "cancel", "reopen", "claim", "patch", "stale", "give", "assign", "unassign", "accept",
             "complete_part", "create"]
        ),
        st.integers(0, 2),  # who: the supervisor, an agent, another
        st.integers(0, 3),  # which task
        st.integers(0, 2),  # to whom
    ),
    max_size=14,
)  # fmt: skip
WANTED = {"start": "in_progress", "complete": "completed", "cancel": "cancelled", "reopen": "pending"}


@pytest.fixture
def take_users(user: int) -> Callable[[], int]:
    taken = [2_000_000_000 + user * 1_000_000]

    def take() -> int:
        taken[0] += 10
        return taken[0]

    return take


@given(ops=OPS)
@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_together_comes_to_what_one_by_one_does(
    module_database_url: str, take_users: Callable[[], int], ops: list[Op]
):
    database = await Database.connect(module_database_url, pool_max=4)
    try:
        world = World(database)
        one_by_one = await _history(world, take_users(), ops, together=False)
        undone = world.deps.lanes.figures.undone
        together = await _history(world, take_users(), ops, together=True)
        assert together == one_by_one
        assert world.deps.lanes.figures.undone == undone
    finally:
        await database.close()


def _do(world: World, user: int, ids: list[int], op: Op) -> Any:
    what, who, which, whom = op
    deps, task_id, other = world.deps, ids[which], user + whom
    caller = world.caller(user + who, "supervisor" if who == 0 else "agent")
    match what:
        case "claim":
            return tasks.claim(deps, caller, task_id)
        case "patch":
            return tasks.write_one(deps, caller, Write(task_id, says(description=f"by {who}")))
        case "stale":
            return tasks.write_one(deps, caller, Write(task_id, says(title="t"), versions=(whom + 1,)))
        case "give":
            return tasks.write_one(deps, caller, Write(task_id, says(assigned_to=other)))
        case "assign":
            return task_people.assign(deps, caller, task_id, other, "assignee", None)
        case "unassign":
            return task_people.unassign(deps, caller, task_id, other)
        case "accept":
            return task_people.take_step(deps, caller, task_id, "accept")
        case "complete_part":
            return task_people.take_step(deps, caller, task_id, "complete")
        case "create":
            return tasks.write_one(deps, caller, Write(None, says(title="new", assigned_to=other)))
        case _:
            return tasks.change_status(deps, caller, task_id, WANTED[what])  # type: ignore[arg-type]


async def _history(world: World, user: int, ops: list[Op], *, together: bool) -> Any:
    top = await make(world, user, title="top")
    ids = [top.id]
    ids += [(await make(world, user, title=f"below {n}", parent_task_id=top.id)).id for n in range(2)]
    ids.append((await make(world, user, title="given", assigned_to=user + 1)).id)

    async def one(op: Op) -> Any:
        try:
            result = (await _do(world, user, ids, op)).result
        except AppError as refused:
            return type(refused), str(refused)
        if isinstance(result, NamedTask):
            return result.title, result.status, result.version, (result.assigned_to or user) - user
        return None if result is None else (result.user_id - user, result.role, result.accepted_at is not None)

    answers = await asyncio.gather(*map(one, ops)) if together else [await one(op) for op in ops]
    state: list[Any] = []
    for whose in range(3):
        await world.check(user + whose)
        # What is told, where it does not differ by ids; of tasks, and then by notifications: a group says all of the
        # first before the second.
        told = [
            (event["kind"], event.get("counts"), event["data"].get("title"), event["data"].get("version"))
            for event in await world.events(user + whose)
        ]
        state.append(sorted(told, key=lambda one: one[0].startswith("notification")))
    rows = await world.sql(
        "SELECT t.title, t.status, t.version, t.assigned_to - $1::bigint, h.action, h.version, h.actor_id - $1::bigint,"
        " h.actor_role FROM tasks t JOIN task_history h ON h.tenant_id = t.tenant_id AND h.task_id = t.id"
        " WHERE t.created_by BETWEEN $1 AND $1 + 2 ORDER BY t.id, h.id",
        user,
    )
    audits = await world.sql(
        "SELECT action, actor_id - $1::bigint, actor_role FROM audit_log WHERE actor_id BETWEEN $1 AND $1 + 2"
        " ORDER BY id",
        user,
    )
    return answers, state, [tuple(row) for row in rows], [tuple(row) for row in audits]
