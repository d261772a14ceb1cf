"""Zulip's law for tasks: the old list and the events make the list that SQL has, after any sequence of use cases."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Iterator
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hub.app import task_people, task_time, tasks
from hub.app.errors import AppError
from hub.app.tasks import Write
from hub.core.task import TaskFields, TaskRow, shown
from hub.store.pool import Database
from tests.app.world import TENANT, World, later
from tests.conftest import Databases

_user_numbers = itertools.count(1)
PICK = st.integers(0, 1_000_000)
WHO = st.integers(0, 3)
DOER = st.sampled_from([0, 0, 0, 1, 2, 3])
"""Mostly the supervisor, who may do anything."""
UPSERTS = {"task.created", "task.updated", "task.completed", "task.cancelled", "task.overdue"}


def reduce(state: dict[int, Any], event: dict[str, Any], me: int) -> None:
    """What a client does with an event, by the words of the protocol."""
    kind, data = event["kind"], event["data"]
    if kind in UPSERTS:
        state[data["id"]] = data
    elif kind == "task.deleted":
        state.pop(data["id"], None)
    elif kind == "task.assigned" and "task" in data:
        state[data["task"]["id"]] = data["task"]
    elif kind == "task.unassigned" and data["user_id"] == me:
        state.pop(data["task_id"], None)


class TaskLists(RuleBasedStateMachine):
    """A supervisor and three agents; each step is a use case, each use case a transaction."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    world: ClassVar[World]
    reached: ClassVar[set[str]] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def attempt(self, what: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            self.run(work)
        except AppError as refused:
            self.reached.add(f"{what}: {type(refused).__name__}")
        else:
            self.reached.add(what)

    def who(self, number: int) -> Any:
        return self.world.caller(self.users[number], "supervisor" if number == 0 else "agent")

    def one(self, pick: int) -> int:
        return self.ids[pick % len(self.ids)]

    @initialize()
    def begin(self) -> None:
        self.users = [next(_user_numbers) for _ in range(4)]
        self.ids: list[int] = []

    @rule(who=DOER, to=st.none() | WHO, parent=st.none() | PICK, due=st.sampled_from([None, -60, 3600]))
    def create(self, who: int, to: int | None, parent: int | None, due: int | None) -> None:
        fields = TaskFields(
            title="t",
            assigned_to=None if to is None else self.users[to],
            parent_task_id=None if parent is None or not self.ids else self.one(parent),
            due_date=None if due is None else later(due),
        )
        with contextlib.suppress(AppError):
            made = self.run(tasks.write(self.world.deps, self.who(who), [Write(None, lambda _: fields)]))
            self.ids.append(made.result[0].id)

    @precondition(lambda self: self.ids)
    @rule(
        who=DOER,
        picks=st.lists(PICK, min_size=1, max_size=3, unique=True),
        to=st.none() | WHO,
        title=st.text("ab", min_size=1, max_size=1),
    )
    def hand_over(self, who: int, picks: list[int], to: int | None, title: str) -> None:
        to_id = None if to is None else self.users[to]

        def change(now: TaskFields) -> TaskFields:
            return msgspec.structs.replace(now, assigned_to=to_id, title=title)

        writes = [Write(self.one(pick), change) for pick in picks]
        self.attempt("hand over", tasks.write(self.world.deps, self.who(who), writes))

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, below=PICK)
    def put_below(self, who: int, pick: int, below: int) -> None:
        def change(now: TaskFields) -> TaskFields:
            return msgspec.structs.replace(now, parent_task_id=self.one(below))

        self.attempt("re-parent", tasks.write(self.world.deps, self.who(who), [Write(self.one(pick), change)]))

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, due=st.sampled_from([None, -60, 3600]))
    def plan(self, who: int, pick: int, due: int | None) -> None:
        due_date = None if due is None else later(due)

        def change(now: TaskFields) -> TaskFields:
            return msgspec.structs.replace(now, due_date=due_date)

        self.attempt("plan", tasks.write(self.world.deps, self.who(who), [Write(self.one(pick), change)]))

    @precondition(lambda self: self.ids)
    @rule(
        who=DOER,
        pick=PICK,
        wanted=st.sampled_from(["in_progress", "completed", "cancelled", "pending"]),
        cascade=st.booleans(),
    )
    def move(self, who: int, pick: int, wanted: Any, cascade: bool) -> None:
        work = tasks.change_status(self.world.deps, self.who(who), self.one(pick), wanted, cascade=cascade)
        self.attempt(wanted, work)

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, cascade=st.booleans())
    def delete(self, who: int, pick: int, cascade: bool) -> None:
        self.attempt("delete", tasks.delete(self.world.deps, self.who(who), self.one(pick), cascade=cascade))

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK)
    def claim(self, who: int, pick: int) -> None:
        self.attempt("claim", tasks.claim(self.world.deps, self.who(who), self.one(pick)))

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, to=WHO, role=st.sampled_from(["assignee", "reviewer", "watcher"]))
    def assign(self, who: int, pick: int, to: int, role: Any) -> None:
        work = task_people.assign(self.world.deps, self.who(who), self.one(pick), self.users[to], role, None)
        self.attempt("assign", work)

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, to=WHO)
    def unassign(self, who: int, pick: int, to: int) -> None:
        self.attempt("unassign", task_people.unassign(self.world.deps, self.who(who), self.one(pick), self.users[to]))

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, step=st.sampled_from(["accept", "decline", "complete"]))
    def step(self, who: int, pick: int, step: Any) -> None:
        self.attempt("step", task_people.take_step(self.world.deps, self.who(who), self.one(pick), step))

    @precondition(lambda self: self.ids)
    @rule()
    def wake(self) -> None:
        if self.run(task_time.wake_due(self.world.deps, TENANT, self.ids)):
            self.reached.add("woken")

    @invariant()
    def the_events_are_the_list(self) -> None:
        for user in getattr(self, "users", ()):
            self.run(self.check(user))

    async def check(self, user: int) -> None:
        state: dict[int, Any] = {}
        for event in await self.world.events(user):
            reduce(state, event, user)
        rows = await self.world.sql(
            "SELECT to_json(t)::text FROM tasks t WHERE t.assigned_to = $1 OR t.created_by = $1"
            " OR EXISTS (SELECT FROM task_assignments a WHERE a.task_id = t.id AND a.user_id = $1)",
            user,
        )
        kept = [shown(msgspec.json.decode(row[0], type=TaskRow)) for row in rows]
        assert state == {task.id: msgspec.json.decode(msgspec.json.encode(task)) for task in kept}
        await self.world.check_log(user)


@pytest.fixture
def machine(databases: Databases) -> Iterator[type[TaskLists]]:
    with databases.fresh() as url:
        loop = asyncio.new_event_loop()
        database = loop.run_until_complete(Database.connect(url, pool_max=4))
        TaskLists.loop, TaskLists.world, TaskLists.reached = loop, World(database), set()
        yield TaskLists
        loop.run_until_complete(database.close())
        loop.close()


def test_the_old_list_and_the_events_make_the_list_that_sql_has(machine: type[TaskLists]):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    # Rare states must be seen to be reached.
    assert machine.reached >= {
        "hand over", "re-parent", "re-parent: Conflict", "completed", "delete",
        "delete: Conflict", "claim", "claim: Conflict", "assign", "unassign", "step", "woken",
    }  # fmt: skip
