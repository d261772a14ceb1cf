"""The client's one check, by table and by property: shown once, never lost, whatever is doubled or cut."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.client.place import Place
from hub.core.counts import Counts
from hub.core.event import CREATED, Event, encode_tail, lane_of
from hub.core.outbox import Outbox
from hub.core.priority import PRIORITIES

KINDS = [*[(CREATED, priority) for priority in PRIORITIES], ("task.updated", "normal"), ("task.updated", "high")]


def welcome(place: Place, resume: str, cursor: int, head: int, epoch: str = "e1", unread: int = 0) -> bool:
    counts = {"unread": unread, "unseen": 0, "critical": 0, "high": 0, "normal": unread, "low": 0}
    return place.welcome({"resume": resume, "epoch": epoch, "cursor": cursor, "head": head, "counts": counts})


def test_a_number_is_new_once() -> None:
    place = Place("e1", 10)
    assert place.offer(11, 11)
    assert not place.offer(11, 11)
    assert not place.offer(10, 11)


def test_the_cursor_moves_only_by_what_the_server_says() -> None:
    place = Place("e1", 10)
    assert place.offer(14, 10)
    assert place.cursor == 10
    assert place.had == {14}
    assert place.offer(11, 11)
    assert place.cursor == 11


def test_what_was_overtaken_is_still_new_after_a_cut() -> None:
    place = Place("e1", 10)
    place.offer(14, 10)
    assert [seq for seq in range(11, 15) if place.offer(seq, seq)] == [11, 12, 13]
    assert place.had == set()


def test_the_cursor_never_goes_back() -> None:
    place = Place("e1", 10)
    place.offer(11, 11)
    place.offer(11, 9)
    assert place.cursor == 11


def test_an_item_of_a_batch_may_leave_the_cursor_to_the_batch() -> None:
    place = Place("e1", 0)
    assert place.offer(1, None)
    assert place.offer(2, None)
    assert place.cursor == 0
    place.advance(2)
    assert (place.cursor, place.had) == (2, set())
    assert not place.offer(1, None)
    assert place.had == set()


def test_merged_numbers_have_been_had() -> None:
    place = Place("e1", 5)
    assert place.offer(9, 5, merged=[7, 8])
    assert not place.offer(7, 5)
    assert place.offer(6, 6)


def test_counts_are_those_of_the_highest_number() -> None:
    place = Place("e1", 10)
    place.offer(14, 10, counts=Counts(unread=4))
    place.offer(11, 11, counts=Counts(unread=1))
    assert place.counts == Counts(unread=4)
    place.offer(15, 15, counts=None)
    assert place.counts == Counts(unread=4)


def test_counts_of_a_welcome_are_as_of_its_head() -> None:
    place = Place("e1", 10)
    welcome(place, "replay", 10, 14, unread=9)
    place.offer(11, 11, counts=Counts(unread=6))
    assert place.counts is not None
    assert place.counts.unread == 9
    place.offer(15, 15, counts=Counts(unread=10))
    assert place.counts.unread == 10


@pytest.mark.parametrize("resume", ["fresh", "reset"])
def test_another_history_forgets_the_numbers_of_this_one(resume: str) -> None:
    place = Place("e1", 10)
    place.offer(14, 10)
    assert welcome(place, resume, 3, 3, epoch="e2", unread=1)
    assert (place.epoch, place.cursor, place.had) == ("e2", 3, set())
    assert place.counts is not None
    assert place.counts.unread == 1
    assert place.offer(4, 4)


def test_a_replay_keeps_what_was_had() -> None:
    place = Place("e1", 10)
    place.offer(14, 10)
    assert not welcome(place, "replay", 10, 14)
    assert not place.offer(14, 10)


def test_a_replay_of_another_epoch_is_no_replay() -> None:
    place = Place("e1", 10)
    assert welcome(place, "replay", 10, 14, epoch="e2")


def test_a_replay_that_begins_further_on_is_no_replay() -> None:
    place = Place("e1", 10)
    assert welcome(place, "replay", 12, 14)
    assert welcome(Place(), "replay", 0, 14)


def test_numbers_of_the_other_history_do_not_hold_back_its_counts() -> None:
    place = Place("e1", 100)
    place.offer(101, 101, counts=Counts(unread=50))
    welcome(place, "reset", 3, 3, epoch="e2", unread=1)
    place.offer(4, 4, counts=Counts(unread=2))
    assert place.counts == Counts(unread=2)


def test_a_snapshot_survives_json() -> None:
    place = Place("e1", 10)
    place.offer(14, 10)
    again = Place.restore(json.loads(json.dumps(place.snapshot())))
    assert again.snapshot() == place.snapshot() == {"epoch": "e1", "cursor": 10, "had": [14]}
    assert not again.offer(14, 10)
    assert again.offer(11, 11)


@pytest.mark.parametrize("kept", [{"cursor": "10"}, {"had": 5}, {"epoch": 1}, {"had": ["x"]}])
def test_what_is_no_snapshot_is_refused(kept: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no snapshot"):
        Place.restore(kept)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=40))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Event(seq, lane_of(kind, priority), False, encode_tail(kind, priority, at, {}))
        for seq, (kind, priority) in enumerate(kinds, start=1)
    ]


@settings(deadline=None)
@given(log=logs(), data=st.data())
def test_through_cuts_and_restarts_each_event_is_shown_exactly_once(log: list[Event], data: st.DataObject) -> None:
    """A real outbox sends; connections are cut anywhere; the client restarts from a snapshot taken after each event."""
    place, shown = Place("e1", 0), list[int]()
    for _ in range(200):
        if place.cursor == len(log):
            break
        assert place.cursor is not None
        start = place.cursor
        outbox = Outbox(start)
        known = data.draw(st.integers(start, len(log)))
        for event in log[start:known]:
            outbox.admit(event, 0.0)
        leaving = outbox.take(10**9, 0.0)
        for event in log[known:]:
            outbox.admit(event, 0.0)
        leaving += outbox.take(10**9, 0.0)
        for event, cursor in leaving[: data.draw(st.integers(0, len(leaving)))]:
            if place.offer(event.seq, cursor):
                shown.append(event.seq)
            assert all(seq > place.cursor for seq in place.had)
            assert set(shown) == set(range(1, place.cursor + 1)) | place.had
        if data.draw(st.booleans()):
            place = Place.restore(place.snapshot())
    else:
        for event in log[place.cursor or 0 :]:
            if place.offer(event.seq, event.seq):
                shown.append(event.seq)
    assert sorted(shown) == [event.seq for event in log]
    assert place.had == set()


class _TakesMax(Place):
    def advance(self, cursor: int) -> None:
        super().advance(max([cursor, *self._had]))


class _Forgets(Place):
    def advance(self, cursor: int) -> None:
        super().advance(cursor)
        self._had.clear()


class _LastCounts(Place):
    def count(self, seq: int, counts: Counts | None) -> None:
        self.counts = counts or self.counts


def _shown(place: Place) -> list[int]:
    """A critical event overtakes three; the connection is cut; the rest is replayed."""
    shown = [14] if place.offer(14, 10) else []
    start = place.cursor or 0
    return shown + [seq for seq in range(start + 1, 15) if place.offer(seq, seq)]


def test_the_tests_above_would_see_these_faults() -> None:
    assert _shown(Place("e1", 10)) == [14, 11, 12, 13]
    assert _shown(_TakesMax("e1", 10)) == [14], "max(seq) for the cursor loses what was overtaken"
    assert _shown(_Forgets("e1", 10)) == [14, 11, 12, 13, 14], "without the numbers above the cursor one is doubled"
    last = _LastCounts("e1", 10)
    last.offer(14, 10, counts=Counts(unread=4))
    last.offer(11, 11, counts=Counts(unread=1))
    assert last.counts == Counts(unread=1), "the counts of the last frame are stale"
