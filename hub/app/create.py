"""Creating notifications: one, to many, or many different ones, always in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import members_of
from hub.app.errors import Forbidden, Invalid
from hub.app.group_commit import perform_joint
from hub.app.joint import Joint, Locked, work_of
from hub.app.unit import Outcome, Unit, perform
from hub.core.creation import Collapsing, plan_creation
from hub.core.creation import Outcome as Fate
from hub.core.notification import Draft, Notification, Row, shown

RECIPIENTS_MAX: Final = 1000
"""How many streams one transaction locks at most: more would make their people wait."""


class ToGroup(msgspec.Struct, frozen=True):
    """A draft for each member of a group, whoever that is when it is written."""

    group: str
    draft: Draft


class Created(Notification, kw_only=True):
    """A notification just made, and what became of it."""

    outcome: Fate


def created(row: Row) -> Created:
    return Created(**msgspec.structs.asdict(shown(row)), outcome=row.state)


async def create(deps: Deps, caller: Caller, drafts: Sequence[Draft | ToGroup]) -> Outcome[list[Created]]:
    """Make one notification a draft and recipient, in one transaction; the answers in the order of the drafts.

    Raises:
        Forbidden: an agent notifies no one but themselves.
        Invalid: a group is unknown or empty, or there are more than `RECIPIENTS_MAX` recipients.
    """
    own = caller.principal.user_id
    if caller.principal.role == "agent" and any(isinstance(one, ToGroup) or one.user_id != own for one in drafts):
        raise Forbidden("An agent can notify only themselves.")
    named = [one for one in drafts if isinstance(one, Draft)]
    if len(named) == len(drafts):
        return await perform_joint(deps, caller, _joint(named))

    async def work(unit: Unit) -> list[Created]:
        # Who belongs to a group is read first, so this one goes by itself.
        return await work_of(_joint(await _with_members(unit, drafts)))(unit)

    return await perform(deps, caller, work)


def _joint(drafts: Sequence[Draft]) -> Joint[list[Created]]:
    if len(drafts) > RECIPIENTS_MAX:
        raise Invalid([("$.items", f"Names {len(drafts)} recipients; at most {RECIPIENTS_MAX} at once.")])
    user_ids = {draft.user_id for draft in drafts}

    def decide(locked: Locked) -> list[Created]:
        rows = plan_creation(
            locked.changes, locked.tenant_id, drafts, locked.ids, locked.recipients(user_ids), locked.collapsing
        )
        locked.audit(
            "notification.create",
            "notification",
            rows[0].id if len(rows) == 1 else None,
            count=len(rows),
            ids=[row.id for row in rows],
        )
        return [created(row) for row in rows]

    keys = {draft.collapse_key for draft in drafts if draft.collapse_key is not None}
    return Joint(user_ids=user_ids, decide=decide, is_judging=True, keys=keys, fresh=len(drafts))


async def _with_members(unit: Unit, drafts: Sequence[Draft | ToGroup]) -> list[Draft]:
    found: list[Draft] = []
    for one in drafts:
        if isinstance(one, ToGroup):
            members = await members_of(unit, one.group, RECIPIENTS_MAX)
            found.extend(replace(one.draft, user_id=user_id) for user_id in members)
        else:
            found.append(one)
    return found


async def write_drafts(unit: Unit, drafts: Sequence[Draft]) -> list[Row]:
    """Lock, read, judge and collect: what any use case calls that notifies people. Locks the streams."""
    await unit.lock({draft.user_id for draft in drafts})
    return await plan_drafts(unit, drafts)


async def plan_drafts(unit: Unit, drafts: Sequence[Draft]) -> list[Row]:
    """The same for users whose streams are locked already."""
    user_ids = {draft.user_id for draft in drafts}
    facts = await unit.read_facts(
        deciding=user_ids,
        keys={draft.collapse_key for draft in drafts if draft.collapse_key is not None},
        fresh=len(drafts),
    )
    return plan_creation(
        unit.changes, unit.tenant_id, drafts, facts.ids, facts.recipients(user_ids), Collapsing(facts.unread)
    )
