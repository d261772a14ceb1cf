"""What comes due by itself: holds that end, notifications that expire. Any node may do either.

Each step takes some users of one tenant in one transaction, and a bounded number of rows; what is left is due
still, and the next step takes it. Two nodes never queue up on the same users: whoever comes second skips them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.unit import Unit, perform
from hub.core.changes import Changes
from hub.core.creation import Collapsing
from hub.core.notification import Row
from hub.core.principal import Principal
from hub.core.release import plan_release
from hub.core.transitions import expire
from hub.store import notifications, streams
from hub.store.streams import Facts

ROWS_MAX: Final = 1000
"""Rows of one transaction: some ten milliseconds for which its users' streams are locked."""


def clock_of(tenant_id: str) -> Caller:
    """The caller that time itself is."""
    return Caller(Principal(tenant_id=tenant_id, user_id=None, role="service"))


async def release_due(deps: Deps, tenant_id: str, user_ids: Sequence[int]) -> int:
    """Ask again for what is due of these users, and let go live what nothing holds. Returns the rows looked at.

    Zero where nothing was due any more, or another node has these users now.
    """

    async def work(unit: Unit) -> int:
        mine = await streams.claim_users(unit.tx, tenant_id, user_ids)
        if not mine:
            return 0
        await unit.lock(mine)
        rows = await notifications.read_due(unit.tx, tenant_id, mine, ROWS_MAX)
        facts = await unit.read_facts(deciding={row.user_id for row in rows}, keys=collapse_keys(rows))
        plan_releases(unit.changes, facts, rows)
        return len(rows)

    outcome = await perform(deps, clock_of(tenant_id), work)
    return outcome.result or 0


def collapse_keys(rows: Iterable[Row]) -> set[str]:
    """The keys under which these rows replace others when they go live."""
    return {row.collapse_key for row in rows if row.collapse_key is not None}


def plan_releases(changes: Changes, facts: Facts, rows: Iterable[Row]) -> None:
    """Ask again for held rows of any of the locked users, by the facts that were read for them."""
    collapsing = Collapsing(facts.unread)
    by_user = {user_id: list(own) for user_id, own in groupby(sorted(rows, key=_owner), key=_owner)}
    for user_id, recipient in facts.recipients(by_user).items():
        plan_release(changes, by_user[user_id], recipient.preferences, collapsing)


def _owner(row: Row) -> int:
    return row.user_id


async def expire_due(deps: Deps, tenant_id: str, user_ids: Sequence[int]) -> int:
    """Let expire what has passed its time, of these users. Returns how many did."""

    async def work(unit: Unit) -> int:
        mine = await streams.claim_users(unit.tx, tenant_id, user_ids)
        if not mine:
            return 0
        await unit.lock(mine)
        rows = await notifications.read_expiring(unit.tx, tenant_id, mine, ROWS_MAX)
        await unit.read_facts()
        for row in rows:
            expire(unit.changes, row)
        return len(rows)

    outcome = await perform(deps, clock_of(tenant_id), work)
    return outcome.result or 0
