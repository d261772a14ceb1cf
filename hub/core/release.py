"""The end of a hold: ask again, by the database's clock, and go live where nothing holds any more.

Owns the order of a release (priority, then oldest) and what is said of it. One
mechanism for schedules, snoozes, quiet hours and changed preferences (law 7).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from hub.core.changes import DELETED, QUIET_ENDED, UPDATED, Changes
from hub.core.creation import Collapsing, delivery_of, hold_of, subject_of
from hub.core.delivery import Delivery, Pending
from hub.core.event import CREATED
from hub.core.notification import Row, is_known
from hub.core.preferences import Preferences
from hub.core.priority import PRIORITIES, RANK
from hub.core.transitions import delete, expire
from hub.core.verdict import Verdict, judge


def plan_release(changes: Changes, held: Iterable[Row], preferences: Preferences, collapsing: Collapsing) -> int:
    """Ask again for each of one user's held rows. Returns how many went live.

    What goes live does so in one burst: by priority, the oldest first within one; where quiet hours
    had held some of it, `quiet_hours.ended` goes before. What still waits gets its new time.
    """
    going: list[Row] = []
    for row in sorted(held, key=lambda row: (RANK[row.priority], row.created_at, row.id)):
        verdict = judge(subject_of(row, "in_app"), preferences, changes.now)
        if verdict.action == "send":
            going.append(row)
        elif verdict.action == "hold":
            _hold_on(changes, row, verdict)
        else:
            _drop(changes, row, verdict)
    going = _survivors(changes, going, collapsing)
    _announce_quiet_end(changes, [row for row in going if row.hold_reason == "quiet"])
    for row in going:
        _go(changes, row, preferences, collapsing)
    return len(going)


def plan_waking(changes: Changes, row: Row, preferences: Preferences, collapsing: Collapsing) -> None:
    """End a snooze before its time: live at once, unless something else holds it now."""
    # The row stands for itself without its snooze; what it was before is still what clients have.
    awake = replace(row, snoozed_until=None)
    verdict = judge(subject_of(awake, "in_app"), preferences, changes.now)
    if verdict.action == "send":
        _go(changes, row, preferences, collapsing)
    elif verdict.action == "hold":
        _hold_on(changes, row, verdict)
    else:
        _drop(changes, row, verdict)


def _go(changes: Changes, row: Row, preferences: Preferences, collapsing: Collapsing) -> None:
    after = replace(row, state="live", held_until=None, hold_reason=None, due_at=None, snoozed_until=None)
    collapsing.replace(changes, after, ("live", "held"))
    changes.put(row, after, CREATED, released=True, rings=preferences.enable_desktop_notifications)
    collapsing.add(after)


def _survivors(changes: Changes, going: list[Row], collapsing: Collapsing) -> list[Row]:
    # A more urgent newer one goes first, and would delete what follows it: that one need not go at all.
    newest: dict[str, int] = {}
    survivors: list[Row] = []
    for row in going:
        if row.collapse_key is None:
            survivors.append(row)
        elif newest.get(row.collapse_key, 0) < row.id:
            newest[row.collapse_key] = row.id
            survivors.append(row)
        else:
            collapsing.discard(row)
            delete(changes, row, replaced_by=newest[row.collapse_key])
    return survivors


def _announce_quiet_end(changes: Changes, rows: list[Row]) -> None:
    if not rows:
        return
    by_priority = {priority: sum(row.priority == priority for row in rows) for priority in PRIORITIES}
    most_urgent = min(rows, key=lambda row: RANK[row.priority]).priority
    changes.inboxes[rows[0].user_id].append(
        QUIET_ENDED, most_urgent, changes.now, {"released": len(rows), "by_priority": by_priority}
    )


def _hold_on(changes: Changes, row: Row, verdict: Verdict) -> None:
    after = replace(row, held_until=verdict.until, due_at=verdict.until, hold_reason=hold_of(verdict))
    if verdict.rule != "snooze":
        after.snoozed_until = None
    if after != row:
        # Only one that has been live, and sleeps now, is on anyone's screen.
        changes.put(row, after, UPDATED if is_known(row) else None, reason=verdict.rule)


def _drop(changes: Changes, row: Row, verdict: Verdict) -> None:
    if verdict.rule == "expired":
        expire(changes, row)
        return
    after = replace(row, state="muted", held_until=None, hold_reason=None, due_at=None, snoozed_until=None)
    changes.put(row, after, DELETED if is_known(row) else None, data={"id": row.id}, reason=verdict.rule)


def plan_deliveries(
    changes: Changes, pending: Iterable[Pending], rows: dict[int, Row], preferences: Preferences
) -> None:
    """Ask again for the outside deliveries of one user's notifications that have not been handed over."""
    for delivery in pending:
        row = rows[delivery.notification_id]
        waited = has_waited(delivery, changes)
        verdict = judge(subject_of(row, delivery.channel, waited=waited), preferences, changes.now)
        after = delivery_of(row.id, row.user_id, delivery.channel, verdict, has_waited=waited)
        if _plan_of(after) != _plan_of(delivery):
            changes.delivery_changes.append(after)


def has_waited(delivery: Pending, changes: Changes) -> bool:
    """True where it has been through a batch's wait: it does not wait for another."""
    # The reason alone would forget it as soon as quiet hours hold it again.
    over = delivery.reason == "batch" and delivery.not_before is not None and delivery.not_before <= changes.now
    return delivery.has_waited or over


def _plan_of(delivery: Delivery | Pending) -> tuple[object, ...]:
    return delivery.status, delivery.reason, delivery.not_before, delivery.has_waited
