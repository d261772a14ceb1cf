"""Who is disturbed, and when: one verdict for each (notification, channel, user).

Owns the table of the rules, in their order, as one list: `judge` walks it to
decide, `explain` walks the same one to say why, and `simulate_go_at` asks it again
at the end of each hold. Pure: the clock is passed in (the database's, read under
the user's lock).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

import msgspec

from hub.core.notification import Channel, Kind
from hub.core.preferences import Preferences
from hub.core.priority import Priority
from hub.core.quiet_hours import next_batch_at, quiet_hours_at
from hub.core.wall_clock import is_in_calendar, zone_of

Action = Literal["send", "hold", "drop"]

Rule = Literal[
    "expired",
    "channel_off",
    "type_muted",
    "category_muted",
    "deliver_at",
    "snooze",
    "critical",
    "quiet_hours",
    "quiet_until",
    "batch",
    "default",
]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One notification on one channel. `has_waited`: it has once waited for a batch, and waits for no other."""

    channel: Channel
    type: Kind
    category: str
    priority: Priority
    expires_at: datetime | None = None
    deliver_at: datetime | None = None
    snoozed_until: datetime | None = None
    has_waited: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What to do, and the rule that decided. `until` is the end of a hold, when to ask again; None = without end."""

    action: Action
    rule: Rule
    until: datetime | None = None


class Finding(msgspec.Struct, frozen=True):
    """What one rule says. Several may apply; one `decides`. `until` is the end of the hold that it asks for."""

    rule: Rule
    applies: bool
    decides: bool
    detail: str
    until: datetime | None = None


class Journey(msgspec.Struct, frozen=True):
    """What comes of a notification if nothing else happens to it.

    `steps` are the instants at which it is asked about, ascending, with each verdict; the last one is final: a
    send or a drop at its instant, or a hold without end.
    """

    steps: list[tuple[datetime, Verdict]]

    @property
    def goes_at(self) -> datetime | None:
        """When it is sent; None where it never is."""
        at, verdict = self.steps[-1]
        return at if verdict.action == "send" else None


Judge = Callable[[Subject, Preferences, datetime], Verdict | None]

# A type without an entry (`system`) has no switch, so it cannot be muted as a type.
_SWITCH_OF_TYPE: Final = {
    name.removeprefix("notify_"): name for name in Preferences.__struct_fields__ if name.startswith("notify_")
}
_SWITCH_OF_CHANNEL: Final = {
    name.removeprefix("enable_").removesuffix("_notifications"): name
    for name in Preferences.__struct_fields__
    if name.startswith("enable_")
}
_FREQUENCY_OF_CHANNEL: Final = {"email": "email_batch_frequency", "sms": "sms_batch_frequency"}


def _expired(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    if subject.expires_at is not None and subject.expires_at <= now:
        return _EXPIRED
    return None


def _channel_off(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    return None if getattr(preferences, _SWITCH_OF_CHANNEL[subject.channel]) else _CHANNEL_OFF


def _type_muted(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    switch = _SWITCH_OF_TYPE.get(subject.type)
    return _TYPE_MUTED if switch is not None and not getattr(preferences, switch) else None


def _category_muted(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    # Of every type, `system` too: it is the category that its person has muted, and that has a switch.
    return _CATEGORY_MUTED if subject.category in preferences.muted_categories else None


def _deliver_at(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    at = subject.deliver_at
    return Verdict("hold", "deliver_at", at) if at is not None and at > now else None


def _snooze(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    at = subject.snoozed_until
    return Verdict("hold", "snooze", at) if at is not None and at > now else None


def _critical(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    return _CRITICAL if subject.priority == "critical" else None


def _quiet_hours(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    quiet = quiet_hours_at(preferences, now)
    return None if quiet is None else Verdict("hold", "quiet_hours", quiet.until)


def _quiet_until(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    at = preferences.quiet_until
    return Verdict("hold", "quiet_until", at) if at is not None and at > now else None


def _batch(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    name = _FREQUENCY_OF_CHANNEL.get(subject.channel)
    if name is None or subject.has_waited:
        return None
    frequency = getattr(preferences, name)
    if frequency == "immediate" or not is_in_calendar(now):
        return None
    return Verdict("hold", "batch", next_batch_at(frequency, zone_of(preferences.timezone), now))


def _default(subject: Subject, preferences: Preferences, now: datetime) -> Verdict | None:
    return _DEFAULT


_EXPIRED: Final = Verdict("drop", "expired")
_CHANNEL_OFF: Final = Verdict("drop", "channel_off")
_TYPE_MUTED: Final = Verdict("drop", "type_muted")
_CATEGORY_MUTED: Final = Verdict("drop", "category_muted")
_CRITICAL: Final = Verdict("send", "critical")
_DEFAULT: Final = Verdict("send", "default")

TABLE: Final[tuple[tuple[tuple[Rule, Judge], ...], ...]] = (
    (("expired", _expired),),
    (("channel_off", _channel_off), ("type_muted", _type_muted), ("category_muted", _category_muted)),
    (("deliver_at", _deliver_at), ("snooze", _snooze)),
    (("critical", _critical),),
    (("quiet_hours", _quiet_hours), ("quiet_until", _quiet_until)),
    (("batch", _batch),),
    (("default", _default),),
)
"""The table of the contract. The first row that applies decides; within it the hold that ends last, else the first."""

STEPS_MAX: Final = 16
"""No notification is asked about more often, on its way, without a change from outside: schedule and snooze make one
hold, a batch one, and quiet at most three around each."""


def judge(subject: Subject, preferences: Preferences, now: datetime) -> Verdict:
    """Whether to send it, drop it, or hold it and ask again at `until`, which is always after `now`."""
    for row in TABLE:
        found: Verdict | None = None
        for _, rule in row:
            verdict = rule(subject, preferences, now)
            if verdict is not None and (found is None or _ends_later(verdict, found)):
                found = verdict
        if found is not None:
            return found
    raise AssertionError("the last row of the table always applies")


def _ends_later(verdict: Verdict, than: Verdict) -> bool:
    # Without end is the latest, and stands first in its row: only quiet hours can be.
    return verdict.until is not None and than.until is not None and verdict.until > than.until


def explain(subject: Subject, preferences: Preferences, now: datetime) -> list[Finding]:
    """What every rule says, in their order; exactly one decides, and it is the one of `judge`."""
    decisive = judge(subject, preferences, now).rule
    findings: list[Finding] = []
    for row in TABLE:
        for name, rule in row:
            verdict = rule(subject, preferences, now)
            findings.append(
                Finding(
                    rule=name,
                    applies=verdict is not None,
                    decides=name == decisive,
                    detail=_detail(name, subject, preferences),
                    until=None if verdict is None else verdict.until,
                )
            )
    return findings


def _detail(rule: Rule, subject: Subject, preferences: Preferences) -> str:
    # What the rule looked at: whether it applies is said beside it.
    match rule:
        case "expired":
            return f"`expires_at` is {_instant(subject.expires_at)}."
        case "channel_off":
            switch = _SWITCH_OF_CHANNEL[subject.channel]
            return f"`{switch}` is {_switch(getattr(preferences, switch))}."
        case "type_muted":
            switch = _SWITCH_OF_TYPE.get(subject.type)
            if switch is None:
                return f"The type `{subject.type}` has no switch: it cannot be muted."
            return f"`{switch}` is {_switch(getattr(preferences, switch))}."
        case "category_muted":
            word = "is" if subject.category in preferences.muted_categories else "is not"
            return f"The category `{subject.category}` {word} among `muted_categories`."
        case "deliver_at":
            return f"`deliver_at` is {_instant(subject.deliver_at)}."
        case "snooze":
            return f"It is snoozed until {_instant(subject.snoozed_until)}." if subject.snoozed_until else "No snooze."
        case "critical":
            return f"The priority is `{subject.priority}`."
        case "quiet_hours":
            return _hours(preferences)
        case "quiet_until":
            return f"`quiet_until` is {_instant(preferences.quiet_until)}."
        case "batch":
            return _batches(subject, preferences)
        case "default":
            return "Nothing above applies: it is sent at once."


def _instant(at: datetime | None) -> str:
    return "not set" if at is None else at.isoformat().replace("+00:00", "Z")


def _switch(is_on: bool) -> str:
    return "on" if is_on else "off"


def _hours(preferences: Preferences) -> str:
    if not preferences.quiet_hours_enabled:
        return "`quiet_hours_enabled` is off."
    days = preferences.quiet_hours_days
    on = "every day" if days is None else f"the days {', '.join(map(str, sorted(days)))} (0 = Monday)"
    start, end = preferences.quiet_hours_start, preferences.quiet_hours_end
    return f"Quiet hours are {start} to {end} in {preferences.timezone}, beginning on {on}."


def _batches(subject: Subject, preferences: Preferences) -> str:
    name = _FREQUENCY_OF_CHANNEL.get(subject.channel)
    if name is None:
        return f"The channel `{subject.channel}` has no batches."
    waited = "; it has waited for one" if subject.has_waited else ""
    return f"`{name}` is {getattr(preferences, name)}{waited}."


def simulate_go_at(subject: Subject, preferences: Preferences, now: datetime) -> Journey:
    """Ask, and ask again at the end of each hold, until it is sent, dropped, or held without end.

    Assumes that preferences stay as they are, and that each question is asked on time. What expires while it
    is held is dropped at that instant.
    """
    steps: list[tuple[datetime, Verdict]] = []
    at = now
    for _ in range(STEPS_MAX):
        verdict = judge(subject, preferences, at)
        steps.append((at, verdict))
        if verdict.action != "hold":
            return Journey(steps)
        ends_at = verdict.until
        if subject.expires_at is not None and (ends_at is None or subject.expires_at < ends_at):
            ends_at = subject.expires_at
        if ends_at is None:
            return Journey(steps)
        if verdict.rule == "batch" and ends_at == verdict.until:
            subject = msgspec.structs.replace(subject, has_waited=True)
        at = ends_at
    raise AssertionError("a hold did not end by asking again")
