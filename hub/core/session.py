"""Where one socket stands in its user's log.

Owns the state (`REPLAYING → LIVE ⇄ LAGGING → CLOSED`), what has been admitted,
and the decision to read the log again. Pure: the gateway feeds it what it heard
(hints, pages, heads) and does what it asks for (`wants_page`, `take`).

Keeps law 4 (attach before read: what is heard while a read runs is remembered
as `head`, so the read is known to be too old), law 5 (overflow stops admission)
and law 6 (admission in order). A hint is never trusted for more than its own
contiguous events; whatever does not fit is read from the log.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal

from hub.core.event import Event, Hint
from hub.core.outbox import Outbox

Resume = Literal["fresh", "replay", "reset"]


class State(IntEnum):
    """What a session does with an event that it hears of."""

    OPENING = 0
    """Attached, its place not yet known: remembers the highest number heard."""
    REPLAYING = 1
    """Behind: takes pages of the log, not hints."""
    LIVE = 2
    """At the head: takes hints that follow on."""
    LAGGING = 3
    """Its window is full: keeps its place and takes nothing until the socket has drained."""
    CLOSED = 4


_LIVE: Final = State.LIVE
"""By a name of this module, which is found faster than an attribute of a class."""


class Limits:
    """The bounds of one session's memory, in bytes of events.

    `window_max`: at and above it nothing more is admitted. `window_low`: at and below it admission goes on.
    A page is asked for in at most the room that is left, and what of it finds none is left in the log,
    so the window never holds more than `window_max` and one event.
    """

    __slots__ = ("early_max", "page_count_max", "starve_max_s", "window_low", "window_max")

    def __init__(
        self,
        *,
        window_max: int = 65536,
        window_low: int = 16384,
        page_count_max: int = 200,
        early_max: int = 64,
        starve_max_s: float = 30.0,
    ) -> None:
        self.window_max = window_max
        self.window_low = window_low
        self.page_count_max = page_count_max
        self.early_max = early_max
        self.starve_max_s = starve_max_s


class Session:
    """The sync state of one connection.

    `admitted_seq` is the last number taken in; `head` the highest committed number known of, which
    clients are told; `replayed_seq` the last that came from the log rather than by a hint.
    """

    __slots__ = ("_heard", "_limits", "admitted_seq", "epoch", "head", "is_reading", "outbox", "replayed_seq", "state")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.state = State.OPENING
        self.epoch = ""
        self.admitted_seq = 0
        self.head = 0
        # The highest number heard of since the read that runs began: the read may be too old for it.
        self._heard = 0
        self.replayed_seq = 0
        self.is_reading = False
        # None where all that was admitted has left, as it is with most sessions at most times.
        self.outbox: Outbox | None = None

    # -- what the gateway is asked to do ---------------------------------------------------------------------------

    @property
    def wants_page(self) -> bool:
        """Read the log after `admitted_seq`: call `begin_read`, then `page` with what came, or `read_failed`."""
        return self.state is State.REPLAYING and not self.is_reading

    @property
    def has_waiting(self) -> bool:
        """Something may leave: call `take`."""
        return bool(self.outbox)

    @property
    def cursor(self) -> int:
        """The highest number up to which everything has left."""
        return self.admitted_seq if self.outbox is None else self.outbox.cursor

    @property
    def bytes_waiting(self) -> int:
        """What the window holds."""
        return 0 if self.outbox is None else self.outbox.bytes_waiting

    @property
    def page_bytes_max(self) -> int:
        """How much the next page may hold."""
        return max(self._limits.window_max - self.bytes_waiting, 1)

    @property
    def page_count_max(self) -> int:
        return self._limits.page_count_max

    # -- opening ---------------------------------------------------------------------------------------------------

    def begin_read(self) -> None:
        """A read of the log starts now; what is heard from here on may be newer than it.

        What was heard before was committed before, so the read will see it, and what the read does not
        see never was: a number of another history, or a rogue's, costs one read and is forgotten.
        """
        self.is_reading = True
        self._heard = self.admitted_seq

    def read_failed(self) -> None:
        """The read brought nothing; it will be wanted again."""
        self.is_reading = False

    def open(self, epoch: str, head: int, *, resumable: bool, client_epoch: str | None, cursor: int | None) -> Resume:
        """Take a place in the log, by the state read after `begin_read`.

        `resumable` says that `cursor` is `head`, or the event after it is still kept.
        """
        self.is_reading = False
        self.epoch = epoch
        resume: Resume
        if cursor is None:
            resume, place = "fresh", head
        elif client_epoch == epoch and resumable and cursor <= head:
            resume, place = "replay", cursor
        else:
            resume, place = "reset", head
        self.admitted_seq = place
        self.outbox = None
        self.head = max(self._heard, head)
        self.state = State.LIVE if place >= self.head else State.REPLAYING
        return resume

    # -- hearing ---------------------------------------------------------------------------------------------------

    def pass_by(self, epoch: str, event: Event) -> bool:
        """Take in an event that follows on and may leave at once, since nothing waits that it could overtake.

        True: the caller sends it now, its number being the cursor. False: nothing has happened; call `hint`.
        """
        seq = event.seq
        if seq != self.admitted_seq + 1 or self.outbox is not None or self.state is not _LIVE or epoch != self.epoch:
            return False
        self.admitted_seq = self.head = seq
        return True

    def hint(self, hint: Hint, now: float) -> None:
        """A writer says that it has committed these. Idempotent; order and loss do not matter."""
        events = hint.events
        if not events:
            return
        if self.state is State.LIVE and hint.epoch == self.epoch:
            if events[0].seq <= self.admitted_seq + 1:
                self._admit_following(events, now)
            elif events[-1].seq > self.admitted_seq:
                # A hint was lost on the way. Do not wait for it: the log has the missing
                # events, and a late hint is ignored as already admitted.
                self._fall_behind(events)
            return
        if self.state is State.CLOSED:
            return
        if self.state is State.OPENING:
            # Its epoch is not known yet: a number that proves too high costs one read.
            self._hear_of(events[-1].seq)
        elif hint.epoch == self.epoch:
            self._hear_of(events[-1].seq)
            self._admit_early(events)
        else:
            self.suspect()

    def note_head(self, head: int) -> None:
        """The sweep found the user's head here: catch up where that is past what was admitted."""
        self._hear_of(head)
        if self.state is State.LIVE and head > self.admitted_seq:
            self.state = State.REPLAYING

    def suspect(self) -> None:
        """Something spoke of another history: read the log, whose word on the epoch is final."""
        if self.state is State.LIVE:
            self.state = State.REPLAYING

    def offer_early(self, events: list[Event]) -> None:
        """Critical events of the log that lie ahead of a long replay."""
        if self.state in (State.REPLAYING, State.LAGGING):
            self._admit_early(events)

    def page(self, epoch: str, head: int, events: list[Event], now: float) -> bool:
        """Take in what the log has after `admitted_seq`, as far as there is room.

        False where it cannot be followed (another epoch, a head behind what was admitted, a hole that
        retention made): nothing was admitted; read the stream's state, call `restart`, tell the client `reset`.
        """
        self.is_reading = False
        if self.state is State.CLOSED:
            return True
        if epoch != self.epoch or not self._follows(events, head):
            return False
        for event in events:
            if self.bytes_waiting >= self._limits.window_max:
                break
            self._window().admit(event, now)
            self.admitted_seq = self.replayed_seq = event.seq
        self.head = max(self._heard, head)
        self._settle()
        return True

    def restart(self, epoch: str, head: int) -> None:
        """Stand at `head` of a history that need not be the one before; what waited is forgotten.

        `begin_read` was called before the state was read.
        """
        self.is_reading = False
        if self.state is State.CLOSED:
            return
        self.epoch = epoch
        self.admitted_seq = self.head = head
        self.replayed_seq = 0
        self.outbox = None
        # What was heard meanwhile may belong to either history: one more read tells.
        self.state = State.REPLAYING

    # -- leaving ---------------------------------------------------------------------------------------------------

    def take(self, bytes_max: int, now: float) -> list[tuple[Event, int]]:
        """What leaves next, with the cursor after each; at least one event where one waits."""
        outbox = self.outbox
        if outbox is None:
            return []
        taken = outbox.take(bytes_max, now)
        if self.state is State.LAGGING and outbox.bytes_waiting <= self._limits.window_low:
            self.state = State.LIVE if self.admitted_seq >= self.head else State.REPLAYING
        if outbox.is_blank:
            self.outbox = None
        return taken

    def close(self) -> None:
        """Final. Nothing is admitted or wanted any more."""
        self.state = State.CLOSED

    # -- inside ----------------------------------------------------------------------------------------------------

    def _window(self) -> Outbox:
        """The outbox; made where there was none, so ask before `admitted_seq` moves."""
        if self.outbox is None:
            limits = self._limits
            self.outbox = Outbox(
                self.admitted_seq,
                early_max=limits.early_max,
                early_bytes_max=limits.window_max,
                starve_max_s=limits.starve_max_s,
            )
        return self.outbox

    def _admit_following(self, events: list[Event], now: float) -> None:
        for index, event in enumerate(events):
            if event.seq <= self.admitted_seq:
                continue
            if event.seq != self.admitted_seq + 1 or self.bytes_waiting >= self._limits.window_max:
                self._fall_behind(events[index:])
                return
            self._window().admit(event, now)
            self.admitted_seq = event.seq
        self.head = max(self.head, self.admitted_seq)
        self._settle()

    def _fall_behind(self, events: list[Event]) -> None:
        self._hear_of(events[-1].seq)
        self._settle()
        self._admit_early(events)

    def _hear_of(self, seq: int) -> None:
        self.head = max(self.head, seq)
        self._heard = max(self._heard, seq)

    def _admit_early(self, events: list[Event]) -> None:
        for event in events:
            if event.lane == 0 and event.seq > self.admitted_seq:
                self._window().admit_early(event)

    def _settle(self) -> None:
        if self.bytes_waiting >= self._limits.window_max:
            self.state = State.LAGGING
        elif self.admitted_seq >= self.head:
            self.state = State.LIVE
        else:
            self.state = State.REPLAYING

    def _follows(self, events: list[Event], head: int) -> bool:
        expected = self.admitted_seq
        for event in events:
            expected += 1
            if event.seq != expected:
                return False
        return bool(events) or head == self.admitted_seq
