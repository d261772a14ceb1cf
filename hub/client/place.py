"""Where a client stands in its user's log: the one check that makes at-least-once into exactly-once.

Owns the cursor, the numbers above it that have been had, and the counts of the
highest number. Does not own what an event means (`hub.client.inbox`), nor how
it came. Pure, so that the client, the tests and the simulator share it.

Keeps law 6 from the other side: the cursor moves only by what the server says.
A client that took the highest number it has seen for its cursor would skip,
after a cut, what a critical notification had overtaken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hub.core.counts import Counts


class _Kept(msgspec.Struct):
    """The shape of a snapshot."""

    epoch: str | None = None
    cursor: int | None = None
    had: list[int] = []


class Place:
    """A position in one user's log, and what was had ahead of it.

    `epoch` and `cursor` are None before the first `welcome`; both go into the next `hello`.
    `counts` are absolute and true as of `counts_seq`.
    """

    __slots__ = ("_had", "counts", "counts_seq", "cursor", "epoch")

    def __init__(self, epoch: str | None = None, cursor: int | None = None) -> None:
        self.epoch = epoch
        self.cursor = cursor
        self.counts: Counts | None = None
        self.counts_seq = -1
        self._had: set[int] = set()

    def __repr__(self) -> str:
        return f"Place(epoch={self.epoch!r}, cursor={self.cursor}, had={sorted(self._had)})"

    @property
    def had(self) -> frozenset[int]:
        """The numbers above the cursor that have been had. All up to the cursor have been, and are not kept."""
        return frozenset(self._had)

    def has(self, seq: int) -> bool:
        """Whether this number has been had."""
        return (self.cursor is not None and seq <= self.cursor) or seq in self._had

    def welcome(self, frame: Mapping[str, Any]) -> bool:
        """Take the server's answer to `hello`. False where what the client keeps goes on from where it was.

        True where it does not (`fresh`, `reset`, or a replay that does not begin here): the client drops its
        state and loads over REST.
        """
        counts = msgspec.convert(frame["counts"], Counts) if frame.get("counts") is not None else None
        is_here = frame["epoch"] == self.epoch and self.cursor is not None and frame["cursor"] <= self.cursor
        if frame["resume"] == "replay" and is_here:
            # The figures are as of the head, ahead of the events that are still to come.
            self.count(frame["head"], counts)
            return False
        self.reset(frame["epoch"], frame["cursor"], counts)
        return True

    def offer(self, seq: int, cursor: int | None, *, counts: Counts | None = None, merged: Iterable[int] = ()) -> bool:
        """Take one event: True where it is new and to be shown, False where it was had and is dropped.

        `cursor` is the frame's; None where it says none (an item of a batch). `merged` are the numbers
        for which this event stands. `counts` are kept where `seq` is the highest so far.
        """
        is_new = not self.has(seq)
        self._had.update(number for number in (seq, *merged) if not self.has(number))
        self.count(seq, counts)
        if cursor is not None:
            self.advance(cursor)
        return is_new

    def advance(self, cursor: int) -> None:
        """The server says that everything up to `cursor` has been sent here. Never goes back."""
        self.cursor = cursor if self.cursor is None else max(cursor, self.cursor)
        if self._had:
            self._had = {seq for seq in self._had if seq > self.cursor}

    def count(self, seq: int, counts: Counts | None) -> None:
        """Take figures that are true as of `seq`; older ones than those kept change nothing."""
        if counts is not None and seq > self.counts_seq:
            self.counts = counts
            self.counts_seq = seq

    def reset(self, epoch: str, cursor: int, counts: Counts | None = None) -> None:
        """Stand at `cursor` of a history in which nothing ahead of it has been had."""
        self.epoch = epoch
        self.cursor = cursor
        self.counts = counts
        self.counts_seq = cursor if counts is not None else -1
        self._had.clear()

    def snapshot(self) -> dict[str, Any]:
        """What to store, JSON-encodable; small, since numbers up to the cursor are forgotten."""
        return {"epoch": self.epoch, "cursor": self.cursor, "had": sorted(self._had)}

    @classmethod
    def restore(cls, kept: Mapping[str, Any]) -> Place:
        """The inverse of `snapshot`, without the counts: the next `welcome` brings them.

        Raises:
            ValueError: `kept` is no snapshot; start with `Place()`, which loads afresh.
        """
        try:
            read = msgspec.convert(dict(kept), _Kept)
        except (msgspec.ValidationError, TypeError) as exc:
            raise ValueError(f"this is no snapshot of a place: {exc}") from None
        place = cls(read.epoch, read.cursor)
        place._had.update(seq for seq in read.had if read.cursor is None or seq > read.cursor)
        return place
