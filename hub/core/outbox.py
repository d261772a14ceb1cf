"""The bounded window between a user's log and one socket.

Owns the order in which events leave (law 6). Does not own loss: what is not
admitted here is still in the log, and returns by replay (law 5).

Events are admitted in the order of their numbers. They leave by lanes: a
`notification.created` overtakes what is less urgent, every other kind leaves
only after all that is below it. Beside the window a few critical ones wait that
were heard of before their turn; these go first of all.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hub.core.event import IN_ORDER, Event

_ENTRY_OVERHEAD: Final = 64
"""Bytes that an entry is reckoned at beside its tail, so that a flood of tiny events is bounded too."""


def cost(event: Event) -> int:
    """What an event counts against the window, in bytes."""
    return len(event.tail) + _ENTRY_OVERHEAD


class Outbox:
    """What waits for one socket.

    `cursor` is the highest number up to which everything has left; `bytes_waiting`
    is what the window holds now, early ones not counted.
    """

    __slots__ = (
        "_ahead",
        "_early",
        "_early_bytes",
        "_early_bytes_max",
        "_early_known",
        "_early_max",
        "_in_order",
        "_is_turn_of_oldest",
        "_lanes",
        "_marks",
        "_starve_max_s",
        "bytes_waiting",
        "cursor",
    )

    def __init__(
        self, cursor: int = 0, *, early_max: int = 64, early_bytes_max: int = 65536, starve_max_s: float = 30.0
    ) -> None:
        self._lanes: list[deque[Event]] | None = None
        self._in_order: deque[Event] | None = None
        self._early: deque[Event] | None = None
        # Early ones of which the log has not come round yet, waiting or gone.
        self._early_known: set[int] | None = None
        self._early_max = early_max
        self._early_bytes = 0
        self._early_bytes_max = early_bytes_max
        # Numbers above the cursor that have left.
        self._ahead: set[int] | None = None
        # (seq, when): from this number on, events were admitted at this time or at most a second later.
        self._marks: deque[tuple[int, float]] | None = None
        self._starve_max_s = starve_max_s
        self._is_turn_of_oldest = False
        self.bytes_waiting = 0
        self.cursor = cursor

    def __bool__(self) -> bool:
        return self.bytes_waiting > 0 or bool(self._early)

    @property
    def is_blank(self) -> bool:
        """Nothing waits and nothing is remembered: another one that begins at `cursor` would do as well."""
        return not (self.bytes_waiting or self._early or self._early_known or self._ahead)

    def admit(self, event: Event, now: float) -> None:
        """Take the next event of the log. The caller sees to it that none is left out and none comes twice."""
        if self._early_known is not None and event.seq in self._early_known:
            self._early_known.discard(event.seq)
            return
        if event.lane >= IN_ORDER:
            if self._in_order is None:
                self._in_order = deque()
            self._in_order.append(event)
        else:
            if self._lanes is None:
                self._lanes = [deque(), deque(), deque(), deque()]
            self._lanes[event.lane].append(event)
        if self._marks is None:
            self._marks = deque()
        if not self._marks or now - self._marks[-1][1] >= 1.0:
            self._marks.append((event.seq, now))
        self.bytes_waiting += cost(event)

    def admit_early(self, event: Event) -> bool:
        """Let a critical event go ahead of what the log has yet to bring. False where too many already wait.

        Idempotent for as long as the log has not come round to it.
        """
        if self._early_known is None:
            self._early_known = set()
            self._early = deque()
        assert self._early is not None
        if event.seq in self._early_known:
            return True
        if (
            len(self._early) >= self._early_max
            or self._early_bytes + cost(event) > self._early_bytes_max
            # What has left early is remembered until its turn; that memory is bounded too.
            or len(self._early_known) >= 16 * self._early_max
        ):
            return False
        self._early_known.add(event.seq)
        self._early.append(event)
        self._early_bytes += cost(event)
        return True

    def take(self, bytes_max: int, now: float) -> list[tuple[Event, int]]:
        """Remove what leaves next, at most `bytes_max` but at least one event; with the cursor after each."""
        taken: list[tuple[Event, int]] = []
        size = 0
        while (event := self._next(now)) is not None:
            self._leave(event.seq)
            taken.append((event, self.cursor))
            size += cost(event)
            if size >= bytes_max:
                break
        return taken

    def _leave(self, seq: int) -> None:
        if seq != self.cursor + 1:
            if self._ahead is None:
                self._ahead = set()
            self._ahead.add(seq)
            return
        self.cursor = seq
        if self._ahead:
            while self.cursor + 1 in self._ahead:
                self.cursor += 1
                self._ahead.discard(self.cursor)

    def _next(self, now: float) -> Event | None:
        if self._marks and now - self._oldest_since() > self._starve_max_s and (oldest := self._oldest()) is not None:
            # The lowest number has waited long enough for the more urgent ones. A critical one goes ahead of it
            # nevertheless, but many of them only by turns: neither starves.
            if self._is_turn_of_oldest or not (self._early or (self._lanes and self._lanes[0])):
                self._is_turn_of_oldest = False
                return self._remove(oldest)
            self._is_turn_of_oldest = True
        best: deque[Event] | None = None
        rank = IN_ORDER
        if self._lanes is not None:
            for index, lane in enumerate(self._lanes):
                if lane:
                    best, rank = lane, index
                    break
        if self._early and (best is None or rank > 0 or self._early[0].seq < best[0].seq):
            event = self._early.popleft()
            self._early_bytes -= cost(event)
            return event
        waiting = self._in_order
        if waiting and waiting[0].seq == self.cursor + 1:
            # Nothing below it waits any more. Among equals in urgency the lower number goes first.
            own_rank = waiting[0].lane - IN_ORDER
            if best is None or own_rank < rank or (own_rank == rank and waiting[0].seq < best[0].seq):
                best = waiting
        return None if best is None else self._remove(best)

    def _remove(self, queue: deque[Event]) -> Event:
        event = queue.popleft()
        self.bytes_waiting -= cost(event)
        if not self.bytes_waiting:
            self._marks = None
        return event

    def _oldest_since(self) -> float:
        marks = self._marks
        assert marks
        while len(marks) > 1 and marks[1][0] <= self.cursor + 1:
            marks.popleft()
        return marks[0][1]

    def _oldest(self) -> deque[Event] | None:
        for queue in (*(self._lanes or ()), self._in_order):
            if queue and queue[0].seq == self.cursor + 1:
                return queue
        return None
