"""Creating notifications: one, to many, or many different ones, always in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import members_of
from hub.app.errors import Forbidden, Invalid
from hub.app.group_commit import perform_joint
from hub.app.joint import Joint, Locked, work_of
from hub.app.names import Signed
from hub.app.unit import Outcome, Unit, first_outcome, key_of, perform
from hub.app.wording import Worded, word
from hub.core.creation import Collapsing, plan_creation
from hub.core.creation import Outcome as Fate
from hub.core.notification import Draft, Notification, Row
from hub.store import idempotency, templates

RECIPIENTS_MAX: Final = 1000
"""How many streams one transaction locks at most: more would make their people wait."""


class ToGroup(msgspec.Struct, frozen=True):
    """A draft for each member of a group, whoever that is when it is written."""

    group: str
    draft: Draft | Worded


class Created(Signed, kw_only=True):
    """A notification just made, and what became of it."""

    outcome: Fate


_SHOWN: Final = Notification.__struct_fields__


def created(row: Row, names: Mapping[int, str]) -> Created:
    # A row begins with what is shown of it.
    one = Created(outcome=row.state, **dict(zip(_SHOWN, msgspec.structs.astuple(row), strict=False)))
    one.created_by_name = names.get(row.created_by or 0, UNSET)
    return one


async def create(deps: Deps, caller: Caller, drafts: Sequence[Draft | Worded | ToGroup]) -> Outcome[list[Created]]:
    """Make one notification a draft and recipient, in one transaction; the answers in the order of the drafts.

    Raises:
        Forbidden: an agent notifies no one but themselves.
        Invalid: a group is unknown or empty, a template gives no text, or there are more than `RECIPIENTS_MAX`
            recipients.
    """
    own = caller.principal.user_id
    if caller.principal.role == "agent" and any(
        isinstance(one, ToGroup) or _draft_of(one).user_id != own for one in drafts
    ):
        raise Forbidden("An agent can notify only themselves.")
    named = [one for one in drafts if isinstance(one, Draft)]
    if len(named) == len(drafts):
        return await perform_joint(deps, caller, _joint(named))
    if any(isinstance(one.draft if isinstance(one, ToGroup) else one, Worded) for one in drafts):
        return await _create_worded(deps, caller, drafts)

    async def work(unit: Unit) -> list[Created]:
        # Who belongs to a group is read first, so this one goes by itself.
        plain = [one for one in await _with_members(unit, drafts) if isinstance(one, Draft)]
        return await work_of(_joint(plain))(unit)

    return await perform(deps, caller, work)


async def _create_worded(
    deps: Deps, caller: Caller, drafts: Sequence[Draft | Worded | ToGroup]
) -> Outcome[list[Created]]:
    """Texts are made before anything is locked; a repeated request is answered without making any."""
    async with deps.database.transaction(caller.tenant_id) as tx:
        if (once := caller.once) is not None:
            kept = await idempotency.read_key(tx, key_of(caller, once))
            if kept is not None:
                return first_outcome(kept, once)
        recipients = await _with_members(Unit(tx, caller), drafts)
    plain, used = await word(deps, caller, recipients)
    joint = _joint(plain)

    async def work(unit: Unit) -> list[Created]:
        made = await work_of(joint)(unit)
        await templates.mark_used(unit.tx, unit.tenant_id, used)
        return made

    return await perform(deps, caller, work)


def _draft_of(one: Draft | Worded) -> Draft:
    return one.draft if isinstance(one, Worded) else one


def addressed(one: Draft | Worded, user_id: int) -> Draft | Worded:
    """The same for this user."""
    if isinstance(one, Worded):
        return replace(one, draft=replace(one.draft, user_id=user_id))
    return replace(one, user_id=user_id)


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
        return [created(row, locked.names) for row in rows]

    keys = {draft.collapse_key for draft in drafts if draft.collapse_key is not None}
    return Joint(user_ids=user_ids, decide=decide, is_judging=True, keys=keys, fresh=len(drafts))


async def _with_members(unit: Unit, drafts: Sequence[Draft | Worded | ToGroup]) -> list[Draft | Worded]:
    found: list[Draft | Worded] = []
    for one in drafts:
        if isinstance(one, ToGroup):
            members = await members_of(unit, one.group, RECIPIENTS_MAX)
            found.extend(addressed(one.draft, user_id) for user_id in members)
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
