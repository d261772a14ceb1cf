"""What people do with their own notifications: read, archive, snooze, delete, and back; one by one or all.

Every change is a transaction that locks the person's own stream, so that what
another device does at the same moment is seen before or after, never half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Conflict, Forbidden, Invalid, NotFound
from hub.app.group_commit import perform_joint
from hub.app.joint import Joint, Locked
from hub.app.names import Signed, signed
from hub.app.unit import Outcome, Unit, perform
from hub.core import transitions
from hub.core.changes import READ_ALL, SEEN, Changes
from hub.core.counts import Counts
from hub.core.creation import Collapsing
from hub.core.notification import Row
from hub.core.release import plan_deliveries, plan_waking
from hub.core.transitions import ACTIONS, Action
from hub.core.wall_clock import instant_fault
from hub.store import deliveries, notifications


class Done(msgspec.Struct):
    """What an action on several came to: those that it found, as they are now; the deleted, and those that are
    not the caller's (another device may have been quicker), by id alone."""

    items: list[Signed]
    deleted: list[int]
    missing: list[int]


class Swept(msgspec.Struct):
    """What read-all or seen came to."""

    count: int
    before_seq: int
    counts: Counts


def inbox_owner(caller: Caller) -> int:
    """The user whose inbox this is.

    Raises:
        Forbidden: a producer has none.
    """
    user_id = caller.principal.user_id
    if user_id is None or caller.principal.role == "service":
        raise Forbidden("A service has no inbox of its own.")
    return user_id


async def act(deps: Deps, caller: Caller, ids: Sequence[int], action: Action) -> Outcome[Done]:
    """Do one thing to some of one's own notifications, in the order given, in one transaction.

    Raises:
        NotFound: none of the ids is one of the caller's own.
    """
    user_id = inbox_owner(caller)
    wanted = list(dict.fromkeys(ids))
    step = ACTIONS[action]

    def decide(locked: Locked) -> Done:
        rows = locked.own_rows(user_id, wanted)
        changes = locked.changes
        touched: list[int] = []
        for row in rows:
            steps = changes.steps
            step(changes, row)
            if changes.steps != steps:
                touched.append(row.id)
                locked.collapsing.follow(row, changes.updated.get(row.id))
        if touched:
            locked.audit(
                f"notification.{action}", "notification", touched[0] if len(touched) == 1 else None, ids=touched
            )
        return _done(changes, rows, wanted, locked.names)

    return await perform_joint(deps, caller, Joint(user_ids=[user_id], own_ids=wanted, decide=decide))


async def snooze(deps: Deps, caller: Caller, notification_id: int, until: datetime) -> Outcome[Done]:
    """Put one's own notification out of the inbox until an instant in the future.

    Raises:
        NotFound, Invalid (an instant that has passed), Conflict (muted or expired).
    """

    if fault := instant_fault(until):
        raise Invalid([("$.until", fault)])
    until = until.astimezone(UTC)

    user_id = inbox_owner(caller)

    async def work(unit: Unit) -> Done:
        await unit.lock([user_id])
        row = await _own_row(unit, user_id, notification_id)
        facts = await unit.read_facts(deciding=[user_id], authors=_author(row))
        changes = unit.changes
        if until <= changes.now:
            raise Invalid([("$.until", "Must be in the future.")])
        if row.state not in ("live", "held"):
            raise Conflict(f"A notification that is {row.state} cannot be snoozed.", state=row.state)
        transitions.snooze(changes, row, until)
        # What of it waits for the outside is judged again.
        pending = await deliveries.read_pending(unit.tx, unit.tenant_id, [row.id])
        snoozed = changes.updated.get(row.id, row)
        plan_deliveries(changes, pending, {row.id: snoozed}, facts.recipients([user_id])[user_id].preferences)
        if changes.steps:
            unit.audit("notification.snooze", "notification", row.id, ids=[row.id])
        return _done(changes, [row], [row.id], facts.names)

    return await perform(deps, caller, work)


async def unsnooze(deps: Deps, caller: Caller, notification_id: int) -> Outcome[Done]:
    """End a snooze now: live again, unless something else holds it. Idempotent.

    Raises:
        NotFound
    """
    user_id = inbox_owner(caller)

    async def work(unit: Unit) -> Done:
        await unit.lock([user_id])
        row = await _own_row(unit, user_id, notification_id)
        keys = [row.collapse_key] if row.collapse_key is not None else []
        facts = await unit.read_facts(deciding=[user_id], keys=keys, authors=_author(row))
        if row.snoozed_until is not None:
            preferences = facts.recipients([user_id])[user_id].preferences
            plan_waking(unit.changes, row, preferences, Collapsing(facts.unread))
            pending = await deliveries.read_pending(unit.tx, unit.tenant_id, [row.id])
            awake = unit.changes.updated.get(row.id, row)
            plan_deliveries(unit.changes, pending, {row.id: awake}, preferences)
            unit.audit("notification.unsnooze", "notification", row.id)
        return _done(unit.changes, [row], [row.id], facts.names)

    return await perform(deps, caller, work)


async def cancel_schedule(deps: Deps, caller: Caller, notification_id: int) -> Outcome[None]:
    """Take back what is scheduled and has not gone yet: by its recipient or by who created it.

    Raises:
        NotFound: none that the caller may know of.
        Conflict: it is not waiting for its time (any more).
    """

    async def work(unit: Unit) -> None:
        owner = await notifications.read_row(unit.tx, unit.tenant_id, notification_id)
        if owner is None or not is_known_to(caller, owner):
            raise NotFound("There is no such notification.")
        await unit.lock([owner.user_id])
        rows = await notifications.read_rows(unit.tx, unit.tenant_id, [owner.user_id], [notification_id])
        if not rows:
            raise NotFound("There is no such notification.")
        await unit.read_facts()
        row = rows[0]
        waits = row.state == "held" or (row.deliver_at is not None and row.deliver_at > unit.changes.now)
        if row.deliver_at is None or row.live_seq is not None or not waits:
            raise Conflict("The notification is not waiting for its time.", state=row.state)
        transitions.delete(unit.changes, row)
        unit.audit("notification.cancel_schedule", "notification", row.id)

    return await perform(deps, caller, work)


def is_known_to(caller: Caller, row: Row) -> bool:
    """True for whom it is for, and for who made it."""
    principal = caller.principal
    if principal.role != "service" and row.user_id == principal.user_id:
        return True
    return (row.created_by, row.created_by_key) == (principal.user_id, principal.api_key_id)


async def sweep(deps: Deps, caller: Caller, what: Literal["read_all", "seen"], before: int | None) -> Outcome[Swept]:
    """Mark as read, or as seen, all that is live and went live no later than `before` did (by `seq`, not by id).

    Without `before`: all that is live at the commit. What is held is not touched; what is archived is, since it
    went live too. Makes one event, and none where nothing changes.

    Raises:
        NotFound: `before` is none of the caller's own.
        Conflict: `before` has not been live.
    """
    user_id = inbox_owner(caller)

    async def work(unit: Unit) -> Swept:
        await unit.lock([user_id])
        last = await _own_row(unit, user_id, before) if before is not None else None
        if last is not None and last.live_seq is None:
            raise Conflict("The notification named in `before` has not been live yet.", state=last.state)
        await unit.read_facts()
        inbox = unit.changes.inboxes[user_id]
        before_seq = inbox.head if last is None or last.live_seq is None else last.live_seq
        mark = notifications.mark_all_read if what == "read_all" else notifications.mark_all_seen
        taken = await mark(unit.tx, unit.tenant_id, user_id, before_seq, unit.changes.now)
        count = sum(part.rows for part in taken)
        if count:
            counts = inbox.counts
            for part in taken:
                counts = counts.changed(part.priority, unread=-part.unread, unseen=-part.unseen)
            inbox.append(
                READ_ALL if what == "read_all" else SEEN,
                "normal",
                unit.changes.now,
                {"before_seq": before_seq, "count": count},
                counts=counts,
            )
            unit.audit(f"notifications.{what}", "inbox", user_id, count=count, before_seq=before_seq)
        return Swept(count, before_seq, inbox.counts)

    return await perform(deps, caller, work)


async def _own_row(unit: Unit, user_id: int, notification_id: int) -> Row:
    rows = await notifications.read_rows(unit.tx, unit.tenant_id, [user_id], [notification_id])
    if not rows:
        raise NotFound("There is no such notification.")
    return rows[0]


def _author(row: Row) -> list[int]:
    return [] if row.created_by is None else [row.created_by]


def _done(changes: Changes, rows: Sequence[Row], wanted: Sequence[int], names: Mapping[int, str]) -> Done:
    found = {row.id for row in rows}
    return Done(
        items=[signed(changes.updated.get(row.id, row), names) for row in rows if row.id not in changes.deleted],
        deleted=[row.id for row in rows if row.id in changes.deleted],
        missing=[notification_id for notification_id in wanted if notification_id not in found],
    )
