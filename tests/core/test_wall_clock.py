"""Names of zones, and the changes of their clocks."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from hub.core.wall_clock import CALENDAR_BEGIN, CALENDAR_END, is_in_calendar, next_change, zone_names, zone_of


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Salta", "Asia/Calcutta", "Etc/GMT+12"])
def test_names_of_the_tz_database_are_zones(name: str) -> None:
    assert name in zone_names()
    assert zone_of(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "Mars/Olympus",
        "",
        ".",
        "..",
        "Europe",
        "Europe/",
        "../etc/passwd",
        "Europe/../Europe/Berlin",
        "/etc/localtime",
        "/usr/share/zoneinfo/Europe/Berlin",
        "localtime",
        "Factory",
        "posixrules",
        "europe/berlin",
        "EUROPE/BERLIN",
        " Europe/Berlin",
        "Europe/Berlin\n",
        "Europe/Berlin\0",
        "Europe\\Berlin",
        "\ud800",
        "tzdata.zi",
        "UTC+2",
        "x" * 100_000,
    ],
)
def test_other_names_are_none_and_count_as_utc_where_one_was_kept(name: str) -> None:
    assert name not in zone_names()
    assert zone_of(name).key == "UTC"


def test_a_change_is_found_to_the_second_and_only_within_the_stretch() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert next_change(berlin, change - second, change + second) == change
    assert next_change(berlin, change - timedelta(days=6), change) == change
    assert next_change(berlin, change, change + timedelta(days=7)) is None, "after is excluded"
    assert next_change(berlin, change - timedelta(days=7), change - second) is None
    assert next_change(ZoneInfo("UTC"), change - timedelta(days=7), change) is None


def test_a_change_at_midnight_utc_belongs_to_the_day_that_ends() -> None:
    gaza = ZoneInfo("Asia/Gaza")
    midnight = datetime(2026, 3, 28, 0, tzinfo=UTC)
    assert next_change(gaza, midnight - timedelta(minutes=1), midnight) == midnight
    assert next_change(gaza, midnight, midnight + timedelta(days=1)) is None


def test_offsets_with_seconds_change_to_the_second() -> None:
    change = datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)
    assert next_change(ZoneInfo("Africa/Monrovia"), change - timedelta(days=1), change + timedelta(days=1)) == change


def test_no_zone_has_two_changes_within_a_day() -> None:
    """`next_change` looks at days: this is what it takes from the data, for all that is written out there."""
    closest = min((after - before, name) for name in zone_names() for before, after in pairwise(written_changes(name)))
    assert closest[0] > 2 * 86_400, closest


def written_changes(name: str) -> list[int]:
    """When the offset changes, by the file of the zone itself (RFC 9636). What follows its last one is yearly."""
    data = resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()
    _, _, utc_count, standard_count, leaps, times, types, characters = _header(data)
    data = data[44 + times * 5 + types * 6 + characters + leaps * 8 + standard_count + utc_count :]
    _, _, _, _, _, times, types, _ = _header(data)
    at = struct.unpack_from(f">{times}q", data, 44)
    kinds = data[44 + times * 8 : 44 + times * 9]
    offsets = [struct.unpack_from(">l", data, 44 + times * 9 + 6 * kind)[0] for kind in range(types)]
    after = [offsets[kind] for kind in kinds]
    return [instant for instant, old, new in zip(at, [offsets[0], *after], after, strict=False) if old != new]


def _header(data: bytes) -> tuple[int, ...]:
    return struct.unpack_from(">4sc15x6l", data)


def test_the_calendar_has_room_on_both_sides() -> None:
    week = timedelta(days=8)
    for edge in (CALENDAR_BEGIN, CALENDAR_END - timedelta(microseconds=1)):
        assert is_in_calendar(edge)
        for name in ("Pacific/Kiritimati", "Etc/GMT+12"):
            assert next_change(zone_of(name), edge, edge + week) is None
    assert not is_in_calendar(CALENDAR_BEGIN - timedelta(microseconds=1))
    assert not is_in_calendar(CALENDAR_END)
