"""Zulip's law after any sequence of use cases: old inbox + events == inbox read from SQL."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Iterator
from typing import Any, ClassVar

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

from hub.app import own, withdraw
from hub.app.errors import AppError
from hub.store.notifications import Withdrawn
from hub.store.pool import Database
from tests.app.world import ALL_DAY, World, draft, later
from tests.conftest import Databases

_user_numbers = itertools.count(1)
PRIORITIES = st.sampled_from(["critical", "high", "normal", "low"])
PICK = st.integers(0, 1_000_000)


class Inboxes(RuleBasedStateMachine):
    """Two users who get and do everything; each step is a use case, each use case a transaction."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    world: ClassVar[World]
    reached: ClassVar[set[str]] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.users = [next(_user_numbers), next(_user_numbers)]
        self.ids: list[tuple[int, int]] = []

    def one(self, pick: int) -> tuple[int, int]:
        return self.ids[pick % len(self.ids)]

    @rule(
        who=st.integers(0, 1),
        priority=PRIORITIES,
        key=st.sampled_from([None, None, "a", "b"]),
        category=st.sampled_from(["general", "ads"]),
        wait=st.booleans(),
        expires=st.booleans(),
        count=st.integers(1, 3),
    )
    def create(
        self, who: int, priority: Any, key: str | None, category: str, wait: bool, expires: bool, count: int
    ) -> None:
        fields: dict[str, Any] = {"priority": priority, "collapse_key": key, "category": category}
        if wait:
            fields["deliver_at"] = later(3600)
        if expires:
            fields["expires_at"] = later(7200)
        made = self.run(self.world.send_many([draft(self.users[who], **fields) for _ in range(count)]))
        self.ids += [(one.user_id, one.id) for one in made]
        self.reached.update(one.outcome for one in made)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, action=st.sampled_from(["read", "unread", "archive", "unarchive", "delete"]))
    def act(self, pick: int, action: str) -> None:
        user, notification = self.one(pick)
        with contextlib.suppress(AppError):
            self.run(self.world.act(user, action, notification))

    @precondition(lambda self: self.ids)
    @rule(pick=PICK)
    def snooze(self, pick: int) -> None:
        user, notification = self.one(pick)
        with contextlib.suppress(AppError):
            self.run(own.snooze(self.world.deps, self.world.caller(user), notification, later(3600)))
            self.reached.add("snoozed")

    @precondition(lambda self: self.ids)
    @rule(pick=PICK)
    def unsnooze(self, pick: int) -> None:
        user, notification = self.one(pick)
        with contextlib.suppress(AppError):
            self.run(own.unsnooze(self.world.deps, self.world.caller(user), notification))

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, what=st.sampled_from(["read_all", "seen"]), bounded=st.booleans())
    def sweep(self, pick: int, what: Any, bounded: bool) -> None:
        user, notification = self.one(pick)
        with contextlib.suppress(AppError):
            self.run(own.sweep(self.world.deps, self.world.caller(user), what, notification if bounded else None))

    @rule(who=st.integers(0, 1), quiet=st.booleans(), muted=st.booleans(), until=st.booleans())
    def prefer(self, who: int, quiet: bool, muted: bool, until: bool) -> None:
        fields = ALL_DAY | {"quiet_hours_enabled": quiet, "muted_categories": ("ads",) if muted else ()}
        fields["quiet_until"] = later(3600) if until else None
        self.run(self.world.prefer(self.users[who], **fields))

    @precondition(lambda self: self.ids)
    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def release(self, picks: list[int]) -> None:
        held = self.run(self.world.sql("SELECT id FROM notifications WHERE state = 'held' AND due_at IS NOT NULL"
                                       " AND user_id = ANY($1::bigint[])", self.users))  # fmt: skip
        ids = [row["id"] for row in held]
        if ids:
            self.run(self.world.make_due(*(ids[pick % len(ids)] for pick in picks)))
        if self.run(self.world.release(*self.users)):
            self.reached.add("released")

    @precondition(lambda self: self.ids)
    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def expire(self, picks: list[int]) -> None:
        self.run(self.world.make_expired(*(self.one(pick)[1] for pick in picks)))
        if self.run(self.world.expire(*self.users)):
            self.reached.add("expired")

    @rule(key=st.sampled_from(["a", "b"]))
    def withdraw(self, key: str) -> None:
        asked = Withdrawn(created_by=None, created_by_key=9, collapse_key=key)
        if self.run(withdraw.withdraw(self.world.deps, self.world.producer, asked)).result.count:
            self.reached.add("withdrawn")

    @rule(include_unread=st.booleans())
    def clean_up(self, include_unread: bool) -> None:
        old = [notification for _, notification in self.ids[::2]]
        self.run(self.world.sql("UPDATE notifications SET created_at = created_at - interval '30 days'"
                                " WHERE id = ANY($1::bigint[]) AND state <> 'live'", old))  # fmt: skip
        self.run(withdraw.clean_up(self.world.deps, self.world.caller(1, "admin"), 7, include_unread=include_unread))

    @invariant()
    def the_log_is_the_inbox(self) -> None:
        for user in getattr(self, "users", ()):
            self.run(self.world.check(user))


@pytest.fixture
def machine(databases: Databases) -> Iterator[type[Inboxes]]:
    with databases.fresh() as url:
        loop = asyncio.new_event_loop()
        database = loop.run_until_complete(Database.connect(url, pool_max=4))
        Inboxes.loop, Inboxes.world, Inboxes.reached = loop, World(database), set()
        yield Inboxes
        loop.run_until_complete(database.close())
        loop.close()


RARE = {"live", "held", "muted", "snoozed", "released", "expired", "withdrawn"}
ROUNDS_MAX = 5


def test_old_inbox_and_events_make_the_inbox_that_sql_has(machine: type[Inboxes]):
    # Rare states must be seen to be reached; which ones a round meets is chance, so there may be more rounds than one.
    for _ in range(ROUNDS_MAX):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
        if machine.reached >= RARE:
            return
    raise AssertionError(f"never reached: {RARE - machine.reached}")
