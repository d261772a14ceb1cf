"""What an admin sets for a tenant.

Owns the shape and the rules between its fields. How the defaults and the locks bear on a person's preferences
is `hub.core.preferences`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from hub.core.preferences import FIELDS, Locale, Preferences, Violation, Zone, check_preferences

REMINDER_MINUTES_MAX: Final = 10_080
"""A week."""

Days = Annotated[int, Meta(ge=1, le=36_500)]
PerMinute = Annotated[int, Meta(ge=1, le=1_000_000)]


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how many days what is done with is deleted; null = never."""

    notifications_days: Days | None = None
    communication_logs_days: Days | None = None


class Throttles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many messages a minute a channel's sender is given at most; null = as many as there are."""

    email: PerMinute | None = None
    sms: PerMinute | None = None
    push: PerMinute | None = None
    whatsapp: PerMinute | None = None
    slack: PerMinute | None = None


class TenantLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many requests a minute the tenant may make, below what the hub allows anyway; null = that."""

    requests_per_minute: PerMinute | None = None
    requests_per_user_per_minute: PerMinute | None = None


class TenantSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant's settings; the defaults are those of a tenant that has set nothing.

    `preferences` are the defaults of people who have chosen none, by the names of preferences; `locked` those
    that nobody may switch off.
    """

    timezone: Zone = "UTC"
    locale: Locale = "en"
    preferences: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    locked: tuple[str, ...] = ()
    reminder_minutes: Annotated[int, Meta(ge=0, le=REMINDER_MINUTES_MAX)] = 15
    retention: Retention = Retention()
    throttles: Throttles = Throttles()
    tracking: bool = False
    limits: TenantLimits = TenantLimits()


def check_settings(settings: TenantSettings) -> Iterable[Violation]:
    """What is wrong across fields; the types say the rest."""
    for index, name in enumerate(settings.locked):
        if name not in FIELDS:
            yield f"$.locked[{index}]", "Must be the name of a preference."
    usual = {"timezone": settings.timezone, "locale": settings.locale, **settings.preferences}
    try:
        preferences = msgspec.convert(usual, Preferences)
    except msgspec.ValidationError as error:
        yield "$.preferences", f"{error}."
        return
    for path, fault in check_preferences(preferences):
        name = path.removeprefix("$.")
        if name.partition("[")[0] in settings.preferences or name not in ("timezone", "locale"):
            yield f"$.preferences.{name}", fault
