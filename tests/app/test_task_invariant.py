"""Zulip's law for tasks: the old list and the events make the list that REST has, after any sequence of requests."""

from __future__ import annotations

import asyncio
import itertools
import os
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

from hub.app import task_time
from tests.api.whole import Whole, whole_hub
from tests.app.world import TENANT, later
from tests.conftest import Databases

_user_numbers = itertools.count(1)
PICK = st.integers(0, 1_000_000)
WHO = st.integers(0, 3)
DOER = st.sampled_from([0, 0, 0, 1, 2, 3])
"""Mostly the supervisor, who may do anything."""
DUE = st.sampled_from([None, -60, 600, 3600])
MOVES = {"start": "in_progress", "complete": "completed", "cancel": "cancelled", "reopen": "pending"}
COMMENTED = "task.commented"
ON = (
    "SELECT t.id, u.user_id FROM tasks t CROSS JOIN unnest($1::bigint[]) u (user_id)"
    " WHERE t.lead_id = ($1::bigint[])[1] AND (u.user_id IN (t.assigned_to, t.created_by)"
    " OR EXISTS (SELECT FROM task_assignments a WHERE a.task_id = t.id AND a.user_id = u.user_id))"
)
"""The tasks that each of a lead's people is on, by the words of the protocol."""
EXAMPLES = int(os.environ.get("HUB_TEST_EXAMPLES", "15"))
"""More by command: each takes about a second."""
ROUNDS_MAX = 5
RARE = {
    "create", "bulk", "hand over", "re-parent", "re-parent: 409", "plan", "replace", "start", "complete", "cancel",
    "reopen", "delete", "delete: 409", "claim", "claim: 409", "assign", "unassign", "step", "comment",
    "change a comment", "take a comment back", "woken",
}  # fmt: skip
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


def due_date(seconds: int | None) -> str | None:
    return None if seconds is None else later(seconds).isoformat()


class TaskLists(RuleBasedStateMachine):
    """A supervisor and three agents of one lead's tasks; each step is a request, or time."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    hub: ClassVar[Whole]
    reached: ClassVar[set[str]] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, who: int, method: str, path: str, *body: Any) -> Any:
        return self.run(self.callers[who](method, path, *body))

    def attempt(self, what: str, who: int, method: str, path: str, *body: Any) -> Any:
        """The answer's body where it went well. 422: a parent that is gone, or not theirs to see."""
        answer = self.ask(who, method, path, *body)
        if answer.is_success:
            self.reached.add(what)
            return answer.json() if answer.content else None
        assert answer.status_code in (403, 404, 409, 422), answer.text
        self.reached.add(f"{what}: {answer.status_code}")
        return None

    def one(self, pick: int) -> int:
        return self.ids[pick % len(self.ids)]

    @initialize()
    def begin(self) -> None:
        self.users = [next(_user_numbers) for _ in range(4)]
        roles = ("supervisor", "agent", "agent", "agent")
        self.callers = [self.hub.caller(TENANT, *one) for one in zip(roles, self.users, strict=True)]
        self.states: dict[int, dict[int, Any]] = {user: {} for user in self.users}
        self.seqs = dict.fromkeys(self.users, 0)
        self.ids: list[int] = []
        self.comments: list[tuple[int, int]] = []

    @rule(who=DOER, to=st.none() | WHO, parent=st.none() | PICK, due=DUE, count=st.integers(1, 2))
    def create(self, who: int, to: int | None, parent: int | None, due: int | None, count: int) -> None:
        fields = {
            "title": "t",
            "lead_id": self.users[0],
            "assigned_to": None if to is None else self.users[to],
            "parent_task_id": None if parent is None or not self.ids else self.one(parent),
            "due_date": due_date(due),
        }
        if count == 1:
            made = self.attempt("create", who, "POST", "/tasks", fields)
            self.ids += [made["id"]] if made else []
        else:
            made = self.attempt("bulk", who, "POST", "/tasks/bulk", {"items": [fields] * count})
            self.ids += [task["id"] for task in made["items"]] if made else []

    @precondition(lambda self: self.ids)
    @rule(who=DOER, picks=st.lists(PICK, min_size=1, max_size=3), to=st.none() | WHO)
    def hand_over(self, who: int, picks: list[int], to: int | None) -> None:
        ids = {self.one(pick) for pick in picks}
        items = [{"id": one, "assigned_to": None if to is None else self.users[to]} for one in ids]
        self.attempt("hand over", who, "POST", "/tasks/bulk", {"items": items})

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, below=st.none() | PICK)
    def put_below(self, who: int, pick: int, below: int | None) -> None:
        change = {"parent_task_id": None if below is None else self.one(below)}
        self.attempt("re-parent", who, "PATCH", f"/tasks/{self.one(pick)}", change)

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, due=DUE, title=st.sampled_from("ab"))
    def plan(self, who: int, pick: int, due: int | None, title: str) -> None:
        change = {"due_date": due_date(due), "title": title}
        self.attempt("plan", who, "PATCH", f"/tasks/{self.one(pick)}", change)

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, to=st.none() | WHO)
    def replace(self, who: int, pick: int, to: int | None) -> None:
        whole = {"title": "p", "lead_id": self.users[0], "assigned_to": None if to is None else self.users[to]}
        self.attempt("replace", who, "PUT", f"/tasks/{self.one(pick)}", whole)

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, move=st.sampled_from(sorted(MOVES)), how=st.sampled_from(["", "?cascade=true", "PATCH"]))
    def move(self, who: int, pick: int, move: str, how: str) -> None:
        path = f"/tasks/{self.one(pick)}"
        if how == "PATCH":
            self.attempt(move, who, "PATCH", path, {"status": MOVES[move]})
        else:
            self.attempt(move, who, "POST", f"{path}/{move}{how}")

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, cascade=st.sampled_from(["", "?cascade=true"]))
    def delete(self, who: int, pick: int, cascade: str) -> None:
        self.attempt("delete", who, "DELETE", f"/tasks/{self.one(pick)}{cascade}")

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK)
    def claim(self, who: int, pick: int) -> None:
        self.attempt("claim", who, "POST", f"/tasks/{self.one(pick)}/claim")

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, to=WHO, role=st.sampled_from(["assignee", "reviewer", "watcher"]))
    def assign(self, who: int, pick: int, to: int, role: str) -> None:
        body = {"user_id": self.users[to], "role": role}
        self.attempt("assign", who, "POST", f"/tasks/{self.one(pick)}/assign", body)

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, to=WHO)
    def unassign(self, who: int, pick: int, to: int) -> None:
        self.attempt("unassign", who, "DELETE", f"/tasks/{self.one(pick)}/assign/{self.users[to]}")

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK, step=st.sampled_from(["accept", "decline", "complete"]))
    def step(self, who: int, pick: int, step: str) -> None:
        self.attempt("step", who, "POST", f"/tasks/{self.one(pick)}/assign/{step}")

    @precondition(lambda self: self.ids)
    @rule(who=DOER, pick=PICK)
    def comment(self, who: int, pick: int) -> None:
        task = self.one(pick)
        made = self.attempt("comment", who, "POST", f"/tasks/{task}/comments", {"comment": "c"})
        if made:
            self.comments.append((task, made["id"]))
            self.everyone_on_it_has(task, made)

    @precondition(lambda self: self.comments)
    @rule(who=DOER, pick=PICK, is_taken_back=st.booleans())
    def change_comment(self, who: int, pick: int, is_taken_back: bool) -> None:
        task, comment = self.comments[pick % len(self.comments)]
        path = f"/tasks/{task}/comments/{comment}"
        if not is_taken_back:
            changed = self.attempt("change a comment", who, "PUT", path, {"comment": "d"})
            if changed:
                self.everyone_on_it_has(task, changed)
        elif self.ask(who, "DELETE", path).is_success:
            self.reached.add("take a comment back")
            self.everyone_on_it_has(task, {"id": comment, "task_id": task, "deleted": True})

    def everyone_on_it_has(self, task: int, said: dict[str, Any]) -> None:
        """The newest that each person on the task heard of a comment is what REST answered."""
        for row in self.run(self.hub.world.sql(ON + " AND t.id = $2", self.users, task)):
            events = self.run(self.hub.world.events(row["user_id"], self.seqs[row["user_id"]]))
            assert [event["data"] for event in events if event["kind"] == COMMENTED] == [said]

    @precondition(lambda self: self.ids)
    @rule(picks=st.lists(PICK, max_size=3))
    def wake(self, picks: list[int]) -> None:
        """Time passes: what is late is due by itself, and the picked ones' reminders are moved, not waited for."""
        soon = "UPDATE tasks SET wake_at = now() - interval '1 s' WHERE id = ANY($1::bigint[]) AND wake_at IS NOT NULL"
        self.run(self.hub.world.sql(soon, [self.one(pick) for pick in picks]))
        if self.run(task_time.wake_due(self.hub.world.deps, TENANT, self.ids)):
            self.reached.add("woken")

    @invariant()
    def the_events_are_the_list(self) -> None:
        if hasattr(self, "users"):
            self.run(self.check())

    async def check(self) -> None:
        world = self.hub.world
        news = await world.sql(
            "SELECT e.user_id, e.seq, e.tail FROM events e JOIN unnest($1::bigint[], $2::bigint[]) u (user_id, seq)"
            " ON e.user_id = u.user_id AND e.seq > u.seq ORDER BY e.user_id, e.seq",
            self.users,
            list(self.seqs.values()),
        )
        for row in news:
            user = row["user_id"]
            self.seqs[user] += 1
            assert row["seq"] == self.seqs[user]
            reduce(self.states[user], msgspec.json.decode(b"{" + row["tail"]), user)
        on = await world.sql(ON, self.users)
        for who, user in enumerate(self.users):
            listed = (await self.callers[who]("GET", f"/tasks/lead/{self.users[0]}?limit=200")).json()
            assert listed["next_cursor"] is None
            tasks = {task["id"]: task for task in listed["items"]}
            # A list also has what a supervisor oversees and what is free to claim; events, what one is on.
            assert self.states[user] == {row["id"]: tasks[row["id"]] for row in on if row["user_id"] == user}

    def teardown(self) -> None:
        for user in getattr(self, "users", ()):
            self.run(self.hub.world.check_log(user))


@pytest.fixture
def machine(databases: Databases) -> Iterator[type[TaskLists]]:
    with databases.fresh() as url:
        loop = asyncio.new_event_loop()
        whole = whole_hub(url)
        TaskLists.loop, TaskLists.hub, TaskLists.reached = loop, loop.run_until_complete(whole.__aenter__()), set()
        # Each answer's shape is judged by the tests of REST; here thousands would be judged again.
        TaskLists.hub.client.event_hooks = {"response": []}
        yield TaskLists
        loop.run_until_complete(whole.__aexit__(None, None, None))
        loop.close()


def test_the_old_list_and_the_events_make_the_list_that_rest_has(machine: type[TaskLists]):
    # Rare states must be seen to be reached; which ones a round meets is chance, so there may be more rounds than one.
    for _ in range(ROUNDS_MAX):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
        if machine.reached >= RARE:
            return
    raise AssertionError(f"never reached: {RARE - machine.reached}")
