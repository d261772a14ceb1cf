"""When a person's wall clock says: not now. And when it says: the next batch.

Pure. Quiet hours are a set of wall-clock times of the week, and an instant is
quiet where its wall clock is in that set; nothing is reckoned in durations of the
wall clock, so both changes of the clocks are right by definition: what a spring
gap skips ends at the gap, what autumn repeats is quiet again.
Does not own who is held by it (`hub.core.verdict`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from hub.core.preferences import Preferences
from hub.core.wall_clock import is_in_calendar, next_change, zone_of

Batch = Literal["hourly", "daily", "weekly"]

DAY_MIN: Final = 24 * 60
WEEK_MIN: Final = 7 * DAY_MIN

BATCH_HOUR: Final = 9
"""Daily batches go at 09:00, weekly ones on Monday at 09:00."""

Spans = tuple[tuple[int, int], ...]
"""Half-open stretches in minutes of the week, Monday 00:00 = 0, ascending and apart.

The last may reach past the week's end, by as much as the first one goes on.
"""

_ENTIRE: Final[Spans] = ((0, WEEK_MIN),)


class Quiet(msgspec.Struct, frozen=True):
    """It is quiet. `until` is the first instant at which the wall clock is outside, in UTC; None = it has no end."""

    until: datetime | None


_ENDLESS: Final = Quiet(None)


def quiet_hours_at(preferences: Preferences, at: datetime) -> Quiet | None:
    """Whether `at` is within the quiet hours, and until when; None where it is not.

    It may be quiet again soon after `until`, where the clocks go back into the interval.
    Outside the years 2 to 9998 nothing is quiet: the calendar has no room for an end there.
    """
    start, end = preferences.quiet_hours_start, preferences.quiet_hours_end
    if not preferences.quiet_hours_enabled or start is None or end is None or not is_in_calendar(at):
        return None
    spans = quiet_spans(start, end, preferences.quiet_hours_days)
    if spans == _ENTIRE:
        return _ENDLESS
    zone = zone_of(preferences.timezone)
    left = _left(spans, at.astimezone(zone))
    if not left:
        return None
    at = at.astimezone(UTC)
    while left:
        end_at = at + left
        change = next_change(zone, at, end_at)
        if change is None:
            return Quiet(end_at)
        # The clocks are changed before the interval ends: ask the new wall clock at that instant.
        at, left = change, _left(spans, change.astimezone(zone))
    return Quiet(at)


@lru_cache(maxsize=4096)
def quiet_spans(start: str, end: str, days: tuple[int, ...] | None) -> Spans:
    """The times of the week in [start, end), "HH:MM", of intervals that start on `days`; None = every day.

    Over midnight where start > end, all day where they are equal: an interval belongs to the day on
    which it starts. Intervals that touch are one.
    """
    first = _minutes(start)
    length = (_minutes(end) - first) % DAY_MIN or DAY_MIN
    merged: list[tuple[int, int]] = []
    for day in sorted(set(range(7) if days is None else days)):
        begin = day * DAY_MIN + first
        if merged and merged[-1][1] == begin:
            begin = merged.pop()[0]
        merged.append((begin, day * DAY_MIN + first + length))
    if not merged or merged[-1][1] < WEEK_MIN:
        return tuple(merged)
    # Sunday's interval runs into Monday: its rest stands at the beginning of the week too.
    begin, over = merged[-1][0], merged[-1][1] - WEEK_MIN
    if merged[0][0] == over:
        if len(merged) == 1:
            return _ENTIRE
        over = merged.pop(0)[1]
        merged[-1] = (begin, WEEK_MIN + over)
    return ((0, over), *merged) if over else tuple(merged)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _left(spans: Spans, wall: datetime) -> timedelta:
    # How far the wall clock is from the end of the span that it is in; nothing where it is in none.
    minute = wall.weekday() * DAY_MIN + wall.hour * 60 + wall.minute
    for begin, end in spans:
        if begin <= minute < end:
            return timedelta(minutes=end - minute, seconds=-wall.second, microseconds=-wall.microsecond)
    return timedelta()


def next_batch_at(frequency: Batch, zone: ZoneInfo, at: datetime) -> datetime:
    """The first instant after `at` at which the wall clock stands at a time for batches, in UTC.

    A time that the wall clock skips counts at the skip; one that it shows twice counts twice.

    Raises:
        OverflowError: `at` is outside the years 2 to 9998.
    """
    if not is_in_calendar(at):
        raise OverflowError("the calendar has no room for the next batch")
    at = at.astimezone(UTC)
    while True:
        wall = at.astimezone(zone).replace(tzinfo=None)
        time = _batch_time_after(frequency, wall)
        batch_at = at + (time - wall)
        change = next_change(zone, at, batch_at)
        if change is None:
            return batch_at
        changed = change.astimezone(zone).replace(tzinfo=None)
        is_skip = changed > wall + (change - at)
        if time <= changed if is_skip else _batch_time_after(frequency, changed - datetime.resolution) == changed:
            return change
        at = change


def _batch_time_after(frequency: Batch, wall: datetime) -> datetime:
    # The first of them that is later than `wall`, had the clocks never been changed.
    if frequency == "hourly":
        return wall.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    time = wall.replace(hour=BATCH_HOUR, minute=0, second=0, microsecond=0)
    if frequency == "weekly":
        time -= timedelta(days=wall.weekday())
    period = timedelta(days=1 if frequency == "daily" else 7)
    return time if time > wall else time + period
