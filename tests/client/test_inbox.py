"""Old inbox and events == fresh inbox: against the hub's own rows, in every order that a socket may send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.client.event import Event
from hub.client.inbox import InboxState, begin_load, count, end_load, load, merge_page, reduce
from hub.client.place import Place
from hub.core import transitions
from hub.core.changes import CLEANED, READ_ALL, SEEN, Changes, Inbox
from hub.core.counts import Counts
from hub.core.event import CREATED
from hub.core.notification import Row, contribution, shown
from hub.core.outbox import Outbox
from hub.core.priority import PRIORITIES, Priority

START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)


def on_the_wire(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


class Hub:
    """One user's rows, and what was told of them: the rules of core, the set-based ones in plain loops."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.inbox = Inbox(7, 0, Counts())
        self.now = START
        self.serial = 0

    def write(self, step: Callable[[Changes], None]) -> None:
        self.now += timedelta(seconds=1)
        changes = Changes(self.now, [self.inbox])
        step(changes)
        self.rows.update(changes.inserted | changes.updated)
        for key in changes.deleted:
            del self.rows[key]

    def create(self, priority: Priority) -> int:
        self.serial += 1
        row = Row(id=self.serial, tenant_id="t", user_id=7, type="system", title="x", message="y", priority=priority,
                  category="general", created_at=self.now, updated_at=self.now, state="live")  # fmt: skip
        self.write(lambda changes: changes.put(None, row, CREATED, rings=True))
        return row.id

    def act(self, name: str, key: int) -> None:
        row = self.rows[key]
        if name == "snooze":
            self.write(lambda changes: transitions.snooze(changes, row, UNTIL))
        elif name == "hold on" and row.state == "held":
            after = replace(row, held_until=None, hold_reason="quiet", snoozed_until=None)
            self.write(lambda changes: changes.put(row, after, "notification.updated"))
        elif name == "release" and row.state == "held":
            after = replace(row, state="live", held_until=None, hold_reason=None, snoozed_until=None, due_at=None)
            self.write(lambda changes: changes.put(row, after, CREATED, released=True))
        elif name == "expire":
            self.write(lambda changes: transitions.expire(changes, row))
        elif name in transitions.ACTIONS:
            self.write(lambda changes: transitions.ACTIONS[name](changes, row))

    def all_of(self, kind: str, before: int) -> None:
        self.now += timedelta(seconds=1)
        counts, number = self.inbox.counts, 0
        for key, row in self.rows.items():
            if row.state != "live" or row.live_seq is None or row.live_seq > before:
                continue
            if kind == READ_ALL and not row.is_read:
                after = replace(row, is_read=True, is_seen=True, read_at=self.now, updated_at=self.now)
            elif kind == SEEN and not row.is_seen:
                after = replace(row, is_seen=True, updated_at=self.now)
            else:
                continue
            number += 1
            counts = self._counted(counts, row, after)
            self.rows[key] = after
        self.inbox.append(kind, "normal", self.now, {"before_seq": before, "count": number}, counts=counts)

    def clean(self, days: int, *, include_unread: bool) -> None:
        self.now += timedelta(seconds=1)
        before, counts, number = START + timedelta(seconds=days), self.inbox.counts, 0
        for key, row in list(self.rows.items()):
            if row.created_at < before and row.state == "live" and (row.is_read or row.is_archived or include_unread):
                counts = self._counted(counts, row, None)
                del self.rows[key]
                number += 1
        told = counts if counts != self.inbox.counts else None
        self.inbox.append(CLEANED, "low", self.now, {"created_before": before, "count": number}, counts=told)

    def erase(self) -> None:
        self.rows.clear()
        self.inbox.append("inbox.erased", "normal", self.now, {}, counts=Counts())

    @staticmethod
    def _counted(counts: Counts, before: Row, after: Row | None) -> Counts:
        was, now = contribution(before), contribution(after)
        return counts.changed(before.priority, unread=now[0] - was[0], unseen=now[1] - was[1])

    def list(self) -> list[dict[str, Any]]:
        """As REST lists it: what is live."""
        return [on_the_wire(shown(row)) for row in self.rows.values() if row.state == "live"]


def decoded(frame_tail: bytes, seq: int) -> Event:
    fields = msgspec.json.decode(b"{" + frame_tail)
    return msgspec.convert({**fields, "seq": seq}, Event)


def sent(hub: Hub, first: int, data: st.DataObject) -> list[Event]:
    """The events from `first` on, in an order in which a socket with a backlog may send them."""
    outbox, events = Outbox(first - 1), list[Event]()
    log = [event for _, event in hub.inbox.events if event.seq >= first]
    while log or outbox:
        burst = data.draw(st.integers(min(1, len(log)), len(log)), label="burst")
        for event in log[:burst]:
            outbox.admit(event, 0.0)
        log = log[burst:]
        for _ in range(data.draw(st.integers(1, 5), label="leave")):
            events += [decoded(event.tail, event.seq) for event, _ in outbox.take(1, 0.0)]
    return events


def by_id(rows: Iterable[Any]) -> dict[int, Any]:
    return {row["id"]: dict(row) for row in rows}


NAMES = ["read", "unread", "archive", "unarchive", "delete", "snooze", "hold on", "release", "expire"]


def live(hub: Hub, data: st.DataObject, steps: int) -> None:
    for _ in range(steps):
        choice = data.draw(st.sampled_from([*["create"] * 6, *NAMES, READ_ALL, SEEN, "clean", "erase"]), label="step")
        if choice == "create":
            hub.create(data.draw(st.sampled_from(PRIORITIES)))
        elif choice in (READ_ALL, SEEN):
            hub.all_of(choice, data.draw(st.integers(max(hub.inbox.head - 6, 0), hub.inbox.head)))
        elif choice == "clean":
            hub.clean(data.draw(st.integers(0, 20)), include_unread=data.draw(st.booleans()))
        elif choice == "erase" and data.draw(st.integers(0, 3)) == 0:
            hub.erase()
        elif choice in NAMES and hub.rows:
            hub.act(choice, data.draw(st.sampled_from(sorted(hub.rows))))


@settings(deadline=None)
@given(data=st.data())
def test_old_inbox_and_events_are_the_fresh_inbox(data: st.DataObject) -> None:
    hub = Hub()
    live(hub, data, data.draw(st.integers(1, 25)))
    state, place = InboxState(), Place("e", 0)
    for event in sent(hub, 1, data):
        assert event.seq is not None
        place.count(event.seq, event.counts)
        state = reduce(state, event)
    assert by_id(state.rows) == by_id(hub.list())
    assert not state.is_stale
    assert state.counts == count(state) == hub.inbox.counts
    assert place.counts in (None, hub.inbox.counts)


@settings(deadline=None)
@given(data=st.data())
def test_a_load_while_events_come_brings_the_fresh_inbox(data: st.DataObject) -> None:
    """Pages of different ages arrive among the events; where they are not enough to follow, the state says so."""
    hub = Hub()
    live(hub, data, data.draw(st.integers(0, 8)))
    connected = hub.inbox.head
    pages = [(hub.list(), hub.inbox.head)]
    for _ in range(2):
        live(hub, data, data.draw(st.integers(0, 8)))
        pages.append((hub.list(), hub.inbox.head))
    events = sent(hub, connected + 1, data)
    state = begin_load()
    # The last page is the whole inbox as of its answer; the earlier ones are older views of it.
    arrivals = data.draw(st.lists(st.integers(0, len(events)), min_size=3, max_size=3).map(sorted))
    last = data.draw(st.sampled_from(pages), label="the answer that came")
    for index, event in enumerate([*events, None]):
        for position in arrivals:
            if position == index:
                state = merge_page(state, *last)
        if event is not None:
            state = reduce(state, event)
    state = end_load(state)
    if not state.is_stale:
        assert by_id(state.rows) == by_id(hub.list())


@settings(deadline=None)
@given(data=st.data())
def test_an_inbox_of_rest_is_followed_by_what_comes_after(data: st.DataObject) -> None:
    hub = Hub()
    live(hub, data, data.draw(st.integers(0, 15)))
    state = load(hub.list(), hub.inbox.head, hub.inbox.counts)
    first = hub.inbox.head + 1
    live(hub, data, data.draw(st.integers(1, 15)))
    for event in sent(hub, first, data):
        state = reduce(reduce(state, event), event)
    if not state.is_stale:
        assert by_id(state.rows) == by_id(hub.list())
        assert state.counts == hub.inbox.counts


def row(key: int, **fields: Any) -> dict[str, Any]:
    return {"id": key, "priority": "normal", "is_read": False, "is_seen": False, "is_archived": False,
            "held_until": None, "read_at": None, "created_at": "2026-01-01T00:00:00Z", **fields}  # fmt: skip


def event(seq: int, kind: str, data: Any, counts: Counts | None = None) -> Event:
    return Event(seq=seq, kind=kind, data=data, counts=counts, at=START)


def test_read_all_spares_what_went_live_after() -> None:
    state = load([], 0)
    for one in (
        event(1, CREATED, row(1)),
        event(3, CREATED, row(3, priority="critical")),
        event(2, READ_ALL, {"before_seq": 1, "count": 1}),
    ):
        state = reduce(state, one)
    assert [(kept["id"], kept["is_read"]) for kept in state.rows] == [(3, False), (1, True)]


def test_an_older_event_changes_nothing() -> None:
    state = reduce(load([], 0), event(5, CREATED, row(1, title="new")))
    assert reduce(state, event(4, "notification.updated", row(1, title="old"))).items == state.items
    assert reduce(state, event(4, "notification.deleted", {"id": 1})).items == state.items
    assert reduce(state, event(4, CREATED, row(1, title="old"))).items == state.items


def test_what_rest_brought_already_is_not_done_to_its_rows_again() -> None:
    state = load([row(1)], 20)
    after = reduce(state, event(15, READ_ALL, {"before_seq": 20, "count": 1}))
    assert (after.items, after.is_stale) == (state.items, False)
    assert reduce(state, event(15, "inbox.erased", {})).items == state.items


def test_a_late_birth_tells_when_a_row_of_rest_went_live() -> None:
    state = reduce(load([row(1), row(2)], 10), event(8, CREATED, row(1, title="as it was born")))
    assert state.rows == load([row(2), row(1)], 10).rows
    for before, is_read in ((8, True), (7, False)):
        one = reduce(reduce(load([row(1)], 10), event(8, CREATED, row(1))), event(12, READ_ALL, {"before_seq": before}))
        assert (one.rows[0]["is_read"], one.is_stale) == (is_read, False)


@pytest.mark.parametrize(
    ("kind", "data"),
    [(READ_ALL, {"before_seq": 2}), (SEEN, {"before_seq": 2}), (CLEANED, {"created_before": "2030-01-01T00:00:00Z"})],
)
def test_what_is_held_is_touched_by_nothing_that_touches_all(kind: str, data: Any) -> None:
    snoozed = row(1, held_until="2027-01-01T00:00:00Z")
    state = reduce(load([row(1)], 1), event(2, "notification.updated", snoozed))
    assert reduce(state, event(3, kind, data, Counts())).items == state.items


def test_a_row_of_rest_whose_birth_is_not_known_makes_a_read_all_before_it_stale() -> None:
    state = load([row(1)], 10)
    assert reduce(state, event(12, READ_ALL, {"before_seq": 4, "count": 1})).is_stale
    after = reduce(state, event(12, READ_ALL, {"before_seq": 10, "count": 1}))
    assert not after.is_stale
    assert after.rows[0]["is_read"]


def test_a_snoozed_one_is_out_until_it_is_created_again() -> None:
    state = reduce(load([row(1)], 1), event(2, "notification.updated", row(1, held_until="2027-01-01T00:00:00Z")))
    assert state.rows == []
    assert count(state).unread == 0
    without_end = reduce(state, event(3, "notification.updated", row(1)))
    assert without_end.rows == []
    assert len(reduce(without_end, event(4, CREATED, row(1))).rows) == 1
    assert len(reduce(without_end, event(4, "notification.updated", row(1, is_read=True))).rows) == 1


def test_a_clean_up_spares_what_is_held() -> None:
    snoozed = row(1, held_until="2027-01-01T00:00:00Z")
    state = reduce(load([row(1), row(2)], 1), event(2, "notification.updated", snoozed))
    after = reduce(state, event(3, CLEANED, {"created_before": "2030-01-01T00:00:00Z"}, Counts()))
    assert (set(after.items), after.is_stale) == ({1}, False)


def test_one_that_is_not_known_and_may_be_held_makes_the_rows_stale() -> None:
    after = reduce(load([], 1), event(2, "notification.updated", row(1)))
    assert (after.rows, after.is_stale) == ([], True)
    read = reduce(load([], 1), event(2, "notification.updated", row(1, is_read=True)))
    assert (len(read.rows), read.is_stale) == (1, False)


def test_a_load_that_takes_too_long_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.client.inbox.KEPT_MAX", 3)
    state = begin_load()
    for seq in range(1, 5):
        assert not state.is_stale
        state = reduce(state, event(seq, CREATED, row(seq)))
    assert state.is_stale
    assert len(state.since or ()) <= 3
    assert not begin_load(state).is_stale


@pytest.mark.parametrize("kind", ["tasks.changed", "task.created", "of.tomorrow", "quiet_hours.ended"])
def test_other_kinds_change_no_rows(kind: str) -> None:
    state = load([row(1)], 1)
    assert reduce(state, event(2, kind, {"id": 1})).items == state.items


def test_states_are_never_changed_in_place() -> None:
    state = load([row(1)], 1)
    reduce(state, event(2, READ_ALL, {"before_seq": 1, "count": 1}))
    assert not state.rows[0]["is_read"]
