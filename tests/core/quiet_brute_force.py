"""Quiet hours and batches against a brute-force clock that shares no code with them.

The oracle is a table of a zone's offset at every minute, from which follow the
wall clock at every minute, membership by the words of the contract, and each end
by looking at one minute after the other. `python -m tests.core.quiet_brute_force`
compares every transition of every zone in two years, 26 h to each side by the
minute, then millions of random (zone, window, instant), and prints its figures.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from hub.core.preferences import Preferences
from hub.core.quiet_hours import Batch, Quiet, next_batch_at, quiet_hours_at
from hub.core.wall_clock import zone_names

MINUTE: Final = timedelta(minutes=1)
DAY: Final = 1440
WEEK: Final = 7 * DAY
MARGIN: Final = 16 * DAY
"""Minutes of table around the span that is asked about: longer than any end is away, on either side."""
AROUND: Final = 26 * 60
EPOCH: Final = datetime(1969, 12, 29, tzinfo=UTC)
"""A Monday, so that minutes since then, modulo a week, are minutes of the week."""

Answer = Callable[[Preferences, datetime], Quiet | None]
BatchAnswer = Callable[[Batch, ZoneInfo, datetime], datetime]


class Clock:
    """One zone's wall clock at every minute from `begin` on; `span` are the minutes that may be asked about."""

    def __init__(self, name: str, begin: datetime, end: datetime) -> None:
        self.name = name
        self.zone = ZoneInfo(name)
        self.begin = begin - MARGIN * MINUTE
        count = int((end - begin) / MINUTE) + 2 * MARGIN
        self.span = (MARGIN, count - MARGIN)
        offsets = self._offsets(count)
        first = int((self.begin - EPOCH) / MINUTE)
        self.wall: npt.NDArray[np.int64] = np.arange(first, first + count, dtype=np.int64) + offsets
        self.minute_of_week: npt.NDArray[np.int64] = self.wall % WEEK
        jumps = np.flatnonzero(np.diff(offsets)) + 1
        self.transitions = [int(at) for at in jumps if self.span[0] <= at < self.span[1]]

    def at(self, minute: int) -> datetime:
        return self.begin + minute * MINUTE

    def _offset_s(self, at: datetime) -> int:
        offset = at.astimezone(self.zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    def _offsets(self, count: int) -> npt.NDArray[np.int64]:
        # Asked each quarter of an hour, and each minute of the quarters in which the answer changes.
        offsets = np.empty(count, dtype=np.int64)
        places = [*range(0, count, 15), count - 1]
        asked = [self._offset_s(self.at(place)) for place in places]
        for (one, other), (before, after) in zip(pairwise(places), pairwise(asked), strict=True):
            offsets[one:other] = before
            if before != after:
                offsets[one:other] = [self._offset_s(self.at(place)) for place in range(one, other)]
        offsets[-1] = asked[-1]
        for jump in np.flatnonzero(np.diff(offsets)).tolist():
            assert self._offset_s(self.at(jump + 1) - timedelta(seconds=1)) == offsets[jump], "not at a whole minute"
        assert not (offsets % 60).any(), "the table is by the minute"
        return offsets // 60


@dataclass(frozen=True)
class Window:
    """Quiet hours in minutes of the day; `days` None = every day."""

    start: int
    end: int
    days: tuple[int, ...] | None

    def preferences(self, zone: str) -> Preferences:
        return Preferences(
            quiet_hours_enabled=True,
            quiet_hours_start=f"{self.start // 60:02}:{self.start % 60:02}",
            quiet_hours_end=f"{self.end // 60:02}:{self.end % 60:02}",
            quiet_hours_days=self.days,
            timezone=zone,
        )

    def week(self) -> npt.NDArray[np.bool_]:
        """For each minute of the week whether it is quiet, by definition."""
        day, time_of_day = _DAY_OF_MINUTE, _TIME_OF_MINUTE
        is_day = np.array([self.days is None or one in self.days for one in range(7)])
        if self.start < self.end:
            return is_day[day] & (time_of_day >= self.start) & (time_of_day < self.end)
        began_today = is_day[day] & (time_of_day >= self.start)
        began_yesterday = is_day[(day + 6) % 7] & (time_of_day < self.end)
        return began_today | began_yesterday


_DAY_OF_MINUTE: Final = np.arange(WEEK) // DAY
_TIME_OF_MINUTE: Final = np.arange(WEEK) % DAY


@dataclass
class Figures:
    """What was compared, and what differed (the first few, in words)."""

    compared: int = 0
    quiet: int = 0
    endless: int = 0
    transitions: int = 0
    differences: int = 0
    examples: list[str] = field(default_factory=list[str])

    def note(self, clock: Clock, what: object, at: datetime, expected: object, answered: object) -> None:
        self.differences += 1
        if len(self.examples) < 5:
            self.examples.append(f"{clock.name} {what} at {at}: expected {expected}, answered {answered}")


def compare(
    clock: Clock, window: Window, instants: Iterable[tuple[int, int]], answer: Answer, figures: Figures
) -> None:
    """Ask at each (minute of the clock's table, microseconds after it), and let the oracle look."""
    preferences, week = window.preferences(clock.name), window.week()
    is_endless = bool(week.all())
    minutes = clock.minute_of_week
    seen_from, seen_to = 0, 0
    for minute, microseconds in instants:
        at = clock.at(minute) + timedelta(microseconds=microseconds)
        expected: Quiet | None = None
        if week[minutes[minute]]:
            figures.quiet += 1
            if is_endless:
                figures.endless += 1
                expected = Quiet(None)
            else:
                if not seen_from <= minute < seen_to:
                    seen_from, seen_to = minute, _first_outside(week, minutes, minute)
                expected = Quiet(clock.at(seen_to))
        answered = answer(preferences, at)
        figures.compared += 1
        if answered != expected:
            figures.note(clock, window, at, expected, answered)


def _first_outside(week: npt.NDArray[np.bool_], minutes: npt.NDArray[np.int64], minute: int) -> int:
    at, step = minute + 1, 720
    while True:
        ahead = week[minutes[at : at + step]]
        first = int(ahead.argmin())
        if not ahead[first]:
            return at + first
        at += step


def compare_batches(
    clock: Clock, frequency: Batch, instants: Iterable[tuple[int, int]], answer: BatchAnswer, figures: Figures
) -> None:
    """The same for batches: the wall clock stands at such a time, or has just skipped one."""
    period, phase = {"hourly": (60, 0), "daily": (DAY, 540), "weekly": (WEEK, 540)}[frequency]
    since, count = (clock.wall - phase) % period, (clock.wall - phase) // period
    jumped = np.diff(clock.wall, prepend=clock.wall[0] - 1) > 1
    times = np.flatnonzero((since == 0) | (jumped & (np.diff(count, prepend=count[0]) > 0)))
    for minute, microseconds in instants:
        at = clock.at(minute) + timedelta(microseconds=microseconds)
        expected = clock.at(int(times[np.searchsorted(times, minute, side="right")]))
        answered = answer(frequency, clock.zone, at)
        figures.compared += 1
        if answered != expected:
            figures.note(clock, frequency, at, expected, answered)


# -- what is asked -----------------------------------------------------------------------------------------------------


def windows_around(clock: Clock, transition: int, rng: random.Random) -> Iterator[Window]:
    """Windows that the change of the clocks falls into, at their edges and within, and usual ones."""
    before = int(clock.wall[transition - 1] + 1)
    after = int(clock.wall[transition])
    day = after // DAY % 7
    middle = (before + after) // 2
    edges = (before, after, middle, before - 1, after + 1, before + 30, after - 30)
    all_days: list[tuple[int, ...] | None] = [None, (day,), ((day + 6) % 7,), ((day + 1) % 7,), (day, (day + 6) % 7)]
    yield Window(22 * 60, 7 * 60, None)
    yield Window(9 * 60, 17 * 60, (0, 1, 2, 3, 4))
    yield Window(0, 0, (5, 6))
    yield Window(middle % DAY, middle % DAY, (day,))
    yield Window(before % DAY, after % DAY, None)
    yield Window(after % DAY, before % DAY, None)
    for _ in range(6):
        yield Window(rng.choice(edges) % DAY, rng.choice(edges) % DAY, rng.choice(all_days))
    for _ in range(2):
        near = (before + rng.randrange(-180, 180)) % DAY
        yield Window(near, (near + rng.randrange(-600, 600)) % DAY, rng.choice(all_days))


def compare_transitions(
    clock: Clock, rng: random.Random, answer: Answer, figures: Figures, *, step: int = 1, windows_max: int = 100
) -> None:
    """Every transition of the clock, 26 h to each side, each `step` minutes and each minute of the nearest hours."""
    for transition in clock.transitions:
        figures.transitions += 1
        asked = [
            minute
            for minute in range(transition - AROUND, transition + AROUND + 1)
            if minute % step == 0 or abs(minute - transition) <= 60
        ]
        instants = [(minute, rng.choice((0, 0, 1, 59_999_999))) for minute in asked]
        for window, _ in zip(windows_around(clock, transition, rng), range(windows_max), strict=False):
            compare(clock, window, instants, answer, figures)


def random_window(rng: random.Random) -> Window:
    start = rng.choice((rng.randrange(DAY), rng.randrange(48) * 30))
    end = start if rng.random() < 0.15 else rng.choice((rng.randrange(DAY), rng.randrange(48) * 30))
    days = None if rng.random() < 0.3 else tuple(rng.sample(range(7), rng.randint(1, 7)))
    return Window(start, end, days)


def random_instants(clock: Clock, rng: random.Random, count: int) -> Iterator[tuple[int, int]]:
    """Half of them anywhere, half within two days of a change of the clocks, where the zone has one."""
    for _ in range(count):
        if clock.transitions and rng.random() < 0.5:
            minute = rng.choice(clock.transitions) + rng.randrange(-2 * DAY, 2 * DAY)
        else:
            minute = rng.randrange(*clock.span)
        yield minute, rng.choice((0, rng.randrange(60_000_000)))


def compare_random(clock: Clock, rng: random.Random, count: int, answer: Answer, figures: Figures) -> None:
    """`count` random (window, instant), four instants to a window."""
    while count > 0:
        size = min(4, count)
        compare(clock, random_window(rng), random_instants(clock, rng, size), answer, figures)
        count -= size


# -- the command -------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Compare all, print the figures; 1 where anything differs."""
    parser = argparse.ArgumentParser(prog="quiet_brute_force", description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=10_000_000, help="how many random (zone, window, instant)")
    parser.add_argument("--batches", type=int, default=1_000_000, help="how many random (zone, frequency, instant)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--year", type=int, default=2026, help="the first of the years")
    parser.add_argument("--years", type=int, default=2)
    parser.add_argument("--zone", action="append", help="only these; all by default")
    options = parser.parse_args(arguments)

    begin, end = datetime(options.year, 1, 1, tzinfo=UTC), datetime(options.year + options.years, 1, 1, tzinfo=UTC)
    names = sorted(options.zone or zone_names())
    by_minute, by_chance, batches = Figures(), Figures(), Figures()
    began = time.perf_counter()
    for index, name in enumerate(names):
        rng = random.Random(f"{options.seed} {name}")
        clock = Clock(name, begin, end)
        compare_transitions(clock, rng, quiet_hours_at, by_minute)
        compare_random(clock, rng, _share(options.random, index, len(names)), quiet_hours_at, by_chance)
        for third, frequency in enumerate[Batch](("hourly", "daily", "weekly")):
            share = _share(_share(options.batches, index, len(names)), third, 3)
            compare_batches(clock, frequency, random_instants(clock, rng, share), next_batch_at, batches)
    print(f"{len(names)} zones, {begin:%Y-%m-%d} to {end:%Y-%m-%d}, seed {options.seed}")
    for title, figures in (("transitions", by_minute), ("random", by_chance), ("batches", batches)):
        print(
            f"{title:12} {figures.compared:>11,} compared ({figures.quiet:,} quiet, {figures.endless:,} without end, "
            f"{figures.transitions:,} transitions): {figures.differences:,} differences"
        )
        for example in figures.examples:
            print(f"  {example}")
    print(f"{time.perf_counter() - began:.0f} s")
    return int(any(figures.differences for figures in (by_minute, by_chance, batches)))


def _share(total: int, index: int, parts: int) -> int:
    return total * (index + 1) // parts - total * index // parts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
