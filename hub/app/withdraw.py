"""Taking back, and cleaning up: what touches any number of users, in bounded parts.

A part locks a bounded set of users, ascending (law 2), and is a transaction of its own; each is done once,
however often it is asked for, so what dies in the middle is finished by asking again. The answer is kept for an
idempotency key by the last part's transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace

from hub.app import broadcasts
from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Forbidden
from hub.app.unit import Outcome, Unit, first_outcome, key_of, perform
from hub.core.changes import CLEANED
from hub.core.transitions import delete
from hub.store import idempotency, notifications
from hub.store.notifications import Cleaned, Withdrawn

USERS_MAX: Final = 200
"""Streams locked by one part: its people wait some ten milliseconds."""


class Count(msgspec.Struct):
    """How many notifications it came to."""

    count: int


async def withdraw(deps: Deps, caller: Caller, asked: Withdrawn) -> Outcome[Count]:
    """Take back what the caller created: deleted on every device, cancelled where it has not left.

    Raises:
        Forbidden: an agent has nothing to take back.
    """
    if caller.principal.role == "agent":
        raise Forbidden("Only a supervisor or a service takes notifications back.")
    if asked.broadcast_id is not None:
        # First, so that nobody is told behind the back of what follows.
        await broadcasts.stop(deps, caller, asked.broadcast_id)

    async def part(unit: Unit, after: int) -> tuple[int, int | None]:
        user_ids = await notifications.find_withdrawn_users(unit.tx, unit.tenant_id, asked, after, USERS_MAX)
        if not user_ids:
            return 0, None
        await unit.lock(user_ids)
        rows = await notifications.read_withdrawn(unit.tx, unit.tenant_id, asked, user_ids)
        await unit.read_facts()
        for row in rows:
            delete(unit.changes, row)
        if rows:
            unit.audit("notification.withdraw", "notification", None, ids=[row.id for row in rows], count=len(rows))
        return len(rows), user_ids[-1]

    return await _in_parts(deps, caller, part)


async def clean_up(deps: Deps, caller: Caller, days: int, *, include_unread: bool) -> Outcome[Count]:
    """Delete what was created more than `days` days ago and is read, archived or expired (or, if asked, unread).

    Never what is held. Each user who loses something that was in the inbox is told by one event.

    Raises:
        Forbidden: the caller is no admin.
    """
    if caller.principal.role != "admin":
        raise Forbidden("Only an admin cleans up.")
    created_before = await _days_ago(deps, caller, days)

    async def part(unit: Unit, after: int) -> tuple[int, int | None]:
        user_ids = await notifications.find_cleaned_users(
            unit.tx, unit.tenant_id, created_before, include_unread, after, USERS_MAX
        )
        if not user_ids:
            return 0, None
        await unit.lock(user_ids)
        gone = await notifications.clean_up(unit.tx, unit.tenant_id, user_ids, created_before, include_unread)
        await unit.read_facts()
        _announce_cleaned(unit, gone, created_before, include_unread)
        total = sum(part.rows for part in gone)
        if total:
            unit.audit("notifications.cleanup", "inbox", None, count=total, days=days, include_unread=include_unread)
        return total, user_ids[-1]

    return await _in_parts(deps, caller, part)


def _announce_cleaned(unit: Unit, gone: list[Cleaned], created_before: datetime, include_unread: bool) -> None:
    by_user: defaultdict[int, list[Cleaned]] = defaultdict(list)
    for part in gone:
        by_user[part.user_id].append(part)
    for user_id, parts in by_user.items():
        count = sum(part.live for part in parts)
        if not count:
            continue
        inbox = unit.changes.inboxes[user_id]
        counts = inbox.counts
        for part in parts:
            counts = counts.changed(part.priority, unread=-part.unread, unseen=-part.unseen)
        data: dict[str, object] = {"created_before": created_before, "count": count}
        if include_unread:
            data["include_unread"] = True
        changed = counts if counts != inbox.counts else None
        inbox.append(CLEANED, "low", unit.changes.now, data, counts=changed)


async def _days_ago(deps: Deps, caller: Caller, days: int) -> datetime:
    async with deps.database.transaction(caller.tenant_id) as tx:
        return await notifications.read_days_ago(tx, days)


async def _in_parts(
    deps: Deps, caller: Caller, part: Callable[[Unit, int], Awaitable[tuple[int, int | None]]]
) -> Outcome[Count]:
    """Run `part(unit, after)` from user to user until it names no next one; answer the sum.

    The parts carry no idempotency key; it is asked about before and kept after, by a transaction of its own.
    """
    once = caller.once
    if once is not None:
        async with deps.database.transaction(caller.tenant_id) as tx:
            kept = await idempotency.read_key(tx, key_of(caller, once))
            if kept is not None:
                return first_outcome(kept, once)
    count, after = 0, 0
    keyless = replace(caller, once=None)
    while True:

        async def work(unit: Unit, after: int = after) -> tuple[int, int | None]:
            return await part(unit, after)

        done = (await perform(deps, keyless, work)).result
        if done is None or done[1] is None:
            break
        count += done[0]
        after = done[1]

    async def answer(_: Unit) -> Count:
        return Count(count)

    return await perform(deps, caller, answer)
