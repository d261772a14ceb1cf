"""The hub made wrong on purpose: each of these must be caught, or the simulator proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hub.client.place import Place
from hub.core.counts import Counts
from hub.core.event import Event, lane_of
from hub.core.session import Session, State
from tests.sim.world import LIMITS, Broken, Rules, World


class _MaxPlace(Place):
    __slots__ = ()

    def advance(self, cursor: int) -> None:
        super().advance(max(cursor, *self.had) if self.had else cursor)


class CursorIsTheHighestSeq(Rules):
    """The client stores `max(seq)`."""

    def place(self) -> Place:
        return _MaxPlace()


class _DroppingSession(Session):
    __slots__ = ()

    def _admit_following(self, events: list[Event], now: float) -> None:
        for event in events:
            if event.seq == self.admitted_seq + 1:
                window = self._window()
                if window.bytes_waiting < LIMITS.window_max:
                    window.admit(event, now)
                self.admitted_seq = event.seq
        self.head = max(self.head, self.admitted_seq)


class DropsOnOverflow(Rules):
    """A full window lets an event go."""

    def session(self) -> Session:
        return _DroppingSession(LIMITS)


class _PassingSession(Session):
    __slots__ = ()

    def pass_by(self, epoch: str, event: Event) -> bool:
        if self.state is not State.LIVE or epoch != self.epoch or event.seq != self.admitted_seq + 1:
            return False
        self.admitted_seq = self.head = event.seq
        return True


class PassesWhatWaits(Rules):
    """A hint goes by a window in which others wait."""

    def session(self) -> Session:
        return _PassingSession(LIMITS)


class ReadsBeforeAttaching(Rules):
    """The head is read before hints are heard."""

    attach_first = False


class PublishesBeforeCommit(Rules):
    """The hint goes out while the transaction may still fail."""

    publish_after_commit = False


class ReadAllOvertakes(Rules):
    """`notifications.read_all` waits in a lane as if it were a notification."""

    def lane(self, kind: str, priority: str) -> int:
        if kind == "notifications.read_all":
            return 0
        return lane_of(kind, priority)  # type: ignore[arg-type]


class _LastCountsPlace(Place):
    __slots__ = ()

    def count(self, seq: int, counts: Counts | None) -> None:
        self.counts_seq = -1
        super().count(seq, counts)


class CountsOfTheLastFrame(Rules):
    """The client shows the counts that came last, not those of the highest number."""

    def place(self) -> Place:
        return _LastCountsPlace()


MUTATIONS: Final[dict[str, type[Rules]]] = {
    rules.__name__: rules
    for rules in (
        CursorIsTheHighestSeq,
        DropsOnOverflow,
        PassesWhatWaits,
        ReadsBeforeAttaching,
        PublishesBeforeCommit,
        ReadAllOvertakes,
        CountsOfTheLastFrame,
    )
}


def caught_by(name: str, seeds: Iterable[int]) -> tuple[int, str]:
    """After how many histories the mutation was caught, and in which words.

    Raises:
        AssertionError: none of them caught it.
    """
    for count, seed in enumerate(seeds, 1):
        try:
            World(seed, MUTATIONS[name]()).run()
        except Broken as exc:
            return count, str(exc)
    raise AssertionError(f"{name} was not caught")
