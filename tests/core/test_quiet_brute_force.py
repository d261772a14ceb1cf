"""A portion of `tests.core.quiet_brute_force`, and proof that its oracle sees the usual mistakes."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from hub.core import quiet_hours, wall_clock
from hub.core.preferences import Preferences
from hub.core.quiet_hours import Batch, Quiet, next_batch_at, quiet_hours_at
from tests.core.quiet_brute_force import (
    Answer,
    Clock,
    Figures,
    compare_batches,
    compare_random,
    compare_transitions,
    random_instants,
)

SEED = 20261122
FREQUENCIES: tuple[Batch, ...] = ("hourly", "daily", "weekly")

PECULIAR = {
    "Africa/Casablanca": 2026,  # the clocks change for a month of fasting
    "America/Caracas": 2016,  # half an hour, for good
    "America/Havana": 2026,  # at midnight
    "America/Nuuk": 2023,  # summer time that stays as the new standard
    "America/St_Johns": 2010,  # a minute past midnight, half-hour zone
    "Antarctica/Troll": 2026,  # two hours
    "Asia/Beirut": 2026,  # at midnight
    "Asia/Gaza": 2026,  # by hand, each year
    "Asia/Pyongyang": 2015,  # half an hour back
    "Australia/Lord_Howe": 2026,  # half an hour of summer time
    "Europe/Berlin": 2026,
    "Pacific/Apia": 2011,  # a day is skipped
    "Pacific/Chatham": 2026,  # +12:45
    "Pacific/Kwajalein": 1993,  # a day is skipped
}


@cache
def clock_of(name: str, year: int) -> Clock:
    return Clock(name, datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("name", "year"), PECULIAR.items())
def test_no_difference_around_the_changes_of_peculiar_clocks(name: str, year: int) -> None:
    figures = Figures()
    clock = clock_of(name, year)
    compare_transitions(clock, random.Random(f"{SEED} {name}"), quiet_hours_at, figures, step=29, windows_max=14)
    compare_random(clock, random.Random(f"{SEED} {name}"), 1000, quiet_hours_at, figures)
    assert figures.transitions >= 1
    assert figures.quiet > 100, "the cases have lost their point"
    assert not figures.differences, figures.examples


def test_no_difference_for_random_zones_windows_and_instants() -> None:
    figures, batches = Figures(), Figures()
    rng = random.Random(SEED)
    for name in rng.sample(sorted(wall_clock.zone_names()), 12):
        clock = clock_of(name, 2026)
        compare_random(clock, rng, 1000, quiet_hours_at, figures)
        for frequency in FREQUENCIES:
            compare_batches(clock, frequency, random_instants(clock, rng, 200), next_batch_at, batches)
    assert figures.quiet > 3_000
    assert figures.endless > 100
    assert not figures.differences, figures.examples
    assert not batches.differences, batches.examples


@pytest.mark.parametrize(("name", "year"), PECULIAR.items())
def test_no_difference_for_batches_around_the_changes(name: str, year: int) -> None:
    figures = Figures()
    clock = clock_of(name, year)
    for frequency in FREQUENCIES:
        for transition in clock.transitions:
            around = [(minute, minute % 2) for minute in range(transition - 200, transition + 200)]
            compare_batches(clock, frequency, around, next_batch_at, figures)
        compare_batches(clock, frequency, random_instants(clock, random.Random(SEED), 200), next_batch_at, figures)
    assert not figures.differences, figures.examples


# -- what the oracle must see ------------------------------------------------------------------------------------------


def _adds_wall_clock_time(preferences: Preferences, at: datetime) -> Quiet | None:
    # The end is now plus what the wall clock still has to go.
    found = quiet_hours_at(preferences, at)
    if found is None or found.until is None:
        return found
    start, end = preferences.quiet_hours_start, preferences.quiet_hours_end
    assert start is not None
    assert end is not None
    spans = quiet_hours.quiet_spans(start, end, preferences.quiet_hours_days)
    return Quiet(at + quiet_hours._left(spans, at.astimezone(ZoneInfo(preferences.timezone))))


def _converts_the_end_of_the_wall_clock(preferences: Preferences, at: datetime) -> Quiet | None:
    # The end is the wall-clock time of the end, made an instant with fold=0.
    found = quiet_hours_at(preferences, at)
    if found is None or found.until is None:
        return found
    start, end = preferences.quiet_hours_start, preferences.quiet_hours_end
    assert start is not None
    assert end is not None
    spans = quiet_hours.quiet_spans(start, end, preferences.quiet_hours_days)
    wall = at.astimezone(ZoneInfo(preferences.timezone))
    return Quiet((wall + quiet_hours._left(spans, wall)).replace(fold=0).astimezone(UTC))


def _takes_the_day_of_now(preferences: Preferences, at: datetime) -> Quiet | None:
    # The day is that of the wall clock now, not that on which the interval starts.
    everyday = Preferences(
        quiet_hours_enabled=True,
        quiet_hours_start=preferences.quiet_hours_start,
        quiet_hours_end=preferences.quiet_hours_end,
        timezone=preferences.timezone,
    )
    days = preferences.quiet_hours_days
    if days is not None and at.astimezone(ZoneInfo(preferences.timezone)).weekday() not in days:
        return None
    return quiet_hours_at(everyday, at)


def _ends_a_microsecond_late(preferences: Preferences, at: datetime) -> Quiet | None:
    found = quiet_hours_at(preferences, at)
    if found is None or found.until is None:
        return found
    return Quiet(found.until + timedelta(microseconds=1))


def _forgets_seconds(preferences: Preferences, at: datetime) -> Quiet | None:
    found = quiet_hours_at(preferences, at)
    if found is None or found.until is None:
        return found
    return Quiet(found.until + (at - at.replace(second=0, microsecond=0)))


def _is_never_without_end(preferences: Preferences, at: datetime) -> Quiet | None:
    found = quiet_hours_at(preferences, at)
    return Quiet(at + timedelta(days=7)) if found is not None and found.until is None else found


@pytest.mark.parametrize(
    "mutant",
    [
        _adds_wall_clock_time,
        _converts_the_end_of_the_wall_clock,
        _takes_the_day_of_now,
        _ends_a_microsecond_late,
        _forgets_seconds,
        _is_never_without_end,
    ],
)
def test_the_oracle_sees_a_wrong_answer(mutant: Answer) -> None:
    figures = Figures()
    rng = random.Random(SEED)
    compare_transitions(clock_of("Europe/Berlin", 2026), rng, mutant, figures, step=97)
    assert figures.differences > 20


def _mutate_next_change(change: Callable[[datetime], datetime]) -> Callable[..., datetime | None]:
    def next_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
        found = wall_clock.next_change(zone, after, until)
        return None if found is None else change(found)

    return next_change


def _spans_that_do_not_join(start: str, end: str, days: tuple[int, ...] | None) -> quiet_hours.Spans:
    # Each interval for itself: the end of one is taken for the end, though the next one begins there.
    first, last = quiet_hours._minutes(start), quiet_hours._minutes(end)
    length = (last - first) % 1440 or 1440
    begins = [day * 1440 + first for day in (range(7) if days is None else days)]
    whole = [(begin, begin + length) for begin in begins]
    return (*whole, *((begin - 10080, end - 10080) for begin, end in whole))


@pytest.mark.parametrize(
    ("name", "mutation"),
    [
        ("next_change", lambda zone, after, until: None),
        ("next_change", _mutate_next_change(lambda at: at + timedelta(seconds=1))),
        ("quiet_spans", _spans_that_do_not_join),
    ],
)
def test_the_oracle_sees_a_mutation_of_the_code(
    name: str, mutation: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_hours, name, mutation)
    figures = Figures()
    compare_transitions(clock_of("Europe/Berlin", 2026), random.Random(SEED), quiet_hours_at, figures, step=97)
    assert figures.differences > 5


def test_the_oracle_sees_batches_that_ignore_a_change_of_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet_hours, "next_change", lambda zone, after, until: None)
    figures = Figures()
    clock = clock_of("Europe/Berlin", 2026)
    around = [(clock.transitions[0] - minute, 0) for minute in range(600)]
    compare_batches(clock, "daily", around, next_batch_at, figures)
    assert figures.differences > 100
