"""Quiet hours and batches, one row a sentence. The rest is `tests.core.quiet_brute_force`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.preferences import Preferences
from hub.core.quiet_hours import Batch, Quiet, next_batch_at, quiet_hours_at, quiet_spans
from hub.core.wall_clock import zone_names, zone_of

TICK = timedelta(microseconds=1)

LOUD = "it is not quiet"
ENDLESS = "it is quiet without end"


def hours(window: str, days: tuple[int, ...] | None = None, zone: str = "UTC") -> Preferences:
    start, _, end = window.partition("-")
    return Preferences(
        quiet_hours_enabled=True, quiet_hours_start=start, quiet_hours_end=end, quiet_hours_days=days, timezone=zone
    )


def answer(preferences: Preferences, at: str) -> str:
    quiet = quiet_hours_at(preferences, datetime.fromisoformat(at))
    if quiet is None:
        return LOUD
    return ENDLESS if quiet.until is None else quiet.until.isoformat().replace("+00:00", "Z")


# 2026-06-01 is a Monday.
WEEKS = [
    ("the start is within", "22:00-07:00", None, "2026-06-01T22:00:00Z", "2026-06-02T07:00:00Z"),
    ("just before it is not", "22:00-07:00", None, "2026-06-01T21:59:59.999999Z", LOUD),
    ("the end is outside", "22:00-07:00", None, "2026-06-02T07:00:00Z", LOUD),
    ("just before it is within", "22:00-07:00", None, "2026-06-02T06:59:59.999999Z", "2026-06-02T07:00:00Z"),
    ("after midnight it is yesterday's", "22:00-07:00", None, "2026-06-02T01:30:00.5Z", "2026-06-02T07:00:00Z"),
    ("within one day", "12:00-13:00", None, "2026-06-01T12:30:00Z", "2026-06-01T13:00:00Z"),
    ("the instant may come with any offset", "12:00-13:00", None, "2026-06-01T14:30:00+02:00", "2026-06-01T13:00:00Z"),
    ("up to midnight", "20:00-00:00", None, "2026-06-01T23:00:00Z", "2026-06-02T00:00:00Z"),
    ("midnight is outside then", "20:00-00:00", None, "2026-06-02T00:00:00Z", LOUD),
    ("from midnight", "00:00-06:00", None, "2026-06-02T00:00:00Z", "2026-06-02T06:00:00Z"),
    ("Monday 01:00 belongs to Sunday's interval", "22:00-07:00", (6,), "2026-06-01T01:00:00Z", "2026-06-01T07:00:00Z"),
    ("but not where only Monday's is wanted", "22:00-07:00", (0,), "2026-06-01T01:00:00Z", LOUD),
    ("Monday's goes on on Tuesday", "22:00-07:00", (0,), "2026-06-02T01:00:00Z", "2026-06-02T07:00:00Z"),
    ("Monday's evening is not Sunday's", "22:00-07:00", (6,), "2026-06-01T22:00:00Z", LOUD),
    ("a day within one day", "09:00-17:00", (0,), "2026-06-01T10:00:00Z", "2026-06-01T17:00:00Z"),
    ("the other days are not", "09:00-17:00", (0,), "2026-06-02T10:00:00Z", LOUD),
    ("equal times are the whole day", "00:00-00:00", (0,), "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"),
    ("of that day only", "00:00-00:00", (0,), "2026-06-02T00:00:00Z", LOUD),
    ("from its hour to the same of the next", "09:00-09:00", (0,), "2026-06-02T08:59:00Z", "2026-06-02T09:00:00Z"),
    ("and not before", "09:00-09:00", (0,), "2026-06-01T08:59:00Z", LOUD),
    ("whole days that touch are one", "09:00-09:00", (0, 1), "2026-06-01T10:00:00Z", "2026-06-03T09:00:00Z"),
    ("over the end of the week too", "09:00-09:00", (5, 6, 0), "2026-05-30T09:00:00Z", "2026-06-02T09:00:00Z"),
    ("also from its middle", "09:00-09:00", (0, 6), "2026-06-01T03:00:00Z", "2026-06-02T09:00:00Z"),
    ("midnight to midnight at the week's end", "00:00-00:00", (6, 0), "2026-05-31T12:00:00Z", "2026-06-02T00:00:00Z"),
    ("the order of the days does not matter", "00:00-00:00", (0, 6), "2026-05-31T12:00:00Z", "2026-06-02T00:00:00Z"),
    ("Sunday alone ends with the week", "00:00-00:00", (6,), "2026-05-31T12:00:00Z", "2026-06-01T00:00:00Z"),
    ("every day all day has no end", "13:37-13:37", None, "2026-06-01T00:00:00Z", ENDLESS),
    ("named one by one too", "00:00-00:00", (3, 1, 2, 0, 6, 5, 4), "2026-06-01T00:00:00Z", ENDLESS),
    ("six whole days have", "00:00-00:00", (0, 1, 2, 3, 4, 5), "2026-06-01T00:00:00Z", "2026-06-07T00:00:00Z"),
    ("all but a minute each day", "00:01-00:00", None, "2026-06-01T00:01:00Z", "2026-06-02T00:00:00Z"),
]


@pytest.mark.parametrize(("sentence", "window", "days", "at", "expected"), WEEKS, ids=[row[0] for row in WEEKS])
def test_a_week_in_utc(sentence: str, window: str, days: tuple[int, ...] | None, at: str, expected: str) -> None:
    assert answer(hours(window, days), at) == expected


BERLIN, LORD_HOWE, HAVANA, APIA, KATHMANDU, MONROVIA, BEIRUT = (
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Monrovia",
    "Asia/Beirut",
)

CLOCKS = [
    ("winter", BERLIN, "22:00-07:00", "2026-01-10T21:00:00Z", "2026-01-11T06:00:00Z"),
    ("summer", BERLIN, "22:00-07:00", "2026-07-10T20:00:00Z", "2026-07-11T05:00:00Z"),
    ("the night of spring is an hour shorter", BERLIN, "22:00-07:00", "2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z"),
    ("an end that is skipped is at the gap", BERLIN, "22:00-02:30", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
    ("hours that are skipped do not begin", BERLIN, "02:00-03:00", "2026-03-29T00:59:59.999999Z", LOUD),
    ("nor are they at the gap", BERLIN, "02:00-03:00", "2026-03-29T01:00:00Z", LOUD),
    ("a start that is skipped is at the gap", BERLIN, "02:30-04:00", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
    ("the night of autumn is an hour longer", BERLIN, "22:00-07:00", "2026-10-24T20:00:00Z", "2026-10-25T06:00:00Z"),
    ("an end shown twice ends twice", BERLIN, "22:00-02:30", "2026-10-25T00:15:00Z", "2026-10-25T00:30:00Z"),
    ("between them it is not quiet", BERLIN, "22:00-02:30", "2026-10-25T00:45:00Z", LOUD),
    ("going back it is quiet again", BERLIN, "22:00-02:30", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"),
    ("going back before the start ends it", BERLIN, "02:30-03:00", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z"),
    ("until the start comes round", BERLIN, "02:30-03:00", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"),
    ("going back within goes on", BERLIN, "01:00-03:00", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"),
    ("half an hour is skipped", LORD_HOWE, "22:00-02:15", "2026-10-03T15:00:00Z", "2026-10-03T15:30:00Z"),
    ("half an hour twice", LORD_HOWE, "22:00-01:45", "2026-04-04T14:30:00Z", "2026-04-04T14:45:00Z"),
    ("and quiet again", LORD_HOWE, "22:00-01:45", "2026-04-04T15:00:00Z", "2026-04-04T15:15:00Z"),
    ("a zone of quarters", KATHMANDU, "22:00-07:00", "2026-06-01T16:15:00Z", "2026-06-02T01:15:00Z"),
    ("just before it", KATHMANDU, "22:00-07:00", "2026-06-01T16:14:59Z", LOUD),
    ("midnight itself is skipped", HAVANA, "22:00-00:00", "2026-03-08T04:30:00Z", "2026-03-08T05:00:00Z"),
    ("a start at the midnight skipped", HAVANA, "00:00-06:00", "2026-03-08T05:00:00Z", "2026-03-08T10:00:00Z"),
    ("the hour from midnight comes twice", HAVANA, "00:00-00:30", "2026-11-01T04:15:00Z", "2026-11-01T04:30:00Z"),
    ("the second time", HAVANA, "00:00-00:30", "2026-11-01T05:15:00Z", "2026-11-01T05:30:00Z"),
    ("going back over midnight", BEIRUT, "00:00-06:00", "2026-10-24T20:59:00Z", LOUD),
    ("into the evening before", BEIRUT, "23:00-23:30", "2026-10-24T21:00:00Z", "2026-10-24T21:30:00Z"),
    ("a day is skipped within a night", APIA, "22:00-07:00", "2011-12-30T09:00:00Z", "2011-12-30T17:00:00Z"),
    ("an offset of seconds", MONROVIA, "22:00-07:00", "1971-06-01T23:00:00Z", "1971-06-02T07:44:30Z"),
    ("a gap of 44 min 30 s", MONROVIA, "23:00-00:30", "1972-01-07T00:30:00Z", "1972-01-07T00:44:30Z"),
]


@pytest.mark.parametrize(("sentence", "zone", "window", "at", "expected"), CLOCKS, ids=[row[0] for row in CLOCKS])
def test_clocks_that_change(sentence: str, zone: str, window: str, at: str, expected: str) -> None:
    assert answer(hours(window, zone=zone), at) == expected


def test_a_day_that_was_skipped_has_no_hours_and_its_night_is_still_its_own() -> None:
    # In Apia Thursday, 29 December 2011, was followed by Saturday; at 10:00 UTC.
    friday = hours("00:00-00:00", (4,), APIA)
    assert [answer(friday, f"2011-12-30T{time}Z") for time in ("09:59:59", "10:00:00")] == [LOUD, LOUD]
    thursday_night = hours("22:00-07:00", (3,), APIA)
    assert answer(thursday_night, "2011-12-30T09:00:00Z") == "2011-12-30T10:00:00Z"
    friday_night = hours("22:00-07:00", (4,), APIA)
    assert answer(friday_night, "2011-12-30T10:00:00Z") == "2011-12-30T17:00:00Z"


@pytest.mark.parametrize(
    "preferences",
    [
        Preferences(),
        Preferences(quiet_hours_start="00:00", quiet_hours_end="00:00"),
        Preferences(quiet_hours_enabled=True),
        Preferences(quiet_hours_enabled=True, quiet_hours_start="00:00"),
        Preferences(quiet_hours_enabled=True, quiet_hours_start="00:00", quiet_hours_end="00:00", quiet_hours_days=()),
    ],
)
def test_without_hours_it_is_never_quiet(preferences: Preferences) -> None:
    assert answer(preferences, "2026-06-01T00:00:00Z") == LOUD


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_ends_of_the_calendar_are_no_errors(zone: str) -> None:
    always = hours("00:00-00:00", None, zone)
    assert [answer(always, at) for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")] == [LOUD, LOUD]
    nightly = hours("22:00-07:00", None, zone)
    for at in (datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, tzinfo=UTC)):
        quiet_hours_at(nightly, at)


def test_an_instant_without_an_offset_is_refused() -> None:
    with pytest.raises(TypeError):
        quiet_hours_at(hours("22:00-07:00"), datetime(2026, 6, 1))


def test_spans_are_apart_ascending_and_say_how_far_the_week_goes_on() -> None:
    assert quiet_spans("22:00", "07:00", (6,)) == ((0, 420), (6 * 1440 + 1320, 10080 + 420))
    assert quiet_spans("00:00", "00:00", (0, 6)) == ((0, 1440), (6 * 1440, 10080 + 1440))
    assert quiet_spans("09:00", "17:00", (1,)) == ((1440 + 540, 1440 + 1020),)


# -- batches -----------------------------------------------------------------------------------------------------------

BATCHES: list[tuple[str, Batch, str, str, str]] = [
    ("on the hour", "hourly", "UTC", "2026-06-01T10:20:30Z", "2026-06-01T11:00:00Z"),
    ("on it, the next", "hourly", "UTC", "2026-06-01T10:00:00Z", "2026-06-01T11:00:00Z"),
    ("just before it", "hourly", "UTC", "2026-06-01T10:59:59.999999Z", "2026-06-01T11:00:00Z"),
    ("of the wall clock", "hourly", KATHMANDU, "2026-06-01T10:20:00Z", "2026-06-01T11:15:00Z"),
    ("at 09:00 of today", "daily", BERLIN, "2026-06-01T06:00:00Z", "2026-06-01T07:00:00Z"),
    ("or tomorrow", "daily", BERLIN, "2026-06-01T07:00:00Z", "2026-06-02T07:00:00Z"),
    ("over spring", "daily", BERLIN, "2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"),
    ("over autumn", "daily", BERLIN, "2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"),
    ("on Monday, today", "weekly", BERLIN, "2026-06-01T06:59:00Z", "2026-06-01T07:00:00Z"),
    ("on Monday, the next", "weekly", BERLIN, "2026-06-01T07:00:00Z", "2026-06-08T07:00:00Z"),
    ("from Sunday", "weekly", BERLIN, "2026-06-07T22:30:00+02:00", "2026-06-08T07:00:00Z"),
    ("weekly over autumn", "weekly", BERLIN, "2026-10-20T07:00:00Z", "2026-10-26T08:00:00Z"),
    ("an hour that is skipped is at the gap", "hourly", LORD_HOWE, "2026-10-03T15:00:00Z", "2026-10-03T15:30:00Z"),
    ("and the next half an hour later", "hourly", LORD_HOWE, "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"),
    ("a skip may land on the hour", "hourly", "Asia/Pyongyang", "2018-05-04T14:40:00Z", "2018-05-04T15:00:00Z"),
    ("half an hour back is not on the hour", "hourly", LORD_HOWE, "2026-04-04T14:10:00Z", "2026-04-04T15:30:00Z"),
    ("an hour back is on the hour again", "hourly", BERLIN, "2026-10-25T00:10:00Z", "2026-10-25T01:00:00Z"),
    ("a day that is skipped has its batch at the skip", "daily", APIA, "2011-12-29T20:00:00Z", "2011-12-30T10:00:00Z"),
    ("then the next day's", "daily", APIA, "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"),
]


@pytest.mark.parametrize(("sentence", "frequency", "zone", "at", "expected"), BATCHES, ids=[row[0] for row in BATCHES])
def test_the_next_batch(sentence: str, frequency: Batch, zone: str, at: str, expected: str) -> None:
    assert next_batch_at(frequency, ZoneInfo(zone), datetime.fromisoformat(at)) == datetime.fromisoformat(expected)


def test_no_batch_beyond_the_calendar() -> None:
    with pytest.raises(OverflowError):
        next_batch_at("weekly", ZoneInfo("UTC"), datetime(9999, 12, 31, tzinfo=UTC))


# -- properties --------------------------------------------------------------------------------------------------------

zones = st.sampled_from(sorted(zone_names()))
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
instants = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
windows = st.tuples(clocks, clocks) | clocks.map(lambda clock: (clock, clock))
some_days = st.none() | st.sets(st.integers(0, 6), min_size=1).map(tuple)
quiet_preferences = st.builds(
    lambda window, days, zone: hours(f"{window[0]}-{window[1]}", days, zone), windows, some_days, zones
)


@settings(max_examples=400)
@given(quiet_preferences, instants)
def test_the_end_is_the_first_instant_that_is_not_quiet(preferences: Preferences, at: datetime) -> None:
    quiet = quiet_hours_at(preferences, at)
    if quiet is None:
        return
    if quiet.until is None:
        assert preferences.quiet_hours_start == preferences.quiet_hours_end
        return
    assert quiet.until > at
    assert quiet.until.utcoffset() == timedelta()
    assert quiet_hours_at(preferences, quiet.until) is None
    assert quiet_hours_at(preferences, quiet.until - TICK) == quiet
    for part in range(1, 24):
        assert quiet_hours_at(preferences, at + (quiet.until - at) * part / 24) == quiet


@settings(max_examples=200)
@given(quiet_preferences, instants)
def test_it_is_quiet_where_the_wall_clock_says_so(preferences: Preferences, at: datetime) -> None:
    wall = at.astimezone(zone_of(preferences.timezone))
    start, end = preferences.quiet_hours_start or "", preferences.quiet_hours_end or ""
    days = range(7) if preferences.quiet_hours_days is None else preferences.quiet_hours_days
    now, today = f"{wall:%H:%M}", wall.weekday()
    if start < end:
        is_quiet = today in days and start <= now < end
    else:
        is_quiet = (today in days and now >= start) or ((today - 1) % 7 in days and now < end)
    assert (quiet_hours_at(preferences, at) is not None) == is_quiet


@settings(max_examples=200)
@given(st.sampled_from(["hourly", "daily", "weekly"]), zones, instants)
def test_batches_ascend_and_none_is_left_out(frequency: Batch, zone: str, at: datetime) -> None:
    clock = ZoneInfo(zone)
    batch_at = next_batch_at(frequency, clock, at)
    assert batch_at > at
    assert next_batch_at(frequency, clock, batch_at - TICK) == batch_at
    assert next_batch_at(frequency, clock, at + (batch_at - at) / 2) == batch_at
    assert next_batch_at(frequency, clock, batch_at) > batch_at


def test_the_answer_is_a_value() -> None:
    assert quiet_hours_at(hours("22:00-07:00"), datetime(2026, 6, 1, 23, tzinfo=UTC)) == Quiet(
        datetime(2026, 6, 2, 7, tzinfo=UTC)
    )
