"""Where a session stands after what it heard, one row a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.event import IN_ORDER, Event, Hint
from hub.core.outbox import cost
from hub.core.session import Limits, Session, State

CRITICAL, HIGH, NORMAL, LOW = range(4)
LIMITS = Limits(window_max=1000, window_low=300, page_count_max=50, early_max=3)


def event(seq: int, lane: int = NORMAL, size: int = 36) -> Event:
    """Costs 100 bytes unless told otherwise."""
    return Event(seq, lane, False, b"x" * size)


def events(first: int, last: int, **kind: Any) -> list[Event]:
    return [event(seq, **kind) for seq in range(first, last + 1)]


def hint(first: int, last: int, epoch: str = "e", **kind: Any) -> Hint:
    return Hint(epoch, events(first, last, **kind))


def opened(head: int = 10, cursor: int | None = None, **limits: Any) -> Session:
    session = Session(Limits(**limits) if limits else LIMITS)
    session.begin_read()
    session.open("e", head, resumable=True, client_epoch="e", cursor=cursor)
    return session


def left(session: Session) -> list[int]:
    """Let everything leave that may."""
    order: list[int] = []
    while session.has_waiting:
        order.extend(e.seq for e, _ in session.take(1, 0))
    return order


def standing(session: Session) -> tuple[str, int, int]:
    return session.state.name, session.admitted_seq, session.head


# -- opening -----------------------------------------------------------------------------------------------------------

OPENINGS: dict[str, tuple[dict[str, Any], str, tuple[str, int, int]]] = {
    "without a cursor it is fresh, at the head": ({}, "fresh", ("LIVE", 10, 10)),
    "with the head for a cursor it replays nothing": ({"cursor": 10}, "replay", ("LIVE", 10, 10)),
    "with an older cursor it replays": ({"cursor": 4}, "replay", ("REPLAYING", 4, 10)),
    "from nothing it may replay too": ({"cursor": 0}, "replay", ("REPLAYING", 0, 10)),
    "a cursor that is not kept is reset": ({"cursor": 4, "resumable": False}, "reset", ("LIVE", 10, 10)),
    "a cursor ahead of the head is reset": ({"cursor": 11}, "reset", ("LIVE", 10, 10)),
    "a cursor of another epoch is reset": ({"cursor": 10, "client_epoch": "old"}, "reset", ("LIVE", 10, 10)),
    "a cursor without an epoch is reset": ({"cursor": 10, "client_epoch": None}, "reset", ("LIVE", 10, 10)),
    "an epoch without a cursor is fresh": ({"cursor": None, "client_epoch": "old"}, "fresh", ("LIVE", 10, 10)),
}


@pytest.mark.parametrize(("said", "resume", "stands"), OPENINGS.values(), ids=OPENINGS)
def test_opening(said: dict[str, Any], resume: str, stands: tuple[str, int, int]) -> None:
    session = Session(LIMITS)
    session.begin_read()
    asked: dict[str, Any] = {"resumable": True, "client_epoch": "e", "cursor": None} | said
    assert session.open("e", 10, **asked) == resume
    assert standing(session) == stands
    assert session.cursor == stands[1]


def test_what_is_heard_while_the_head_is_read_is_read_again() -> None:
    session = Session(LIMITS)
    session.begin_read()
    session.hint(hint(11, 12), 0)
    assert session.open("e", 10, resumable=False, client_epoch=None, cursor=None) == "fresh"
    assert standing(session) == ("REPLAYING", 10, 12)
    assert session.cursor == 10


def test_what_was_heard_before_the_read_began_is_in_it() -> None:
    session = Session(LIMITS)
    session.hint(hint(10, 10), 0)
    session.begin_read()
    session.open("e", 10, resumable=False, client_epoch=None, cursor=None)
    assert standing(session) == ("LIVE", 10, 10)


def test_a_number_of_another_history_heard_while_opening_costs_one_read() -> None:
    session = Session(LIMITS)
    session.begin_read()
    session.hint(hint(900, 901, epoch="old"), 0)
    session.open("e", 10, resumable=False, client_epoch=None, cursor=None)
    assert session.wants_page
    session.begin_read()
    assert session.page("e", 10, [], 0)
    assert standing(session) == ("LIVE", 10, 10)


# -- hints, live -------------------------------------------------------------------------------------------------------

HEARD: dict[str, tuple[list[Hint], tuple[str, int, int], list[int]]] = {
    "the next one is taken": ([hint(11, 11)], ("LIVE", 11, 11), [11]),
    "several are taken in order": ([hint(11, 13)], ("LIVE", 13, 13), [11, 12, 13]),
    "one that was taken is nothing": ([hint(11, 11), hint(11, 11)], ("LIVE", 11, 11), [11]),
    "of those that overlap the new ones are taken": ([hint(11, 12), hint(11, 14)], ("LIVE", 14, 14), [11, 12, 13, 14]),
    "one from before the beginning is nothing": ([hint(8, 9)], ("LIVE", 10, 10), []),
    "one from before it to after it gives what is after": ([hint(8, 11)], ("LIVE", 11, 11), [11]),
    "after a gap the log is read": ([hint(12, 12)], ("REPLAYING", 10, 12), []),
    "after a gap what fills it comes by the log": ([hint(12, 12), hint(11, 11)], ("REPLAYING", 10, 12), []),
    "a hole within a hint is a gap": ([Hint("e", [event(11), event(13)])], ("REPLAYING", 11, 13), [11]),
    "a hint of another epoch is looked into": ([hint(11, 11, epoch="x")], ("REPLAYING", 10, 10), []),
    "an old hint of another epoch too": ([hint(1, 2, epoch="x")], ("REPLAYING", 10, 10), []),
    "an empty hint is nothing": ([Hint("x", [])], ("LIVE", 10, 10), []),
    "a critical one beyond a gap goes early": ([hint(15, 15, lane=CRITICAL)], ("REPLAYING", 10, 15), [15]),
    "no other kind goes early": ([hint(15, 15, lane=CRITICAL + IN_ORDER)], ("REPLAYING", 10, 15), []),
    "nor does one of another epoch": ([hint(15, 15, epoch="x", lane=CRITICAL)], ("REPLAYING", 10, 10), []),
    "one that is both doubled and early is had once": (
        [hint(15, 15, lane=CRITICAL), hint(15, 15, lane=CRITICAL)],
        ("REPLAYING", 10, 15),
        [15],
    ),
}


@pytest.mark.parametrize(("hints", "stands", "leaves"), HEARD.values(), ids=HEARD)
def test_hearing(hints: list[Hint], stands: tuple[str, int, int], leaves: list[int]) -> None:
    session = opened()
    for one in hints:
        session.hint(one, 0)
    assert standing(session) == stands
    assert left(session) == leaves


def test_while_replaying_hints_only_tell_how_far_there_is_to_go() -> None:
    session = opened(cursor=4)
    session.hint(hint(5, 5), 0)
    session.hint(hint(11, 12), 0)
    assert standing(session) == ("REPLAYING", 4, 12)
    assert left(session) == []


# -- pages -------------------------------------------------------------------------------------------------------------


def paged(session: Session, epoch: str, head: int, page: list[Event]) -> bool:
    assert session.wants_page
    session.begin_read()
    return session.page(epoch, head, page, 0)


def test_a_page_to_the_head_makes_it_live() -> None:
    session = opened(cursor=4)
    assert paged(session, "e", 10, events(5, 10))
    assert standing(session) == ("LIVE", 10, 10)
    assert session.replayed_seq == 10
    assert left(session) == [5, 6, 7, 8, 9, 10]


def test_a_page_that_ends_earlier_is_followed_by_another() -> None:
    session = opened(cursor=4)
    assert paged(session, "e", 10, events(5, 7))
    assert standing(session) == ("REPLAYING", 7, 10)
    assert paged(session, "e", 12, events(8, 12))
    assert standing(session) == ("LIVE", 12, 12)


def test_what_was_heard_while_a_page_was_read_is_read_too() -> None:
    session = opened(cursor=4)
    session.begin_read()
    assert not session.wants_page, "one read at a time"
    session.hint(hint(11, 11), 0)
    assert session.page("e", 10, events(5, 10), 0)
    assert standing(session) == ("REPLAYING", 10, 11)


def test_what_a_page_read_after_it_does_not_know_of_never_was() -> None:
    session = opened()
    session.hint(hint(500, 500), 0)
    assert paged(session, "e", 10, [])
    assert standing(session) == ("LIVE", 10, 10)


def test_the_head_that_clients_are_told_does_not_fall_back_while_a_page_is_read() -> None:
    session = opened(head=1000, cursor=4)
    session.begin_read()
    assert session.head == 1000


def test_a_read_that_failed_is_wanted_again() -> None:
    session = opened(cursor=4)
    session.begin_read()
    session.read_failed()
    assert session.wants_page


CANNOT_FOLLOW: dict[str, tuple[str, int, list[Event]]] = {
    "another epoch": ("x", 10, events(5, 10)),
    "a head behind what was taken": ("e", 3, []),
    "a hole at its beginning": ("e", 10, events(6, 10)),
    "a hole within": ("e", 10, [*events(5, 6), *events(8, 10)]),
    "nothing, though there should be something": ("e", 10, []),
    "what was taken already": ("e", 10, events(4, 10)),
}


@pytest.mark.parametrize("page", CANNOT_FOLLOW.values(), ids=CANNOT_FOLLOW)
def test_a_page_that_cannot_be_followed_changes_nothing_and_is_followed_by_a_restart(page: Any) -> None:
    session = opened(cursor=4)
    assert not paged(session, *page)
    assert session.admitted_seq == 4
    assert left(session) == []
    session.begin_read()
    session.hint(hint(700, 700, epoch="old"), 0)
    session.restart("x", 20)
    assert standing(session) == ("REPLAYING", 20, 20), "it reads once more, since what it heard may be of either"
    assert (session.epoch, session.cursor, session.replayed_seq) == ("x", 20, 0)
    assert paged(session, "x", 20, [])
    assert session.state is State.LIVE
    session.hint(hint(21, 21, epoch="x"), 0)
    assert left(session) == [21]


def test_what_waited_is_forgotten_by_a_restart() -> None:
    session = opened()
    session.hint(hint(11, 12), 0)
    session.hint(hint(20, 20, lane=CRITICAL), 0)
    session.begin_read()
    session.restart("x", 5)
    assert left(session) == []
    assert session.bytes_waiting == 0
    session.begin_read()
    assert session.page("x", 25, events(6, 25, size=0), 0)
    assert 20 in left(session), "its number is another event's now"


# -- the window --------------------------------------------------------------------------------------------------------


PASSING: dict[str, tuple[Hint, bool]] = {
    "one that follows on": ("e", 11, True),
    "one that was had": ("e", 10, False),
    "one behind a gap": ("e", 12, False),
    "one of another epoch": ("x", 11, False),
}


def passes(session: Session, seq: int, epoch: str = "e") -> bool:
    return session.pass_by(epoch, hint(seq, seq).events[0])


@pytest.mark.parametrize(("epoch", "seq", "does"), PASSING.values(), ids=PASSING)
def test_what_passes_an_empty_window_by(epoch: str, seq: int, does: bool) -> None:
    session = opened()
    assert passes(session, seq, epoch) is does
    assert standing(session) == (("LIVE", 11, 11) if does else ("LIVE", 10, 10))
    assert session.cursor == session.admitted_seq
    assert not session.has_waiting


def test_nothing_passes_by_what_waits_or_what_is_being_read() -> None:
    session = opened()
    session.hint(hint(11, 12), 0)
    assert not passes(session, 13), "two wait"
    assert left(session) == [11, 12]
    assert passes(session, 13)
    session.hint(hint(15, 15), 0)
    assert not passes(session, 14), "the log is read"
    session.close()
    assert not passes(session, 14)


def test_a_full_window_takes_nothing_and_keeps_its_place() -> None:
    session = opened()
    session.hint(hint(11, 30), 0)
    assert standing(session) == ("LAGGING", 20, 30)
    assert session.bytes_waiting == 1000
    assert not session.wants_page
    session.hint(hint(31, 31), 0)
    assert standing(session) == ("LAGGING", 20, 31)


def test_drained_to_the_low_mark_it_reads_on() -> None:
    session = opened()
    session.hint(hint(11, 30), 0)
    for _ in range(6):
        session.take(1, 0)
        assert session.state is State.LAGGING
    session.take(1, 0)
    assert (session.bytes_waiting, session.state) == (300, State.REPLAYING)
    assert session.page_bytes_max == 700


def test_drained_with_nothing_more_to_come_it_is_live() -> None:
    session = opened()
    session.hint(hint(11, 20), 0)
    assert standing(session) == ("LAGGING", 20, 20)
    session.take(700, 0)
    assert standing(session) == ("LIVE", 20, 20)


def test_of_a_page_only_what_has_room_is_taken_and_the_rest_stays_in_the_log() -> None:
    session = opened(cursor=0, head=50)
    assert paged(session, "e", 50, events(1, 50))
    assert standing(session) == ("LAGGING", 10, 50)
    assert session.bytes_waiting == 1000
    assert left(session) == list(range(1, 11))
    assert paged(session, "e", 50, events(11, 50, size=0))
    assert session.admitted_seq > 20


def test_one_event_may_exceed_the_window_or_it_would_never_come() -> None:
    session = opened()
    session.hint(hint(11, 11, size=5000), 0)
    assert standing(session) == ("LAGGING", 11, 11)
    assert left(session) == [11]


def test_a_full_window_asks_for_at_least_a_byte() -> None:
    session = opened()
    session.hint(hint(11, 11, size=5000), 0)
    assert session.page_bytes_max == 1


def test_critical_ones_go_ahead_of_a_full_window_as_many_as_may() -> None:
    session = opened()
    session.hint(hint(11, 30), 0)
    session.hint(hint(31, 36, lane=CRITICAL), 0)
    assert [e.seq for e, _ in session.take(350, 0)] == [31, 32, 33, 11]


def test_critical_ones_of_the_log_go_ahead_of_a_long_replay() -> None:
    session = opened(head=100, cursor=0)
    session.offer_early([event(50, CRITICAL), event(60, CRITICAL)])
    assert paged(session, "e", 100, events(1, 9))
    assert left(session) == [50, 60, *range(1, 10)]


def test_who_is_live_needs_nothing_early() -> None:
    session = opened()
    session.offer_early([event(50, CRITICAL)])
    assert left(session) == []


# -- the sweep ---------------------------------------------------------------------------------------------------------

SWEPT: dict[str, tuple[int, tuple[str, int, int]]] = {
    "a head where it stands is nothing": (10, ("LIVE", 10, 10)),
    "an older head, read before a hint came, is nothing": (9, ("LIVE", 10, 10)),
    "a newer head is caught up with": (12, ("REPLAYING", 10, 12)),
}


@pytest.mark.parametrize(("head", "stands"), SWEPT.values(), ids=SWEPT)
def test_the_sweep(head: int, stands: tuple[str, int, int]) -> None:
    session = opened()
    session.note_head(head)
    assert standing(session) == stands


def test_a_suspicion_is_settled_by_one_read() -> None:
    session = opened()
    session.suspect()
    assert paged(session, "e", 10, [])
    assert session.state is State.LIVE


@pytest.mark.parametrize("state", ["OPENING", "REPLAYING", "LAGGING"])
def test_a_suspicion_or_a_head_moves_only_who_is_live(state: str) -> None:
    session = Session(LIMITS) if state == "OPENING" else opened(cursor=4 if state == "REPLAYING" else None)
    if state == "LAGGING":
        session.hint(hint(11, 30), 0)
    session.suspect()
    session.note_head(99)
    assert session.state.name == state


# -- the end -----------------------------------------------------------------------------------------------------------


def test_who_is_closed_stays_closed_whatever_it_hears() -> None:
    session = opened(cursor=4)
    session.begin_read()
    session.close()
    assert session.page("e", 10, events(5, 10), 0), "and nobody is asked to reset it"
    session.restart("x", 20)
    session.hint(hint(11, 11), 0)
    session.note_head(50)
    session.suspect()
    session.offer_early([event(50, CRITICAL)])
    assert session.state is State.CLOSED
    assert not session.wants_page
    assert left(session) == []


# -- always ------------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_whatever_it_hears_it_sends_each_once_and_its_window_is_bounded(data: st.DataObject) -> None:
    """Any order of hints (lost, doubled, late), pages cut anywhere, sweeps and takes; then all of it drains."""
    log = [
        event(seq, data.draw(st.sampled_from([CRITICAL, LOW, LOW + IN_ORDER])), data.draw(st.integers(0, 300)))
        for seq in range(1, data.draw(st.integers(1, 25)) + 1)
    ]
    session = opened(head=0)
    committed = 0
    sent: list[int] = []

    def read(count: int) -> None:
        if session.wants_page:
            session.begin_read()
            page = log[session.admitted_seq : committed][:count]
            assert session.page("e", committed, page, 0)

    for _ in range(data.draw(st.integers(0, 60))):
        match data.draw(st.sampled_from(["commit", "hint", "read", "take", "sweep"])):
            case "commit":
                committed = min(committed + 1, len(log))
            case "hint" if committed:
                first = data.draw(st.integers(1, committed))
                session.hint(Hint("e", log[first - 1 : data.draw(st.integers(first, committed))]), 0)
            case "read":
                read(data.draw(st.integers(1, 9)))
            case "sweep":
                session.note_head(committed)
            case _:
                sent.extend(e.seq for e, _ in session.take(data.draw(st.integers(1, 500)), 0))
        assert session.bytes_waiting < LIMITS.window_max + cost(event(0, size=300))
        assert session.state is not State.LIVE or session.admitted_seq >= session.head
    committed = len(log)
    for _ in range(200):
        session.note_head(committed)
        read(3)
        sent.extend(e.seq for e, _ in session.take(400, 0))
    assert session.state is State.LIVE
    assert session.cursor == committed
    assert sorted(sent) == list(range(1, committed + 1))
