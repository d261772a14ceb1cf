"""The wheel: who is looked at when, and who is taken for gone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hub.gateway.heartbeat import HeartbeatWheel
from hub.gateway.statistics import GatewayStatistics

INTERVAL_S = 25.0


class One:
    """Stands for a connection; notes what is done to it."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_writable = True
        self.heard_at = self.heard_at_beat = self.said_at = 0.0
        self.acked = self.acked_at_beat = self.silent_beats = 0
        self.audience = None
        self.done: Counter[str] = Counter()
        self.closed_with: int | None = None

    def acked_bytes(self) -> int:
        return self.acked

    def heartbeat(self) -> None:
        self.done["heartbeat"] += 1

    def send_ping(self) -> None:
        self.done["ping"] += 1

    def close(self, code: Any, reason: str) -> None:
        self.closed_with = int(code)
        self.is_open = False


class Node:
    """What the wheel asks of a node."""

    class ringer:
        silence_s = 30.0
        asked = 0

        @classmethod
        def reconsider(cls, _: object) -> None:
            cls.asked += 1

    def __init__(self) -> None:
        self.statistics = GatewayStatistics()


def turn(wheel: HeartbeatWheel, node: Node, start: float, end: float, step: float = 0.5) -> Counter[One]:
    """Tick from `start` to `end`; how often each was visited."""
    visits: Counter[One] = Counter()
    now = start
    while now < end:
        for one in wheel.due(now):
            visits[one] += 1
            wheel.visit(one, now, node)
        now += step
    return visits


def test_each_is_visited_five_times_an_interval_and_pinged_once_a_beat() -> None:
    wheel, node, ones = HeartbeatWheel(INTERVAL_S), Node(), [One() for _ in range(37)]
    for one in ones:
        wheel.add(one)
        one.acked = 1
    visits = turn(wheel, node, 0, 4 * INTERVAL_S)
    for one in ones:
        one.closed_with = None
        assert 19 <= visits[one] <= 21


def test_visits_are_spread_over_the_turns() -> None:
    wheel = HeartbeatWheel(INTERVAL_S)
    for _ in range(1000):
        wheel.add(One())
    assert max(len(wheel.due(tick * 0.5)) for tick in range(200)) <= 100


def test_two_silent_beats_are_4408_and_one_is_not() -> None:
    wheel, node, one = HeartbeatWheel(INTERVAL_S), Node(), One()
    wheel.add(one)
    one.acked = 1
    turn(wheel, node, 0, 2.4 * INTERVAL_S)
    assert one.closed_with is None
    turn(wheel, node, 2.4 * INTERVAL_S, 3.6 * INTERVAL_S)
    assert one.closed_with == 4408
    assert node.statistics.peers_gone == 1


def test_a_byte_from_it_or_a_byte_taken_by_it_proves_that_it_is_there() -> None:
    for sign in ("heard", "acked"):
        wheel, node, one = HeartbeatWheel(INTERVAL_S), Node(), One()
        wheel.add(one)
        for beat in range(20):
            if sign == "heard":
                one.heard_at = beat * INTERVAL_S + 1
            else:
                one.acked += 1
            turn(wheel, node, beat * INTERVAL_S, (beat + 1) * INTERVAL_S)
        assert one.closed_with is None
        assert one.done["ping"] == 20


def test_silence_is_filled_once_an_interval_unless_the_socket_is_full() -> None:
    wheel, node, one, full = HeartbeatWheel(INTERVAL_S), Node(), One(), One()
    full.is_writable = False
    for each in (one, full):
        wheel.add(each)
    for beat in range(10):
        one.heard_at = full.heard_at = beat * INTERVAL_S + 1
        before = one.done["heartbeat"]
        turn(wheel, node, beat * INTERVAL_S, (beat + 1) * INTERVAL_S)
        if one.done["heartbeat"] > before:
            one.said_at = (beat + 1) * INTERVAL_S
    assert one.done["heartbeat"] >= 5
    assert not full.done["heartbeat"]
    assert full.done["ping"] == 10


def test_who_is_removed_is_visited_no_more_and_removing_twice_is_nothing() -> None:
    wheel, node, ones = HeartbeatWheel(INTERVAL_S), Node(), [One() for _ in range(20)]
    for one in ones:
        wheel.add(one)
    for one in ones[::2]:
        wheel.remove(one)
        wheel.remove(one)
    visits = turn(wheel, node, 0, INTERVAL_S)
    assert set(visits) == set(ones[1::2])


def test_who_goes_between_being_due_and_being_visited_is_let_be() -> None:
    wheel, node, one = HeartbeatWheel(INTERVAL_S), Node(), One()
    wheel.add(one)
    due = [each for tick in range(12) for each in wheel.due(tick * 0.5)]
    assert one in due
    wheel.remove(one)
    wheel.visit(one, 1e9, node)
    assert not one.done


def test_a_loop_that_stood_still_does_not_make_up_for_what_it_missed() -> None:
    wheel, node, ones = HeartbeatWheel(INTERVAL_S), Node(), [One() for _ in range(10)]
    for one in ones:
        wheel.add(one)
    wheel.due(0)
    assert len(wheel.due(1000.0)) == 10, "each once, not two hundred times"
    assert len(wheel.due(1000.0)) <= 1
    visits = turn(wheel, node, 1000.5, 1000.5 + INTERVAL_S / 5)
    assert all(count <= 2 for count in visits.values())
