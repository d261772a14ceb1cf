"""Who is disturbed, and when: the table of the contract, one row a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.notification import CHANNELS, Kind
from hub.core.preferences import Preferences
from hub.core.priority import PRIORITIES
from hub.core.verdict import STEPS_MAX, TABLE, Subject, Verdict, explain, judge, simulate_go_at

NOW = datetime(2026, 6, 1, 23, tzinfo=UTC)
"""A Monday, late."""

PAST, SOON, MORNING, NOON, TOMORROW = (
    NOW - timedelta(hours=1),
    NOW + timedelta(hours=1),
    datetime(2026, 6, 2, 7, tzinfo=UTC),
    datetime(2026, 6, 2, 12, tzinfo=UTC),
    NOW + timedelta(days=1),
)
QUIET = {"quiet_hours_enabled": True, "quiet_hours_start": "22:00", "quiet_hours_end": "07:00"}
ALWAYS = {**QUIET, "quiet_hours_end": "22:00"}
OFF = {"enable_in_app_notifications": False}


def subject(**values: Any) -> Subject:
    return Subject(
        **{"channel": "in_app", "type": "call_missed", "category": "general", "priority": "normal", **values}
    )


def verdict(values: dict[str, Any], preferences: dict[str, Any], now: datetime = NOW) -> tuple[Any, ...]:
    found = judge(subject(**values), Preferences(**preferences), now)
    return (found.action, found.rule, found.until)


SEND = ("send", "default", None)

ROWS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[Any, ...]]] = [
    ("nothing applies: it is sent", {}, {}, SEND),
    ("expired is dropped", {"expires_at": PAST}, {}, ("drop", "expired", None)),
    ("at that very instant too", {"expires_at": NOW}, {}, ("drop", "expired", None)),
    ("a microsecond before it is not", {"expires_at": NOW + timedelta(microseconds=1)}, {}, SEND),
    ("expired goes before all", {"expires_at": PAST, "deliver_at": SOON}, {**OFF, **QUIET}, ("drop", "expired", None)),
    ("critical does not save it", {"expires_at": PAST, "priority": "critical"}, {}, ("drop", "expired", None)),
    ("a channel switched off", {}, OFF, ("drop", "channel_off", None)),
    ("is off for the critical too", {"priority": "critical"}, OFF, ("drop", "channel_off", None)),
    ("and for what has no switch as a type", {"type": "system"}, OFF, ("drop", "channel_off", None)),
    ("another channel has its own verdict", {"channel": "email"}, OFF, SEND),
    ("the desktop's switch holds nothing back", {}, {"enable_desktop_notifications": False}, SEND),
    ("a type muted", {}, {"notify_call_missed": False}, ("drop", "type_muted", None)),
    ("mutes the critical too", {"priority": "critical"}, {"notify_call_missed": False}, ("drop", "type_muted", None)),
    ("on every channel", {"channel": "sms"}, {"notify_call_missed": False}, ("drop", "type_muted", None)),
    ("but no other type", {"type": "lead_assigned"}, {"notify_call_missed": False}, SEND),
    ("a category muted", {"category": "shop"}, {"muted_categories": ("shop",)}, ("drop", "category_muted", None)),
    (
        "mutes a system notification of it",
        {"category": "shop", "type": "system"},
        {"muted_categories": ("shop",)},
        ("drop", "category_muted", None),
    ),
    (
        "a channel that is off is named before a mute",
        {},
        {**OFF, "notify_call_missed": False},
        ("drop", "channel_off", None),
    ),
    ("muted is dropped, not held", {"deliver_at": SOON}, {"notify_call_missed": False}, ("drop", "type_muted", None)),
    ("scheduled is held until then", {"deliver_at": SOON}, {}, ("hold", "deliver_at", SOON)),
    ("not at that instant any more", {"deliver_at": NOW}, {}, SEND),
    ("the critical keeps its schedule", {"deliver_at": SOON, "priority": "critical"}, {}, ("hold", "deliver_at", SOON)),
    ("a schedule goes before quiet", {"deliver_at": SOON}, QUIET, ("hold", "deliver_at", SOON)),
    ("snoozed is held until then", {"snoozed_until": SOON}, {}, ("hold", "snooze", SOON)),
    ("the critical too", {"snoozed_until": SOON, "priority": "critical"}, {}, ("hold", "snooze", SOON)),
    ("a snooze that has ended holds nothing", {"snoozed_until": PAST}, {}, SEND),
    ("the later snooze", {"deliver_at": SOON, "snoozed_until": NOON}, {}, ("hold", "snooze", NOON)),
    ("the later schedule", {"deliver_at": NOON, "snoozed_until": SOON}, {}, ("hold", "deliver_at", NOON)),
    ("held past its expiry all the same", {"deliver_at": NOON, "expires_at": SOON}, {}, ("hold", "deliver_at", NOON)),
    ("critical is sent through quiet hours", {"priority": "critical"}, QUIET, ("send", "critical", None)),
    ("and through the telephone's quiet", {"priority": "critical"}, {"quiet_until": SOON}, ("send", "critical", None)),
    (
        "and does not wait for a batch",
        {"priority": "critical", "channel": "email"},
        {"email_batch_frequency": "daily"},
        ("send", "critical", None),
    ),
    ("high is held", {"priority": "high"}, QUIET, ("hold", "quiet_hours", MORNING)),
    ("quiet hours hold every channel", {"channel": "push"}, QUIET, ("hold", "quiet_hours", MORNING)),
    ("without end", {}, ALWAYS, ("hold", "quiet_hours", None)),
    ("quiet until", {}, {"quiet_until": SOON}, ("hold", "quiet_until", SOON)),
    ("that has ended", {}, {"quiet_until": NOW}, SEND),
    ("the later end: the hours", {}, {**QUIET, "quiet_until": SOON}, ("hold", "quiet_hours", MORNING)),
    ("the later end: until", {}, {**QUIET, "quiet_until": NOON}, ("hold", "quiet_until", NOON)),
    ("both at once", {}, {**QUIET, "quiet_until": MORNING}, ("hold", "quiet_hours", MORNING)),
    ("no end is later than any", {}, {**ALWAYS, "quiet_until": NOON}, ("hold", "quiet_hours", None)),
    (
        "e-mail waits for its batch",
        {"channel": "email"},
        {"email_batch_frequency": "hourly"},
        ("hold", "batch", NOW + timedelta(hours=1)),
    ),
    (
        "SMS for its own",
        {"channel": "sms"},
        {"sms_batch_frequency": "daily", "email_batch_frequency": "weekly"},
        ("hold", "batch", datetime(2026, 6, 2, 9, tzinfo=UTC)),
    ),
    (
        "by the wall clock",
        {"channel": "email"},
        {"email_batch_frequency": "weekly", "timezone": "Europe/Berlin"},
        ("hold", "batch", datetime(2026, 6, 8, 7, tzinfo=UTC)),
    ),
    ("not for another", {"channel": "email", "has_waited": True}, {"email_batch_frequency": "daily"}, SEND),
    (
        "quiet then, it goes at the end of that",
        {"channel": "email", "has_waited": True},
        {**QUIET, "email_batch_frequency": "daily"},
        ("hold", "quiet_hours", MORNING),
    ),
    ("no other channel has batches", {"channel": "push"}, {"email_batch_frequency": "daily"}, SEND),
    (
        "quiet comes before the batch",
        {"channel": "email"},
        {**QUIET, "email_batch_frequency": "hourly"},
        (
            "hold",
            "quiet_hours",
            MORNING,
        ),
    ),
]


@pytest.mark.parametrize(("sentence", "values", "preferences", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table(
    sentence: str, values: dict[str, Any], preferences: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert verdict(values, preferences) == expected


SWITCHES: list[tuple[str, Kind]] = [
    ("notify_task_assigned", "task_assigned"),
    ("notify_task_completed", "task_completed"),
    ("notify_deadline_reminder", "deadline_reminder"),
    ("notify_lead_assigned", "lead_assigned"),
    ("notify_call_missed", "call_missed"),
    ("notify_message_received", "message_received"),
]


@pytest.mark.parametrize(("switch", "kind"), SWITCHES)
def test_each_type_has_its_switch(switch: str, kind: Kind) -> None:
    muted = {switch: False}
    assert verdict({"type": kind}, muted) == ("drop", "type_muted", None)
    for _, other in SWITCHES:
        assert (verdict({"type": other}, muted) == SEND) == (other != kind)


def test_a_type_without_a_switch_cannot_be_muted() -> None:
    assert verdict({"type": "system"}, {switch: False for switch, _ in SWITCHES}) == SEND


@pytest.mark.parametrize("channel", CHANNELS)
def test_each_channel_has_its_switch(channel: str) -> None:
    off = {f"enable_{channel}_notifications": False}
    for other in CHANNELS:
        expected = ("drop", "channel_off", None) if other == channel else SEND
        assert verdict({"channel": other}, off) == expected


def test_the_last_years_of_the_calendar_are_no_errors() -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    preferences = {**QUIET, "email_batch_frequency": "weekly", "timezone": "Pacific/Kiritimati"}
    assert verdict({"channel": "email"}, preferences, end) == SEND
    assert verdict({"deliver_at": end}, preferences) == ("hold", "deliver_at", end)


# -- why ---------------------------------------------------------------------------------------------------------------


def test_every_rule_is_named_in_order_with_the_one_that_decides() -> None:
    late = Preferences(**QUIET, quiet_until=NOON, email_batch_frequency="hourly", timezone="UTC")
    found = explain(subject(channel="email", deliver_at=PAST), late, NOW)
    assert [(one.rule, one.applies, one.decides, one.until) for one in found] == [
        ("expired", False, False, None),
        ("channel_off", False, False, None),
        ("type_muted", False, False, None),
        ("category_muted", False, False, None),
        ("deliver_at", False, False, None),
        ("snooze", False, False, None),
        ("critical", False, False, None),
        ("quiet_hours", True, False, MORNING),
        ("quiet_until", True, True, NOON),
        ("batch", True, False, NOW + timedelta(hours=1)),
        ("default", True, False, None),
    ]
    assert [one.detail for one in found] == [
        "`expires_at` is not set.",
        "`enable_email_notifications` is on.",
        "`notify_call_missed` is on.",
        "The category `general` is not among `muted_categories`.",
        "`deliver_at` is 2026-06-01T22:00:00Z.",
        "No snooze.",
        "The priority is `normal`.",
        "Quiet hours are 22:00 to 07:00 in UTC, beginning on every day.",
        "`quiet_until` is 2026-06-02T12:00:00Z.",
        "`email_batch_frequency` is hourly.",
        "Nothing above applies: it is sent at once.",
    ]


def test_details_say_what_was_looked_at() -> None:
    preferences = Preferences(quiet_hours_days=(6, 0), **QUIET, notify_call_missed=False, muted_categories=("general",))
    details = {one.rule: one.detail for one in explain(subject(snoozed_until=SOON), preferences, NOW)}
    assert details["type_muted"] == "`notify_call_missed` is off."
    assert details["category_muted"] == "The category `general` is among `muted_categories`."
    assert details["snooze"] == "It is snoozed until 2026-06-02T00:00:00Z."
    assert details["quiet_hours"] == "Quiet hours are 22:00 to 07:00 in UTC, beginning on the days 0, 6 (0 = Monday)."
    assert details["batch"] == "The channel `in_app` has no batches."
    system = {one.rule: one.detail for one in explain(subject(type="system"), Preferences(), NOW)}
    assert system["type_muted"] == "The type `system` has no switch: it cannot be muted."
    assert system["quiet_hours"] == "`quiet_hours_enabled` is off."


# -- and when ----------------------------------------------------------------------------------------------------------


def test_a_schedule_into_the_night_and_a_batch_in_another_quiet() -> None:
    preferences = Preferences(
        quiet_hours_enabled=True, quiet_hours_start="22:00", quiet_hours_end="09:30", email_batch_frequency="daily"
    )
    journey = simulate_go_at(subject(channel="email", deliver_at=SOON), preferences, NOW)
    night_ends = datetime(2026, 6, 2, 9, 30, tzinfo=UTC)
    batch = datetime(2026, 6, 3, 9, tzinfo=UTC)
    assert journey.steps == [
        (NOW, Verdict("hold", "deliver_at", SOON)),
        (SOON, Verdict("hold", "quiet_hours", night_ends)),
        (night_ends, Verdict("hold", "batch", batch)),
        (batch, Verdict("hold", "quiet_hours", batch.replace(minute=30))),
        (batch.replace(minute=30), Verdict("send", "default")),
    ]
    assert journey.goes_at == batch.replace(minute=30)


def test_what_expires_while_it_is_held_is_dropped_at_that_instant() -> None:
    journey = simulate_go_at(subject(expires_at=SOON), Preferences(**QUIET), NOW)
    assert journey.steps == [(NOW, Verdict("hold", "quiet_hours", MORNING)), (SOON, Verdict("drop", "expired"))]


@pytest.mark.parametrize(
    ("values", "preferences", "goes_at", "last"),
    [
        ({}, {}, NOW, Verdict("send", "default")),
        ({}, OFF, None, Verdict("drop", "channel_off")),
        ({}, ALWAYS, None, Verdict("hold", "quiet_hours")),
        ({"expires_at": SOON}, ALWAYS, None, Verdict("drop", "expired")),
        ({"expires_at": SOON}, QUIET, None, Verdict("drop", "expired")),
        ({"expires_at": MORNING}, QUIET, None, Verdict("drop", "expired")),
        ({"expires_at": NOON}, QUIET, MORNING, Verdict("send", "default")),
        (
            {"expires_at": NOW + timedelta(minutes=1), "channel": "email"},
            {"email_batch_frequency": "daily"},
            None,
            (Verdict("drop", "expired")),
        ),
    ],
)
def test_it_goes_or_does_not(
    values: dict[str, Any], preferences: dict[str, Any], goes_at: datetime | None, last: Verdict
) -> None:
    journey = simulate_go_at(subject(**values), Preferences(**preferences), NOW)
    assert journey.goes_at == goes_at
    assert journey.steps[-1][1] == last


# -- properties --------------------------------------------------------------------------------------------------------

instants = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
maybe = st.none() | instants
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
frequencies = st.sampled_from(["immediate", "hourly", "daily", "weekly"])
subjects = st.builds(
    Subject,
    channel=st.sampled_from(CHANNELS),
    type=st.sampled_from(["system", "call_missed"]),
    category=st.sampled_from(["general", "shop"]),
    priority=st.sampled_from(PRIORITIES),
    expires_at=maybe,
    deliver_at=maybe,
    snoozed_until=maybe,
    has_waited=st.booleans(),
)
choices = st.builds(
    Preferences,
    enable_email_notifications=st.booleans(),
    notify_call_missed=st.booleans(),
    quiet_hours_enabled=st.booleans(),
    quiet_hours_start=clocks,
    quiet_hours_end=clocks,
    quiet_hours_days=st.none() | st.sets(st.integers(0, 6), min_size=1).map(tuple),
    quiet_until=maybe,
    muted_categories=st.sampled_from([(), ("shop",)]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"]),
    email_batch_frequency=frequencies,
    sms_batch_frequency=frequencies,
)


@settings(max_examples=400)
@given(subjects, choices, instants)
def test_holds_end_later_and_each_question_brings_it_nearer(
    asked: Subject, preferences: Preferences, now: datetime
) -> None:
    found = judge(asked, preferences, now)
    assert found.action == "hold" or found.until is None
    journey = simulate_go_at(asked, preferences, now)
    assert journey.steps[0] == (now, found)
    times = [at for at, _ in journey.steps]
    assert times == sorted(set(times))
    assert len(times) < STEPS_MAX
    assert sum(step.rule == "batch" for _, step in journey.steps) <= 1
    last = journey.steps[-1][1]
    assert last.action != "hold" or (last.rule == "quiet_hours" and last.until is None and asked.expires_at is None)


@settings(max_examples=200)
@given(subjects, choices, instants)
def test_one_rule_decides_and_none_of_an_earlier_row_applies(
    asked: Subject, preferences: Preferences, now: datetime
) -> None:
    found = explain(asked, preferences, now)
    decisive = judge(asked, preferences, now)
    assert [one.rule for one in found if one.decides] == [decisive.rule]
    applying = {one.rule for one in found if one.applies}
    row = next(row for row in TABLE if applying & {name for name, _ in row})
    assert decisive.rule in {name for name, _ in row}
    assert [one.until for one in found if one.decides] == [decisive.until]
