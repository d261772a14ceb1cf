"""Zulip's law for tasks: the old list and the events make the list that REST has, after any sequence of requests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from hub.app import task_time
from tests.app.machine import PICK, Machine, on_a_hub, run_examples, step, walk
from tests.app.world import TENANT, later
from tests.conftest import Databases

_user_numbers = itertools.count(1)
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


class TaskLists(Machine):
    """A supervisor and three agents of one lead's tasks; each step is a request, or time."""

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
    def the_law(self) -> None:
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
            same = (await self.callers[who]("GET", f"/tasks?lead_id={self.users[0]}&limit=200&include=total")).json()
            assert same["total"] == len(tasks)
            assert {task["id"]: task for task in same["items"]} == tasks
            # A list also has what a supervisor oversees and what is free to claim; events, what one is on.
            assert self.states[user] == {row["id"]: tasks[row["id"]] for row in on if row["user_id"] == user}

    def teardown(self) -> None:
        for user in getattr(self, "users", ()):
            self.run(self.hub.world.check_log(user))


@pytest.fixture
def machine(databases: Databases) -> Iterator[type[TaskLists]]:
    with on_a_hub(TaskLists, databases) as made:
        yield made


def test_the_old_list_and_the_events_make_the_list_that_rest_has(machine: type[TaskLists]):
    run_examples(machine)


def made(**other: Any) -> Callable[[Any], None]:
    return step(TaskLists.create, **{"who": 0, "to": 1, "parent": None, "due": None, "count": 1, **other})


def test_the_law_holds_wherever_there_is_to_go(machine: type[TaskLists]):
    steps = [
        made(),
        made(parent=0, to=2),
        made(count=2, to=None, due=600),
        step(TaskLists.put_below, who=0, pick=0, below=1),
        step(TaskLists.put_below, who=0, pick=3, below=1),
        step(TaskLists.claim, who=3, pick=2),
        step(TaskLists.claim, who=1, pick=2),
        step(TaskLists.hand_over, who=0, picks=[0, 2], to=2),
        step(TaskLists.plan, who=0, pick=0, due=-60, title="b"),
        step(TaskLists.wake, picks=[0, 1, 2]),
        step(TaskLists.move, who=0, pick=1, move="start", how=""),
        step(TaskLists.move, who=0, pick=0, move="complete", how="?cascade=true"),
        step(TaskLists.move, who=0, pick=0, move="reopen", how="PATCH"),
        step(TaskLists.move, who=0, pick=2, move="cancel", how=""),
        step(TaskLists.assign, who=0, pick=0, to=3, role="reviewer"),
        step(TaskLists.step, who=3, pick=0, step="accept"),
        step(TaskLists.comment, who=3, pick=0),
        step(TaskLists.change_comment, who=3, pick=0, is_taken_back=False),
        step(TaskLists.change_comment, who=3, pick=0, is_taken_back=True),
        step(TaskLists.unassign, who=0, pick=0, to=3),
        step(TaskLists.replace, who=0, pick=0, to=1),
        step(TaskLists.delete, who=0, pick=0, cascade=""),
        step(TaskLists.delete, who=0, pick=0, cascade="?cascade=true"),
    ]
    assert walk(machine, steps) >= RARE
