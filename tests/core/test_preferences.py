"""What may be chosen, what the tenant has to say, and how one patch changes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from hub.core.preferences import (
    FIELDS,
    MUTED_MAX,
    Preferences,
    apply_locked,
    check_locked,
    check_preferences,
    default_preferences,
    locale_fault,
    merge_preferences,
    stored_preferences,
)


def test_without_any_choice_everything_is_on_and_nothing_is_quiet() -> None:
    default = default_preferences(None)
    assert default == Preferences() == default_preferences({})
    answer = msgspec.json.decode(msgspec.json.encode(default))
    switches = {name: value for name, value in answer.items() if name.startswith(("enable_", "notify_"))}
    assert len(switches) == 13
    assert set(switches.values()) == {True}
    assert {name: value for name, value in answer.items() if name not in switches} == {
        "quiet_hours_enabled": False,
        "quiet_hours_start": None,
        "quiet_hours_end": None,
        "quiet_hours_days": None,
        "quiet_until": None,
        "muted_categories": [],
        "timezone": "UTC",
        "locale": "en",
        "email_batch_frequency": "immediate",
        "sms_batch_frequency": "immediate",
    }
    assert check_preferences(default) == []


BROKEN: list[tuple[str, dict[str, Any], list[str]]] = [
    ("a planet", {"timezone": "Mars/Olympus"}, ["$.timezone"]),
    ("no zone", {"timezone": ""}, ["$.timezone"]),
    ("a way out", {"timezone": "../etc/passwd"}, ["$.timezone"]),
    ("a file", {"timezone": "/etc/localtime"}, ["$.timezone"]),
    ("the machine's own", {"timezone": "localtime"}, ["$.timezone"]),
    ("another case", {"timezone": "EUROPE/berlin"}, ["$.timezone"]),
    ("NUL in a zone", {"timezone": "UTC\0"}, ["$.timezone"]),
    ("half a surrogate pair", {"timezone": "\ud800"}, ["$.timezone"]),
    ("an hour that is none", {"quiet_hours_start": "25:61"}, ["$.quiet_hours_start"]),
    ("the end of the day", {"quiet_hours_end": "24:00"}, ["$.quiet_hours_end"]),
    ("one digit", {"quiet_hours_end": "7:00"}, ["$.quiet_hours_end"]),
    ("seconds", {"quiet_hours_end": "07:00:00"}, ["$.quiet_hours_end"]),
    ("a line feed", {"quiet_hours_end": "07:00\n"}, ["$.quiet_hours_end"]),
    ("other digits", {"quiet_hours_end": "٠٧:٠٠"}, ["$.quiet_hours_end"]),
    ("no time", {"quiet_hours_start": ""}, ["$.quiet_hours_start"]),
    ("no days", {"quiet_hours_days": ()}, ["$.quiet_hours_days"]),
    ("a day twice", {"quiet_hours_days": (0, 1, 0)}, ["$.quiet_hours_days"]),
    ("an eighth day", {"quiet_hours_days": (7,)}, ["$.quiet_hours_days"]),
    ("a day before Monday", {"quiet_hours_days": (-1,)}, ["$.quiet_hours_days"]),
    ("on, but when", {"quiet_hours_enabled": True}, ["$.quiet_hours_start", "$.quiet_hours_end"]),
    ("on, no end", {"quiet_hours_enabled": True, "quiet_hours_start": "22:00"}, ["$.quiet_hours_end"]),
    ("no offset", {"quiet_until": datetime(2026, 6, 1)}, ["$.quiet_until"]),
    ("categories", {"muted_categories": ("ok", "Not", "", "x" * 65)}, [f"$.muted_categories[{i}]" for i in (1, 2, 3)]),
    ("too many", {"muted_categories": ("x",) * (MUTED_MAX + 1)}, ["$.muted_categories"]),
    ("no language", {"locale": "english language"}, ["$.locale"]),
    (
        "all at once",
        {"quiet_hours_start": "25:61", "quiet_hours_days": (), "timezone": "Mars/Olympus", "locale": ""},
        ["$.quiet_hours_start", "$.quiet_hours_days", "$.timezone", "$.locale"],
    ),
]


@pytest.mark.parametrize(("sentence", "values", "paths"), BROKEN, ids=[row[0] for row in BROKEN])
def test_every_broken_rule_is_named_by_its_path(sentence: str, values: dict[str, Any], paths: list[str]) -> None:
    found = check_preferences(Preferences(**values))
    assert [path for path, _ in found] == paths
    assert all(message.endswith(".") for _, message in found)


def test_what_keeps_the_rules_may_be_kept() -> None:
    chosen = Preferences(
        quiet_hours_enabled=True,
        quiet_hours_start="22:00",
        quiet_hours_end="07:00",
        quiet_hours_days=(6, 0),
        quiet_until=datetime(2026, 6, 1, tzinfo=UTC),
        muted_categories=("general", "a.b-c_9", "x" * 64),
        timezone="Australia/Lord_Howe",
        locale="sr-Latn-RS",
    )
    assert check_preferences(chosen) == []


@pytest.mark.parametrize(
    "tag",
    [
        "en",
        "de",
        "gsw",
        "pt-BR",
        "es-419",
        "zh-Hant-TW",
        "sl-rozaj-biske",
        "de-1996",
        "EN-gb",
        "de-u-co-phonebk",
        "zh-yue",
    ],
)
def test_language_tags(tag: str) -> None:
    assert locale_fault(tag) is None


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "e",
        "en_US",
        "en-",
        "-en",
        "en--US",
        "en-US\n",
        "c",
        "C.UTF-8",
        "../en",
        "en-u",
        "x" * 36,
        "en-x-" + "a" * 40,
    ],
)
def test_what_is_no_language_tag(tag: str) -> None:
    assert locale_fault(tag) is not None


# -- from outside ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        {"enable_emial_notifications": False},
        {"enable_email_notifications": 1},
        {"enable_email_notifications": None},
        {"quiet_until": "2026-06-01T00:00:00"},
        {"quiet_hours_days": ["monday"]},
        {"quiet_hours_days": 1},
        {"email_batch_frequency": "yearly"},
        {"muted_categories": ["x"] * (MUTED_MAX + 1)},
        {"timezone": None},
    ],
)
def test_types_refuse_what_they_can(raw: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(raw, Preferences)


def test_a_row_of_the_table_has_exactly_these_fields_beside_its_keys() -> None:
    row: dict[str, Any] = {
        **msgspec.to_builtins(Preferences(quiet_hours_days=(0, 6), muted_categories=("x",))),
        "tenant_id": "t",
        "user_id": 7,
        "quiet_until": "2026-06-01T00:00:00+00:00",
        "updated_at": "2026-06-01T00:00:00+00:00",
    }
    stored = stored_preferences(row)
    assert stored.quiet_hours_days == (0, 6)
    assert stored.quiet_until == datetime(2026, 6, 1, tzinfo=UTC)
    assert set(row) - FIELDS == {"tenant_id", "user_id", "updated_at"}


# -- the tenant --------------------------------------------------------------------------------------------------------


def test_the_tenant_s_defaults_go_before_the_hub_s() -> None:
    default = default_preferences({"timezone": "Europe/Berlin", "notify_call_missed": False})
    assert default == Preferences(timezone="Europe/Berlin", notify_call_missed=False)
    with pytest.raises(msgspec.ValidationError):
        default_preferences({"notify_call_missed": "no"})


LOCKS: list[tuple[str, dict[str, Any], dict[str, Any], list[str], dict[str, Any]]] = [
    ("nothing is locked", {"enable_sms_notifications": False}, {}, [], {}),
    ("on is fine", {}, {}, ["enable_sms_notifications"], {}),
    (
        "off is not",
        {"enable_sms_notifications": False},
        {},
        ["enable_sms_notifications"],
        {"enable_sms_notifications": True},
    ),
    ("another may be", {"enable_push_notifications": False}, {}, ["enable_sms_notifications"], {}),
    (
        "what the tenant has off",
        {"notify_call_missed": False},
        {"notify_call_missed": False},
        ["notify_call_missed"],
        {},
    ),
    ("may be switched on", {"notify_call_missed": True}, {"notify_call_missed": False}, ["notify_call_missed"], {}),
    (
        "no switch",
        {"timezone": "Asia/Tokyo"},
        {"timezone": "Europe/Berlin"},
        ["timezone"],
        {"timezone": "Europe/Berlin"},
    ),
    (
        "batches",
        {"email_batch_frequency": "weekly"},
        {},
        ["email_batch_frequency"],
        {"email_batch_frequency": "immediate"},
    ),
    ("no field", {}, {}, ["no_such_thing"], {}),
    (
        "several, in the order of the fields",
        {"notify_lead_assigned": False, "enable_in_app_notifications": False},
        {},
        ["notify_lead_assigned", "enable_in_app_notifications"],
        {"enable_in_app_notifications": True, "notify_lead_assigned": True},
    ),
]


@pytest.mark.parametrize(("sentence", "own", "tenant", "locked", "fixed"), LOCKS, ids=[row[0] for row in LOCKS])
def test_a_locked_preference_cannot_be_switched_off(
    sentence: str, own: dict[str, Any], tenant: dict[str, Any], locked: list[str], fixed: dict[str, Any]
) -> None:
    preferences = Preferences(**own)
    found = check_locked(preferences, tenant, locked)
    assert [path for path, _ in found] == [f"$.{name}" for name in fixed]
    in_force = apply_locked(preferences, tenant, locked)
    assert in_force == msgspec.structs.replace(preferences, **fixed)
    assert check_locked(in_force, tenant, locked) == []
    assert apply_locked(in_force, tenant, locked) is in_force


# -- a patch -----------------------------------------------------------------------------------------------------------


def patched(current: Preferences, patch: dict[str, Any], tenant: dict[str, Any] | None = None) -> Preferences:
    return msgspec.convert(merge_preferences(current, patch, default_preferences(tenant)), Preferences)


def test_a_patch_changes_what_it_names_and_null_takes_it_back_to_its_default() -> None:
    current = Preferences(
        timezone="Asia/Tokyo",
        quiet_until=datetime(2026, 6, 1, tzinfo=UTC),
        muted_categories=("a", "b"),
        notify_call_missed=False,
    )
    assert patched(current, {}) == current
    assert patched(current, {"locale": "ja"}) == msgspec.structs.replace(current, locale="ja")
    assert patched(current, {"muted_categories": ["c"]}).muted_categories == ("c",), "an array is replaced"
    assert patched(current, {"quiet_until": None}).quiet_until is None
    assert patched(current, dict.fromkeys(FIELDS)) == Preferences()


def test_null_goes_back_to_the_tenant_s_default() -> None:
    tenant = {"timezone": "Europe/Berlin", "quiet_hours_days": [5, 6]}
    after = patched(Preferences(timezone="Asia/Tokyo"), {"timezone": None, "quiet_hours_days": None}, tenant)
    assert (after.timezone, after.quiet_hours_days) == ("Europe/Berlin", (5, 6))


@pytest.mark.parametrize("patch", [{"tiemzone": "UTC"}, {"tiemzone": None}, {"timezone": 7}, {"quiet_hours_days": "0"}])
def test_what_is_wrong_in_a_patch_stays_in_it_to_be_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        patched(Preferences(), patch)
