"""The birth of notifications: who is told now, who later, who never.

Pure: the drafts, the ids, what was read under the locks, in; rows, deliveries
and events, out. Owns the collapsing of keys (the newer replaces an unread older
one at the moment it goes live, among held ones at once) for creation and release
alike. Does not own the verdict (`hub.core.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from hub.core.changes import Changes
from hub.core.delivery import Delivery, Status, in_app
from hub.core.event import CREATED
from hub.core.notification import OUTSIDE, Channel, Draft, Hold, Row, State
from hub.core.preferences import Preferences
from hub.core.transitions import delete
from hub.core.verdict import Action, Subject, Verdict, judge

NOT_REQUESTED: Final = "not_requested"

_STATUS: Final[dict[Action, Status]] = {"send": "planned", "hold": "held", "drop": "dropped"}

Outcome = Literal["live", "held", "muted", "expired"]


class Recipient(msgspec.Struct, frozen=True):
    """What decides for one user: preferences in force, and the outside channels there is an address for."""

    preferences: Preferences
    reachable: frozenset[Channel]


class Collapsing:
    """The unread notifications that a newer one of their key would replace, as they stand in this transaction."""

    def __init__(self, candidates: Iterable[Row]) -> None:
        self._by_key: dict[tuple[int, str], dict[int, Row]] = {}
        for row in candidates:
            self.add(row)

    def add(self, row: Row) -> None:
        """From now on `row` may be replaced by a newer one. Again after a change: the row as it is then."""
        if row.collapse_key is not None:
            self._by_key.setdefault((row.user_id, row.collapse_key), {})[row.id] = row

    def discard(self, row: Row) -> None:
        """`row` is gone."""
        if row.collapse_key is not None:
            self._by_key.get((row.user_id, row.collapse_key), {}).pop(row.id, None)

    def follow(self, before: Row, after: Row | None) -> None:
        """A row has been changed, or deleted (None): it may be replaced, or may not any more."""
        if after is not None and after.state in ("live", "held") and not after.is_read:
            self.add(after)
        else:
            self.discard(before)

    def replace(self, changes: Changes, newer: Row, states: Sequence[State]) -> None:
        """Delete the older ones of `newer`'s key that are in one of `states`."""
        if newer.collapse_key is None:
            return
        waiting = self._by_key.get((newer.user_id, newer.collapse_key), {})
        for row in sorted(waiting.values(), key=lambda row: row.id):
            if row.id < newer.id and row.state in states:
                del waiting[row.id]
                delete(changes, row, replaced_by=newer.id)


def subject_of(source: Draft | Row, channel: Channel, *, waited: bool = False) -> Subject:
    """What the verdict asks about one notification on one channel. `waited`: it has once waited for a batch."""
    return Subject(
        channel=channel,
        type=source.type,
        category=source.category,
        priority=source.priority,
        expires_at=source.expires_at,
        deliver_at=source.deliver_at,
        snoozed_until=source.snoozed_until if isinstance(source, Row) else None,
        has_waited=waited,
    )


def hold_of(verdict: Verdict) -> Hold:
    """The reason to keep with a held row."""
    return "schedule" if verdict.rule == "deliver_at" else "snooze" if verdict.rule == "snooze" else "quiet"


def plan_creation(
    changes: Changes,
    tenant_id: str,
    drafts: Sequence[Draft],
    ids: Sequence[int],
    recipients: Mapping[int, Recipient],
    collapsing: Collapsing,
) -> list[Row]:
    """One row a draft, in their order, as each is right after it was made; `state` is its outcome.

    `ids` ascend. A row that a later draft of the same batch replaces is told of, but never written.
    """
    rows: list[Row] = []
    for draft, notification_id in zip(drafts, ids, strict=True):
        recipient = recipients[draft.user_id]
        row, reason = _born(changes, tenant_id, draft, notification_id, recipient.preferences)
        changes.deliveries[row.id] = [in_app(row, reason, changes.now), *_outside(changes, row.id, draft, recipient)]
        if row.state == "live":
            collapsing.replace(changes, row, ("live", "held"))
            changes.put(None, row, CREATED, rings=recipient.preferences.enable_desktop_notifications)
        else:
            if row.state == "held":
                collapsing.replace(changes, row, ("held",))
            changes.put(None, row, None)
        if row.state in ("live", "held"):
            collapsing.add(row)
        rows.append(row)
    return rows


def _born(
    changes: Changes, tenant_id: str, draft: Draft, notification_id: int, preferences: Preferences
) -> tuple[Row, str | None]:
    row = Row(
        id=notification_id,
        tenant_id=tenant_id,
        user_id=draft.user_id,
        type=draft.type,
        title=draft.title,
        message=draft.message,
        priority=draft.priority,
        category=draft.category,
        action_url=draft.action_url,
        expires_at=draft.expires_at,
        deliver_at=draft.deliver_at,
        related_entity_type=draft.related_entity_type,
        related_entity_id=draft.related_entity_id,
        data=draft.data,
        collapse_key=draft.collapse_key,
        created_by=draft.created_by,
        created_by_key=draft.created_by_key,
        broadcast_id=draft.broadcast_id,
        created_at=changes.now,
        updated_at=changes.now,
        state="live",
    )
    verdict = judge(subject_of(draft, "in_app"), preferences, changes.now)
    if verdict.action == "drop":
        row.state = "expired" if verdict.rule == "expired" else "muted"
        return row, verdict.rule
    if draft.channels is not None and "in_app" not in draft.channels:
        row.state = "muted"
        return row, NOT_REQUESTED
    if verdict.action == "hold":
        row.state = "held"
        row.hold_reason = hold_of(verdict)
        row.held_until = row.due_at = verdict.until
        return row, verdict.rule
    return row, None


def _outside(changes: Changes, notification_id: int, draft: Draft, recipient: Recipient) -> Iterable[Delivery]:
    wanted = recipient.reachable if draft.channels is None else draft.channels
    for channel in OUTSIDE:
        if channel in wanted:
            verdict = judge(subject_of(draft, channel), recipient.preferences, changes.now)
            yield delivery_of(notification_id, draft.user_id, channel, verdict)


def delivery_of(
    notification_id: int, user_id: int, channel: Channel, verdict: Verdict, *, has_waited: bool = False
) -> Delivery:
    """The row of an outside channel after a verdict."""
    return Delivery(
        notification_id=notification_id,
        user_id=user_id,
        channel=channel,
        status=_STATUS[verdict.action],
        reason=None if verdict.action == "send" else verdict.rule,
        not_before=verdict.until if verdict.action == "hold" else None,
        has_waited=has_waited,
    )
