"""What has come and what the app has taken: two places in one log, and the bounded queue between them.

Owns the check for doubles, the order of what is handed out, and back-pressure.
`heard` is where the socket stands and goes into the next `hello` of this process;
`place` is where the app stands and is what it stores: so a crash between the two
loses nothing, it brings the events in between once more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from hub.client.event import Event, Item, Reset, RingAgain
from hub.client.place import Place
from hub.client.wire import EventFrame, EventsFrame
from hub.core import frames
from hub.core.event import CREATED
from hub.core.ring import RungSeqs

_OVERRUN: Final = 8
"""While an app waits for the answer to a call the socket is read this many times further: answers go
ahead of the events that wait at the hub, so it is soon there; and the app may be waiting in the very
loop that would make room."""


class _Entry(msgspec.Struct):
    """What to hand out, and what taking it does to the place."""

    item: Item | None = None
    cursor: int | None = None
    welcome: frames.Welcome | None = None


class Intake:
    """The way of every event from the socket to the app.

    `on_taken(is_burst_over)` is called whenever the app's place may have moved.
    `is_awaited()` says whether an answer must still come through.
    """

    def __init__(
        self, place: Place, items_max: int, *, on_taken: Callable[[bool], None], is_awaited: Callable[[], bool]
    ) -> None:
        self.place = place
        self.heard = Place.restore(place.snapshot())
        self.head = 0
        self.news = 0
        """How many new events have come."""
        self._items_max = items_max
        self._on_taken = on_taken
        self._is_awaited = is_awaited
        self._queue: deque[_Entry] = deque()
        self._filled_signal = asyncio.Event()
        self._room_signal = asyncio.Event()
        self._is_over = False
        self._fault: BaseException | None = None
        self._replayed_to = 0
        self._rung = RungSeqs()
        self._had_before: set[int] = set()

    # -- from the socket -----------------------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """The hub has said that there is more than has come."""
        return (self.heard.cursor or 0) < self.head

    @property
    def is_full(self) -> bool:
        """Nothing more should be read for now."""
        return len(self._queue) >= self._items_max * (_OVERRUN if self._is_awaited() else 1)

    async def room(self) -> None:
        """Return when there is room, or nobody to make it."""
        while self.is_full and not self._is_over:
            self._room_signal.clear()
            await self._room_signal.wait()

    def nudge(self) -> None:
        """An answer is awaited from here on: whoever waits for room should look again."""
        self._room_signal.set()

    def welcome(self, frame: frames.Welcome) -> None:
        if self.heard.welcome(msgspec.structs.asdict(frame)):
            self._rung.forget()
            self._replayed_to = frame.cursor
        else:
            self._replayed_to = frame.head
        self._had_before = set(self.heard.had)
        self.head = frame.head
        self._put(_Entry(welcome=frame))

    def reset(self, frame: frames.Reset) -> None:
        self.heard.reset(frame.epoch, frame.cursor, frame.counts)
        self._rung.forget()
        self._had_before.clear()
        self._replayed_to = frame.cursor
        self.head = frame.head
        self._put(_Entry(Reset(cause="reset", epoch=frame.epoch, cursor=frame.cursor, counts=frame.counts)))

    def note_head(self, head: int) -> None:
        self.head = max(self.head, head)

    def events(self, batch: EventsFrame) -> None:
        for frame in batch.items:
            self.event(frame)
        self.heard.advance(batch.cursor)
        self._move(batch.cursor)

    def event(self, frame: EventFrame) -> None:
        """Queue an event that is new; of one that was had, keep only what it says of the cursor."""
        if frame.seq is None:
            self._put(_Entry(_event_of(frame, is_replayed=False)))
            return
        self.note_head(frame.seq)
        if self.heard.offer(frame.seq, frame.cursor, counts=frame.counts, merged=frame.merged):
            self.news += 1
            if frame.ring:
                self._rung.add(frame.seq)
            self._put(_Entry(_event_of(frame, is_replayed=frame.seq <= self._replayed_to), frame.cursor))
            return
        if self._rings_again(frame, frame.seq):
            self._rung.add(frame.seq)
            known = frame.data.get("id") if isinstance(frame.data, dict) else None
            self._put(_Entry(RingAgain(seq=frame.seq, id=known, priority=frame.priority), frame.cursor))
        elif frame.cursor is not None:
            self._move(frame.cursor)

    def _rings_again(self, frame: EventFrame, seq: int) -> bool:
        """A number that was had never rings, but for one case: another device was asked, and nobody answered.

        That is told from the replay of what had overtaken, which brings such a number only the first time
        on a connection; and the device that rang is not asked twice.
        """
        if seq in self._had_before:
            self._had_before.discard(seq)
            return False
        return frame.ring and frame.kind == CREATED and frame.priority == "critical" and seq not in self._rung

    def _move(self, cursor: int) -> None:
        """Everything up to `cursor` has come. The app's place follows once it has taken what waits."""
        if self._queue:
            last = self._queue[-1]
            last.cursor = cursor if last.cursor is None else max(last.cursor, cursor)
        else:
            self.place.advance(cursor)
            self._on_taken(True)

    def _put(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._filled_signal.set()

    # -- to the app ----------------------------------------------------------------------------------------------------

    async def take(self) -> Item:
        """The next item; the place has moved past it when this returns.

        Cancelling it takes nothing. Raises `StopAsyncIteration` at the end, or what ended it.
        """
        while True:
            while not self._queue:
                if self._fault is not None:
                    raise self._fault
                if self._is_over:
                    raise StopAsyncIteration
                self._filled_signal.clear()
                await self._filled_signal.wait()
            entry = self._queue.popleft()
            self._room_signal.set()
            item = self._settle(entry)
            self._on_taken(not self._queue)
            if item is not None:
                return item

    def _settle(self, entry: _Entry) -> Item | None:
        item, place = entry.item, self.place
        if (welcome := entry.welcome) is not None and place.welcome(msgspec.structs.asdict(welcome)):
            cause = "fresh" if welcome.resume == "fresh" else "reset"
            item = Reset(cause=cause, epoch=welcome.epoch, cursor=welcome.cursor, counts=welcome.counts)
        elif isinstance(item, Reset):
            place.reset(item.epoch, item.cursor, item.counts)
        elif isinstance(item, Event) and item.seq is not None:
            place.offer(item.seq, entry.cursor, counts=item.counts, merged=item.merged)
        if entry.cursor is not None:
            place.advance(entry.cursor)
        return item

    def end(self, fault: BaseException | None = None) -> None:
        """Nothing more comes: what waits is still handed out, then `fault` is raised, or the iteration ends."""
        self._is_over = True
        self._fault = fault
        self._filled_signal.set()
        self._room_signal.set()

    def discard(self) -> None:
        """The app wants nothing more; its place stays before what it has not taken."""
        self._queue.clear()


def _event_of(frame: EventFrame, *, is_replayed: bool) -> Event:
    return Event(
        seq=frame.seq,
        kind=frame.kind,
        priority=frame.priority,
        at=frame.at,
        data=frame.data,
        counts=frame.counts,
        ring=frame.ring,
        released=isinstance(frame.data, dict) and frame.data.get("released") is True,
        replayed=is_replayed,
        merged=frame.merged,
    )
