"""Zulip's law after any sequence of requests: old inbox + events == the inbox that REST reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from hub.client import inbox as client_inbox
from hub.client.inbox import InboxState
from hub.core.counts import Counts
from tests.app.machine import PICK, Machine, on_a_hub, run_examples, step, walk
from tests.app.world import ALL_DAY, TENANT, as_client_event, later, timed
from tests.conftest import Databases

_user_numbers = itertools.count(1)
WHO = st.integers(0, 1)
ADMIN, SUPERVISOR, PRODUCER = 2, 3, 4
PRIORITIES = st.sampled_from(["critical", "high", "normal", "low"])
KEYS = st.sampled_from(["a", "b"])
FIRST = ["critical", "high", "normal", "low", "normal", "normal"]
STEPS = ["read", "unread", "archive", "unarchive"]
PAGE = 3
"""Few enough that most lists take more pages than one."""
HOWS = ["to one", "to many", "bulk", "to a group", "broadcast", "by template"]
RARE = {
    "live", "held", "muted", *HOWS, *STEPS, "delete", "actions", "snooze", "unsnooze", "read-all", "seen", "cancel",
    "cancel: 409", "prefer", "released", "expired", "withdrawn", "cleaned", "erase", "loaded", "loaded in parts",
}  # fmt: skip


class Inboxes(Machine):
    """Two agents who get and do everything; an admin, a supervisor and a producer who do it to them."""

    @initialize()
    def begin(self) -> None:
        self.users = [next(_user_numbers) for _ in range(4)]
        roles = ("agent", "agent", "admin", "supervisor")
        self.callers = [self.hub.caller(TENANT, *one) for one in zip(roles, self.users, strict=True)]
        self.callers.append(self.hub.caller(TENANT, "service", None))
        self.group = f"g{self.users[0]}"
        self.ask(ADMIN, "PUT", f"/groups/{self.group}", {"members": self.users[:2]})
        self.states = dict.fromkeys(self.users[:2], InboxState())
        self.seqs = {user: self.run(self.hub.world.head(user)) for user in self.users[:2]}
        self.loading: dict[int, str] = {}
        self.unsure: set[int] = set()
        self.ids: list[tuple[int, int]] = []
        self.scheduled: list[tuple[int, int]] = []
        said = {"type": "system", "title": "The first", "message": "A message"}
        first = [said | {"user_id": user, "priority": one} for user in self.users[:2] for one in FIRST]
        self.keep(self.attempt("bulk", PRODUCER, "POST", "/notifications/bulk", {"items": first}))

    def one(self, pick: int) -> tuple[int, int]:
        return self.ids[pick % len(self.ids)]

    # -- those who write to them -----------------------------------------------------------------------------------

    def keep(self, made: dict[str, Any] | None) -> None:
        for one in (made or {}).get("items", [made] if made else []):
            self.reached.add(one["outcome"])
            if one["outcome"] in ("live", "held", "muted") and one["user_id"] in self.users[:2]:
                self.ids.append((self.users.index(one["user_id"]), one["id"]))
                if one["deliver_at"]:
                    self.scheduled.append(self.ids[-1])

    @rule(
        how=st.sampled_from(HOWS),
        by=st.sampled_from([PRODUCER, PRODUCER, SUPERVISOR]),
        who=WHO,
        priority=PRIORITIES,
        key=st.none() | KEYS,
        category=st.sampled_from(["general", "ads"]),
        waits=st.booleans(),
        expires=st.booleans(),
    )
    def create(
        self, how: str, by: int, who: int, priority: str, key: str | None, category: str, waits: bool, expires: bool
    ) -> None:
        said = {"type": "system", "title": "A title", "message": "A message", "priority": priority}
        said |= {"collapse_key": key, "category": category}
        said |= {"deliver_at": later(3600).isoformat()} if waits else {}
        said |= {"expires_at": later(7200).isoformat()} if expires else {}
        user = self.users[who]
        if how == "to one":
            self.keep(self.attempt(how, by, "POST", "/notifications", said | {"user_id": user}))
        elif how == "to many":
            self.keep(self.attempt(how, by, "POST", "/notifications", said | {"user_ids": self.users[:2]}))
        elif how == "to a group":
            self.keep(self.attempt(how, by, "POST", "/notifications", said | {"group": self.group}))
        elif how == "bulk":
            items = [said | {"user_id": user}, *({**said, "user_id": user, "collapse_key": None} for _ in range(3))]
            self.keep(self.attempt(how, by, "POST", "/notifications/bulk", {"items": items}))
        elif how == "broadcast":
            self.attempt(how, ADMIN, "POST", "/notifications/broadcast", said | {"group": self.group})
        else:
            words = {"name": f"t{user}", "channel": "in_app", "body": "Hello {{ who }}", "variables": ["who"]}
            self.ask(ADMIN, "POST", "/templates", words | {"subject": "Hello"})
            told = {name: said[name] for name in ("type", "priority", "collapse_key", "category")}
            told |= {"user_id": user, "template": words["name"], "variables": {"who": "Ms Example"}}
            self.keep(self.attempt(how, by, "POST", "/notifications", told))

    @rule(key=KEYS, by=st.sampled_from([PRODUCER, SUPERVISOR]))
    def withdraw(self, key: str, by: int) -> None:
        done = self.attempt("withdraw", by, "POST", "/notifications/withdraw", {"collapse_key": key})
        if done and done["count"]:
            self.reached.add("withdrawn")

    @rule(include_unread=st.booleans())
    def clean_up(self, include_unread: bool) -> None:
        """Half of what there is grows old first, which the clients find out by loading anew."""
        old = [notification for _, notification in self.ids[::2]]
        aged = "UPDATE notifications SET created_at = created_at - interval '30 days' WHERE id = ANY($1::bigint[])"
        self.run(self.hub.world.sql(aged, old))
        for who, user in enumerate(self.users[:2]):
            listed, at = self.whole_list(who)
            self.states[user] = client_inbox.load(listed, at, self.states[user].counts)
            self.loading.pop(user, None)
            self.unsure.add(user)
        body = {"days": 7, "include_unread": include_unread}
        if (self.attempt("cleanup", ADMIN, "POST", "/notifications/cleanup", body) or {}).get("count"):
            self.reached.add("cleaned")

    @precondition(lambda self: len(self.ids) > 8)
    @rule(who=WHO)
    def erase(self, who: int) -> None:
        self.attempt("erase", ADMIN, "DELETE", f"/users/{self.users[who]}")

    # -- their own hands -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, action=st.sampled_from(STEPS))
    def act(self, pick: int, action: str) -> None:
        who, notification = self.one(pick)
        self.attempt(action, who, "PUT", f"/notifications/{notification}/{action}")

    @precondition(lambda self: self.ids)
    @rule(who=WHO, picks=st.lists(PICK, min_size=1, max_size=4), action=st.sampled_from([*STEPS, "delete"]))
    def act_on_several(self, who: int, picks: list[int], action: str) -> None:
        ids = list({self.one(pick)[1] for pick in picks})
        self.attempt("actions", who, "POST", "/notifications/actions", {"ids": ids, "action": action})

    @precondition(lambda self: self.ids)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        who, notification = self.one(pick)
        self.attempt("delete", who, "DELETE", f"/notifications/{notification}")

    @precondition(lambda self: self.scheduled)
    @rule(pick=PICK, is_scheduled=st.booleans())
    def cancel(self, pick: int, is_scheduled: bool) -> None:
        who, notification = self.scheduled[pick % len(self.scheduled)] if is_scheduled else self.one(pick)
        self.attempt("cancel", who, "DELETE", f"/notifications/{notification}/schedule")

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, ends=st.booleans())
    def snooze(self, pick: int, ends: bool) -> None:
        who, notification = self.one(pick)
        if ends:
            self.attempt("unsnooze", who, "PUT", f"/notifications/{notification}/unsnooze")
        else:
            until = {"until": later(3600).isoformat()}
            self.attempt("snooze", who, "PUT", f"/notifications/{notification}/snooze", until)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, what=st.sampled_from(["read-all", "seen"]), is_bounded=st.booleans())
    def sweep(self, pick: int, what: str, is_bounded: bool) -> None:
        who, notification = self.one(pick)
        self.attempt(what, who, "POST", f"/notifications/{what}", {"before": notification} if is_bounded else {})

    @rule(who=WHO, quiet=st.booleans(), muted=st.booleans(), until=st.booleans())
    def prefer(self, who: int, quiet: bool, muted: bool, until: bool) -> None:
        wanted = ALL_DAY | {"quiet_hours_enabled": quiet, "muted_categories": ["ads"] if muted else []}
        wanted["quiet_until"] = later(3600).isoformat() if until else None
        self.attempt("prefer", who, "PATCH", "/notifications/preferences", wanted)

    # -- time ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.ids)
    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def release(self, picks: list[int]) -> None:
        world, users = self.hub.world, self.users[:2]
        held = (
            "SELECT id FROM notifications WHERE state = 'held' AND due_at IS NOT NULL AND user_id = ANY($1::bigint[])"
        )
        ids = [row["id"] for row in self.run(world.sql(held, users))]
        if ids:
            self.run(world.make_due(*(ids[pick % len(ids)] for pick in picks)))
        if self.run(world.release(*users)):
            self.reached.add("released")

    @precondition(lambda self: self.ids)
    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def expire(self, picks: list[int]) -> None:
        self.run(self.hub.world.make_expired(*(self.one(pick)[1] for pick in picks)))
        if self.run(self.hub.world.expire(*self.users[:2])):
            self.reached.add("expired")

    # -- the client ------------------------------------------------------------------------------------------------

    @rule(who=WHO)
    def load(self, who: int) -> None:
        """Forget all and begin to load, a page after each step, as on a slow line."""
        self.unsure.add(self.users[who])
        self.states[self.users[who]] = client_inbox.begin_load()
        self.loading[self.users[who]] = ""
        self.go_on_loading(who)

    def go_on_loading(self, who: int) -> None:
        user = self.users[who]
        state, cursor = self.load_page(who, self.states[user], self.loading[user])
        if cursor is None:
            self.reached.add("loaded in parts" if self.loading.pop(user) else "loaded")
            state = self.end_load(who, state)
        else:
            self.loading[user] = f"&cursor={cursor}"
        self.states[user] = state

    def load_page(self, who: int, state: InboxState, cursor: str) -> tuple[InboxState, str | None]:
        answer = self.ask(who, "GET", f"/notifications?limit={PAGE}{cursor}")
        page, at = answer.json(), seq_of(answer)
        return client_inbox.merge_page(state, page["items"], at), page["next_cursor"]

    def end_load(self, who: int, state: InboxState) -> InboxState:
        answer = self.ask(who, "GET", "/notifications/stats")
        return client_inbox.end_load(state, Counts(**answer.json()["unread"]), seq_of(answer))

    @invariant()
    def the_law(self) -> None:
        for who in range(2) if hasattr(self, "users") else ():
            self.check(who)

    def check(self, who: int) -> None:
        user = self.users[who]
        listed, at = self.whole_list(who)
        news = self.run(self.hub.world.events(user, self.seqs[user]))
        state = self.states[user]
        for event in news:
            self.seqs[user] += 1
            assert event["seq"] == self.seqs[user]
            if event["kind"] == "notification.updated" and event["data"]["id"] not in state.items:
                self.unsure.add(user)
            state = client_inbox.reduce(state, as_client_event(event))
        self.states[user] = state
        assert at == self.seqs[user]
        figures = self.ask(who, "GET", "/notifications/stats").json()["unread"]
        unread = self.ask(who, "GET", "/notifications/unread?limit=200").json()["items"]
        kept = {row["id"]: row for row in listed if not row["is_archived"] and not row["is_read"]}
        assert {row["id"]: row for row in unread} == kept
        assert figures == msgspec.to_builtins(counted(listed))
        if state.counts_seq >= 0:
            assert state.counts == Counts(**figures)
        if user in self.loading:
            self.go_on_loading(who)
            return
        if state.is_stale:
            # A client that has not seen a row go live asks again where it matters, and only then.
            assert user in self.unsure
            self.states[user] = client_inbox.load(listed, at, state.counts)
        else:
            assert {row["id"]: timed(row) for row in state.rows} == {row["id"]: timed(row) for row in listed}

    def whole_list(self, who: int) -> tuple[list[dict[str, Any]], int]:
        """All pages, with the total that the first tells, and the position of all: nobody else is there."""
        rows: list[dict[str, Any]] = []
        cursor, positions = "", set[int]()
        while True:
            answer = self.ask(who, "GET", f"/notifications?limit={PAGE}&include=total{cursor}")
            page = answer.json()
            rows += page["items"]
            positions.add(seq_of(answer))
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert page["total"] == len(rows)
        (at,) = positions
        return [{name: value for name, value in row.items() if name != "created_by_name"} for row in rows], at


def seq_of(answer: Any) -> int:
    """The caller's stream as of an answer."""
    return int(answer.headers["hub-position"].rpartition(":")[2])


def counted(rows: list[dict[str, Any]]) -> Counts:
    """The badge by the rows themselves."""
    counts = Counts()
    for row in rows:
        if not row["is_archived"]:
            counts = counts.changed(row["priority"], unread=not row["is_read"], unseen=not row["is_seen"])
    return counts


@pytest.fixture
def machine(databases: Databases) -> Iterator[type[Inboxes]]:
    with on_a_hub(Inboxes, databases) as made:
        yield made


def test_the_old_inbox_and_the_events_make_the_inbox_that_rest_has(machine: type[Inboxes]):
    run_examples(machine)


def written(how: str, **other: Any) -> dict[str, Any]:
    plain = {"by": PRODUCER, "who": 0, "priority": "normal", "key": None, "category": "general"}
    return {**plain, "how": how, "waits": False, "expires": False, **other}


def test_the_law_holds_wherever_there_is_to_go(machine: type[Inboxes]):
    loud = {"quiet": False, "muted": False, "until": False}
    steps = [
        *(step(Inboxes.create, **written(how)) for how in HOWS),
        step(Inboxes.create, **written("to one", waits=True)),
        step(Inboxes.cancel, pick=0, is_scheduled=True),
        step(Inboxes.cancel, pick=0, is_scheduled=False),
        step(Inboxes.load, who=0),
        *(step(Inboxes.act, pick=1, action=action) for action in STEPS),
        step(Inboxes.prefer, who=0, **{**loud, "muted": True}),
        step(Inboxes.create, **written("to one", category="ads")),
        step(Inboxes.prefer, who=0, **{**loud, "quiet": True}),
        step(Inboxes.create, **written("to one")),
        step(Inboxes.prefer, who=0, **{**loud, "until": True}),
        step(Inboxes.release, picks=[0]),
        step(Inboxes.prefer, who=0, **loud),
        step(Inboxes.snooze, pick=2, ends=False),
        step(Inboxes.snooze, pick=2, ends=True),
        step(Inboxes.sweep, pick=3, what="seen", is_bounded=True),
        step(Inboxes.sweep, pick=3, what="read-all", is_bounded=True),
        step(Inboxes.sweep, pick=3, what="read-all", is_bounded=False),
        step(Inboxes.act_on_several, who=0, picks=[0, 1, 7], action="archive"),
        step(Inboxes.delete, pick=4),
        step(Inboxes.expire, picks=[0, 1, 2]),
        step(Inboxes.clean_up, include_unread=True),
        step(Inboxes.create, **written("to one", key="a")),
        step(Inboxes.create, **written("to one", key="a")),
        step(Inboxes.withdraw, key="a", by=PRODUCER),
        step(Inboxes.erase, who=0),
        step(Inboxes.load, who=0),
        step(Inboxes.create, **written("to one")),
    ]
    assert walk(machine, steps) >= RARE
