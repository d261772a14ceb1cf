"""Which one of a person's devices is asked, and which numbers have rung."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from hub.core.ring import Candidate, RungSeqs, decide_ringer


def device(session: str, *, focused_at: float = 0, connected_at: float = 0, node: str = "n") -> Candidate:
    return Candidate(node, session, focused_at, connected_at)


ASKED: dict[str, tuple[list[Candidate], str | None]] = {
    "where none can ring none is asked": ([], None),
    "the only one is": ([device("a")], "a"),
    "the newest is": ([device("a", connected_at=1), device("b", connected_at=2)], "b"),
    "the one that has the focus is, though it is older": (
        [device("a", focused_at=5, connected_at=1), device("b", connected_at=9)],
        "a",
    ),
    "the one that last said so is": ([device("a", focused_at=5), device("b", focused_at=6)], "b"),
    "of those that said so at once the newest is": (
        [device("a", focused_at=5, connected_at=2), device("b", focused_at=5, connected_at=1)],
        "a",
    ),
    "of equals all nodes ask the same": ([device("a", node="n2"), device("b", node="n1")], "b"),
}


@pytest.mark.parametrize(("candidates", "asked"), ASKED.values(), ids=ASKED)
def test_in_whatever_order_they_are_heard(candidates: list[Candidate], asked: str | None) -> None:
    for order in permutations(candidates):
        best = decide_ringer(order)
        assert (best.session if best else None) == asked


def test_a_number_rings_once() -> None:
    rung = RungSeqs()
    assert 5 not in rung
    rung.add(5)
    rung.add(5)
    assert 5 in rung
    assert 4 not in rung, "a later one that rang says nothing of an earlier one that replays"


def test_past_its_bound_the_lowest_are_forgotten_and_ring_no_more() -> None:
    rung = RungSeqs(size_max=10)
    numbers = list(range(1, 101))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        rung.add(number)
    assert len(rung._seqs) == 10
    assert all(number in rung for number in range(101))
    assert 101 not in rung
    rung.add(3)
    assert len(rung._seqs) == 10


def test_another_history_has_new_numbers() -> None:
    rung = RungSeqs(size_max=2)
    for number in range(1, 6):
        rung.add(number)
    rung.forget()
    assert all(number not in rung for number in range(1, 6))
