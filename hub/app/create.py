"""Creating notifications: one, to many, or many different ones, always in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Forbidden
from hub.app.unit import Outcome, Unit, perform
from hub.core.creation import Collapsing, plan_creation
from hub.core.creation import Outcome as Fate
from hub.core.notification import Draft, Notification, Row, shown


class Created(Notification, kw_only=True):
    """A notification just made, and what became of it."""

    outcome: Fate


def created(row: Row) -> Created:
    return Created(**msgspec.structs.asdict(shown(row)), outcome=row.state)


async def create(deps: Deps, caller: Caller, drafts: Sequence[Draft]) -> Outcome[list[Created]]:
    """Make one notification a draft, in one transaction; the answers in the order of the drafts.

    Raises:
        Forbidden: an agent notifies no one but themselves.
    """
    if caller.principal.role == "agent" and any(draft.user_id != caller.principal.user_id for draft in drafts):
        raise Forbidden("An agent can notify only themselves.")

    async def work(unit: Unit) -> list[Created]:
        rows = await write_drafts(unit, drafts)
        unit.audit(
            "notification.create",
            "notification",
            rows[0].id if len(rows) == 1 else None,
            count=len(rows),
            ids=[row.id for row in rows],
        )
        return [created(row) for row in rows]

    return await perform(deps, caller, work)


async def write_drafts(unit: Unit, drafts: Sequence[Draft]) -> list[Row]:
    """Lock, read, judge and collect: what any use case calls that notifies people. Locks the streams."""
    user_ids = {draft.user_id for draft in drafts}
    await unit.lock(user_ids)
    facts = await unit.read_facts(
        deciding=user_ids,
        keys={draft.collapse_key for draft in drafts if draft.collapse_key is not None},
        fresh=len(drafts),
    )
    return plan_creation(
        unit.changes, unit.tenant_id, drafts, facts.ids, facts.recipients(user_ids), Collapsing(facts.unread)
    )
