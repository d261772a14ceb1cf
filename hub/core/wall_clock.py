"""The wall clocks of the tz database.

Owns which names are zones, and when a zone's clock is changed: all that quiet
hours and batches need to be right on such a day. The data is the machine's, else
that of the package `tzdata`; `PYTHONTZPATH=` (empty) takes the package's everywhere.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

NO_PLACES: Final = frozenset({"localtime", "Factory"})
"""Names that stand for the machine's own setting, or for its lack."""

CALENDAR_BEGIN: Final = datetime(2, 1, 1, tzinfo=UTC)
CALENDAR_END: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Within these there is room for any offset, and for the end of any week, before `datetime` overflows."""

_DAY_S: Final = 86_400


@cache
def zone_names() -> frozenset[str]:
    """Every IANA name, as it is spelt. The first call reads the names from disk: make it before serving."""
    return frozenset(available_timezones()) - NO_PLACES


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of that name; UTC where this machine's database has no such zone.

    Names are checked before they are kept, so that is a node with an older database than its neighbour:
    a notification some hours off is better than one that can never be judged.
    """
    return ZoneInfo(name if name in zone_names() else "UTC")


def is_in_calendar(at: datetime) -> bool:
    """True where `at` can be reckoned with in any zone."""
    return CALENDAR_BEGIN <= at < CALENDAR_END


def instant_fault(at: datetime) -> str | None:
    """What is wrong with an instant from outside: near the ends of the calendar there is no UTC form, or none that
    PostgreSQL and Python both have."""
    return None if 1970 <= at.year <= 9998 else "Must lie in the years 1970 to 9998."


def next_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """The first instant in (after, until] from which the zone's offset from UTC is another; None where it stays.

    Both in UTC, within the calendar. Costs one cached look-up a day between them.
    """
    for day in range(after.toordinal(), until.toordinal() + 1):
        change = _change_on(zone, day)
        if change is not None and after < change <= until:
            return change
    return None


@lru_cache(maxsize=16_384)
def _change_on(zone: ZoneInfo, day: int) -> datetime | None:
    # Within (00:00, 24:00] UTC of a day. That there is at most one is a fact of the tz database
    # (the closest two in it are 167 hours apart), held by a test.
    begin = datetime.fromordinal(day).replace(tzinfo=UTC)
    before = _offset(zone, begin)
    if _offset(zone, begin + timedelta(days=1)) == before:
        return None
    same, other = 0, _DAY_S
    while other - same > 1:
        middle = (same + other) // 2
        if _offset(zone, begin + timedelta(seconds=middle)) == before:
            same = middle
        else:
            other = middle
    return begin + timedelta(seconds=other)


def _offset(zone: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()
