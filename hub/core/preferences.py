"""What a person has chosen: channels, types, categories, quiet hours, batches.

Owns the shape (the fields of the contract and of the table
`notification_preferences`, by the same names), its rules, and how the tenant's
defaults and locks bear on it. Does not own what follows from a choice: that is
`hub.core.verdict` and `hub.core.quiet_hours`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from hub.core.wall_clock import instant_fault, zone_names

Violation = tuple[str, str]
"""Where and what: a path such as `$.timezone`, and one sentence for its author."""

BatchFrequency = Literal["immediate", "hourly", "daily", "weekly"]

MUTED_MAX: Final = 256
"""More than anyone will mute by hand; the list is read, under the lock, with every write to its user."""

LOCALE_CHARS_MAX: Final = 35
"""What RFC 5646, 4.4.1, asks every reader to have room for."""

_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_CATEGORY: Final = re.compile(r"[a-z0-9_.-]{1,64}")
_LOCALE: Final = re.compile(
    # Without flags, so that documents can show it.
    r"[A-Za-z]{2,3}(?:-[A-Za-z]{3})?"  # the language
    r"(?:-[A-Za-z]{4})?"  # its script
    r"(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"  # its region
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"  # variants
    r"(?:-[A-WYZa-wyz0-9](?:-[A-Za-z0-9]{2,8})+)*"  # extensions
    r"(?:-[Xx](?:-[A-Za-z0-9]{1,8})+)?"  # private use
)


def clock_fault(text: str) -> str | None:
    """What is wrong with a time of day."""
    return None if _CLOCK.fullmatch(text) else 'Must be a time of day such as "22:00", from "00:00" to "23:59".'


def zone_fault(name: str) -> str | None:
    """What is wrong with a time zone. Names count as they are spelt in the tz database."""
    return None if name in zone_names() else "Must be the name of an IANA time zone, such as `Europe/Berlin`."


def locale_fault(tag: str) -> str | None:
    """What is wrong with a language tag: its form only (RFC 5646, 2.1), not whether anyone speaks it."""
    if len(tag) <= LOCALE_CHARS_MAX and _LOCALE.fullmatch(tag):
        return None
    return "Must be a language tag (BCP 47), such as `en` or `pt-BR`."


def category_fault(name: str) -> str | None:
    """What is wrong with the name of a category."""
    return None if _CATEGORY.fullmatch(name) else "Must match [a-z0-9_.-]{1,64}."


def days_fault(days: Sequence[int]) -> str | None:
    """What is wrong with the days on which quiet hours start, whose types are right."""
    if not days:
        return "Must name a day at least; null is every day."
    if not all(0 <= day <= 6 for day in days):
        return "Must be days from 0 (Monday) to 6 (Sunday)."
    return "Must not name a day twice." if len(set(days)) < len(days) else None


def _shown(pattern: re.Pattern[str], **more: int) -> dict[str, Any]:
    """What a document says of a form that the rule words better when it refuses."""
    return {"pattern": f"^(?:{pattern.pattern})$", **more}


Clock = Annotated[str, Meta(extra={"rule": clock_fault}, extra_json_schema=_shown(_CLOCK))]
Zone = Annotated[
    str,
    Meta(
        extra={"rule": zone_fault},
        description="The name of an IANA time zone, such as `Europe/Berlin`.",
        extra_json_schema={"format": "iana-timezone"},
    ),
]
Locale = Annotated[
    str,
    Meta(
        extra={"rule": locale_fault},
        description="A language tag (BCP 47).",
        extra_json_schema=_shown(_LOCALE, maxLength=LOCALE_CHARS_MAX),
    ),
]
Category = Annotated[str, Meta(extra={"rule": category_fault}, extra_json_schema=_shown(_CATEGORY))]
Days = Annotated[
    tuple[int, ...],
    Meta(
        extra={"rule": days_fault},
        description="0 = Monday.",
        extra_json_schema={
            "minItems": 1,
            "uniqueItems": True,
            "allOf": [{"items": {"minimum": 0, "maximum": 6}}],
        },
    ),
]
Instant = Annotated[datetime, Meta(tz=True, extra={"rule": instant_fault})]


class Preferences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The preferences of one user, in the order of the contract; the defaults are those of a hub without any.

    Quiet hours have no default times: off and without times is what the table has for a user who never
    chose any, and hours that nobody chose should not begin because a switch was touched. `quiet_hours_days`
    are those on which the interval starts, 0 = Monday, null = every day. Types cannot say everything:
    what comes from outside is to pass `check_preferences`.
    """

    enable_email_notifications: bool = True
    enable_sms_notifications: bool = True
    enable_push_notifications: bool = True
    enable_whatsapp_notifications: bool = True
    enable_slack_notifications: bool = True
    enable_in_app_notifications: bool = True
    enable_desktop_notifications: bool = True
    notify_task_assigned: bool = True
    notify_task_completed: bool = True
    notify_deadline_reminder: bool = True
    notify_lead_assigned: bool = True
    notify_call_missed: bool = True
    notify_message_received: bool = True
    quiet_hours_enabled: bool = False
    quiet_hours_start: Clock | None = None
    quiet_hours_end: Clock | None = None
    quiet_hours_days: Days | None = None
    quiet_until: Instant | None = None
    muted_categories: Annotated[tuple[Category, ...], Meta(max_length=MUTED_MAX)] = ()
    timezone: Zone = "UTC"
    locale: Locale = "en"
    email_batch_frequency: BatchFrequency = "immediate"
    sms_batch_frequency: BatchFrequency = "immediate"

    def check(self) -> Iterable[Violation]:
        """What is wrong across fields: (field, sentence)."""
        if not self.quiet_hours_enabled:
            return
        for name in ("quiet_hours_start", "quiet_hours_end"):
            if getattr(self, name) is None:
                yield name, "Is needed where `quiet_hours_enabled` is true."


FIELDS: Final = frozenset(Preferences.__struct_fields__)


def check_preferences(preferences: Preferences) -> list[Violation]:
    """Every rule that is broken, in the order of the fields; empty = these may be kept."""
    found: list[Violation] = []

    def note(name: str, fault: str | None) -> None:
        if fault is not None:
            found.append((f"$.{name}", fault))

    for name, time in (("start", preferences.quiet_hours_start), ("end", preferences.quiet_hours_end)):
        note(f"quiet_hours_{name}", None if time is None else clock_fault(time))
    if preferences.quiet_hours_days is not None:
        note("quiet_hours_days", days_fault(preferences.quiet_hours_days))
    if (quiet_until := preferences.quiet_until) is not None:
        without = None if quiet_until.utcoffset() is not None else "Must be an instant with its offset."
        note("quiet_until", without or instant_fault(quiet_until))
    if len(preferences.muted_categories) > MUTED_MAX:
        note("muted_categories", f"Must have at most {MUTED_MAX} items.")
    for index, category in enumerate(preferences.muted_categories[:MUTED_MAX]):
        note(f"muted_categories[{index}]", category_fault(category))
    note("timezone", zone_fault(preferences.timezone))
    note("locale", locale_fault(preferences.locale))
    found.extend((f"$.{name}", fault) for name, fault in preferences.check())
    return found


def default_preferences(tenant_defaults: Mapping[str, Any] | None) -> Preferences:
    """Those of a user who has no row: the tenant's, and what the tenant does not say from the hub.

    Raises:
        msgspec.ValidationError: the tenant's defaults are not preferences; whoever kept them did not check.
    """
    return msgspec.convert(tenant_defaults, Preferences) if tenant_defaults else _DEFAULTS


_DEFAULTS: Final = Preferences()


def stored_preferences(row: Mapping[str, Any]) -> Preferences:
    """Those of a row of `notification_preferences`, whose other columns (keys, `updated_at`) are left out.

    A row is whole: it was filled with the tenant's defaults of its day, and does not follow them.
    """
    return msgspec.convert({name: value for name, value in row.items() if name in FIELDS}, Preferences)


def merge_preferences(
    current: Preferences, patch: Mapping[str, Any], defaults: Preferences = _DEFAULTS
) -> dict[str, Any]:
    """What `current` becomes by an RFC 7396 merge patch, as JSON values that are still to be validated.

    Null takes a field back to `defaults`: those of a user without a row. Members that are no field stay
    in, for the validation to name.
    """
    usual = msgspec.to_builtins(defaults)
    document = {**msgspec.to_builtins(current), **patch}
    # No field holds an object, so the merge of the RFC has one level.
    return {name: usual[name] if value is None and name in usual else value for name, value in document.items()}


def check_locked(
    preferences: Preferences, tenant_defaults: Mapping[str, Any] | None, locked: Collection[str]
) -> list[Violation]:
    """Which locked preferences these would switch off, in the order of the fields.

    A switch may not be off, unless the tenant's own default is off: then nothing is switched off. What is
    no switch has no "off": it stays as the tenant has it. Names that are no field lock nothing.
    """
    fixed = _fixed(preferences, tenant_defaults, locked)
    return [
        (f"$.{name}", "Is locked: it cannot be switched off." if value is True else "Is locked by the tenant.")
        for name, value in fixed.items()
    ]


def apply_locked(
    preferences: Preferences, tenant_defaults: Mapping[str, Any] | None, locked: Collection[str]
) -> Preferences:
    """The preferences in force: a lock that is younger than the row prevails over it. Idempotent."""
    fixed = _fixed(preferences, tenant_defaults, locked)
    return msgspec.structs.replace(preferences, **fixed) if fixed else preferences


def _fixed(
    preferences: Preferences, tenant_defaults: Mapping[str, Any] | None, locked: Collection[str]
) -> dict[str, Any]:
    # The locked fields that differ from what the tenant allows, with what it allows.
    if not locked:
        return {}
    defaults = default_preferences(tenant_defaults)
    fixed: dict[str, Any] = {}
    for name in Preferences.__struct_fields__:
        if name in locked:
            usual, own = getattr(defaults, name), getattr(preferences, name)
            if own != usual and own is not True:
                fixed[name] = usual
    return fixed
