"""Which one of a person's devices makes the sound.

Pure. Each node says which of its own devices it would ask; the best of all that
are said is asked, and everyone who hears the same answers comes to the same one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Candidate(msgspec.Struct, array_like=True, frozen=True):
    """A device that can ring. Times are seconds of the wall clock; `focused_at` 0 where it never had the focus."""

    node: str
    session: str
    focused_at: float
    connected_at: float


def decide_ringer(candidates: Iterable[Candidate]) -> Candidate | None:
    """The one that last said it has the focus, else the newest; None where none can ring."""
    return max(candidates, key=lambda c: (c.focused_at, c.connected_at, c.session), default=None)


class RungSeqs:
    """The numbers that have rung, or that another node's device was asked to ring for.

    Bounded: past `size_max` the lowest are forgotten, and nothing at or below them rings any more.
    """

    __slots__ = ("_floor", "_seqs", "_size_max")

    def __init__(self, size_max: int = 256) -> None:
        self._floor = 0
        self._seqs: set[int] = set()
        self._size_max = size_max

    def __contains__(self, seq: int) -> bool:
        return seq <= self._floor or seq in self._seqs

    def add(self, seq: int) -> None:
        if seq <= self._floor:
            return
        self._seqs.add(seq)
        if len(self._seqs) > self._size_max:
            lowest = min(self._seqs)
            self._seqs.discard(lowest)
            self._floor = lowest

    def forget(self) -> None:
        """Another history begins: its numbers are new ones."""
        self._floor = 0
        self._seqs.clear()
