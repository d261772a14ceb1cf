"""Lanes, bounds and the cursor, one socket's window at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.core.event import IN_ORDER, Event
from hub.core.outbox import Outbox, cost

CRITICAL, HIGH, NORMAL, LOW = range(4)


def event(seq: int, lane: int, size: int = 10) -> Event:
    return Event(seq, lane, False, b"x" * size)


def leave(outbox: Outbox, now: float = 0) -> list[int]:
    order: list[int] = []
    while outbox:
        order.extend(e.seq for e, _ in outbox.take(1, now))
    return order


def filled(*lanes: int) -> Outbox:
    outbox = Outbox()
    for seq, lane in enumerate(lanes, 1):
        outbox.admit(event(seq, lane), 0)
    return outbox


def test_notifications_leave_by_priority() -> None:
    assert leave(filled(LOW, NORMAL, HIGH, CRITICAL, LOW, CRITICAL)) == [4, 6, 3, 2, 1, 5]


def test_every_other_kind_leaves_after_all_that_is_below_it() -> None:
    assert leave(filled(LOW, NORMAL, CRITICAL + IN_ORDER, HIGH)) == [4, 2, 1, 3]


def test_a_change_of_a_task_does_not_bar_a_more_urgent_notification() -> None:
    assert leave(filled(NORMAL + IN_ORDER, NORMAL + IN_ORDER, HIGH, NORMAL)) == [3, 1, 2, 4]


def test_the_cursor_is_the_highest_number_without_a_hole_below() -> None:
    outbox = filled(LOW, CRITICAL, NORMAL, NORMAL + IN_ORDER)
    taken = outbox.take(10_000, 0)
    assert [(e.seq, cursor) for e, cursor in taken] == [(2, 0), (3, 0), (1, 3), (4, 4)]


def test_an_early_one_goes_first_and_is_skipped_when_the_log_comes_round() -> None:
    outbox = filled(NORMAL, CRITICAL)
    assert outbox.admit_early(event(9, CRITICAL))
    assert outbox.admit_early(event(9, CRITICAL)), "heard twice"
    assert [e.seq for e, _ in outbox.take(10_000, 0)] == [2, 9, 1]
    assert outbox.cursor == 2
    for seq in range(3, 11):
        outbox.admit(event(seq, CRITICAL if seq == 9 else NORMAL), 0)
    assert leave(outbox) == [3, 4, 5, 6, 7, 8, 10]
    assert outbox.cursor == 10


def test_only_so_many_early_ones_wait_and_only_so_many_are_remembered() -> None:
    outbox = Outbox(early_max=4)
    assert [outbox.admit_early(event(seq, CRITICAL)) for seq in range(10, 16)] == [True] * 4 + [False] * 2
    accepted = 0
    for seq in range(100, 1000):
        accepted += outbox.admit_early(event(seq, CRITICAL))
        leave(outbox)
    assert accepted == 16 * 4 - 4


def test_early_ones_are_bounded_in_bytes_too() -> None:
    outbox = Outbox(early_bytes_max=1000)
    assert outbox.admit_early(event(5, CRITICAL, 800))
    assert not outbox.admit_early(event(6, CRITICAL, 800))


def test_low_ones_do_not_starve() -> None:
    outbox = Outbox(starve_max_s=30)
    outbox.admit(event(1, LOW), 0)
    seq = 1
    sent: list[tuple[int, int]] = []
    for now in range(60):
        seq += 1
        outbox.admit(event(seq, HIGH), now)
        sent.extend((now, e.seq) for e, _ in outbox.take(1, now))
    waited = [now for now, number in sent if number == 1]
    assert waited == [31]


def test_it_leaves_in_order_as_long_as_the_oldest_has_waited_too_long() -> None:
    outbox = Outbox(starve_max_s=30)
    for seq in range(1, 6):
        outbox.admit(event(seq, LOW), 0)
    outbox.admit(event(6, HIGH), 40)
    assert leave(outbox, 41) == [1, 2, 3, 4, 5, 6]


def test_a_critical_one_goes_ahead_of_those_too_and_many_of_them_by_turns() -> None:
    outbox = Outbox(starve_max_s=30)
    for seq in range(1, 5):
        outbox.admit(event(seq, LOW), 0)
    outbox.admit(event(5, CRITICAL), 40)
    outbox.admit(event(6, CRITICAL), 40)
    outbox.admit_early(event(9, CRITICAL))
    assert leave(outbox, 41) == [5, 1, 6, 2, 9, 3, 4]


@given(
    lanes=st.lists(st.integers(0, 7), max_size=40),
    takes=st.lists(st.integers(1, 400), max_size=60),
    early=st.lists(st.integers(1, 60), max_size=10),
)
def test_whatever_comes_leaves_once_and_in_order_kinds_stay_in_order(lanes, takes, early) -> None:
    outbox = Outbox(early_max=3)
    lane_of = dict(enumerate(lanes, 1))
    sent: list[int] = []
    waiting = list(lane_of)
    for step, budget in enumerate(takes):
        if waiting:
            seq = waiting.pop(0)
            outbox.admit(event(seq, lane_of[seq]), step)
        if step < len(early) and waiting and lane_of.get(early[step]) == CRITICAL and early[step] in waiting:
            outbox.admit_early(event(early[step], CRITICAL))
        for taken, cursor in outbox.take(budget, step):
            sent.append(taken.seq)
            assert set(range(1, cursor + 1)) <= set(sent)
            assert cursor + 1 not in sent
            if taken.lane >= IN_ORDER:
                assert set(range(1, taken.seq)) <= set(sent)
    for seq in waiting:
        outbox.admit(event(seq, lane_of[seq]), 100)
    sent.extend(leave(outbox, 100))
    assert sorted(sent) == sorted(lane_of)
    assert len(set(sent)) == len(sent)
    assert outbox.cursor == len(lanes)
    assert outbox.bytes_waiting == 0


def test_the_window_is_counted_in_bytes() -> None:
    outbox = filled(NORMAL, NORMAL)
    assert outbox.bytes_waiting == 2 * cost(event(1, NORMAL))
    outbox.take(1, 0)
    assert outbox.bytes_waiting == cost(event(1, NORMAL))
