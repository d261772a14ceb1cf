"""Preferences: what a person chooses, and what that does at once to all that waits for them.

A change is saved, told by an event, and everything held is judged anew in the same transaction (the routine of
a release). A very long queue is judged in part; the rest is made due, and the release worker is woken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.due import ROWS_MAX, collapse_keys, plan_releases
from hub.app.errors import Forbidden, Invalid
from hub.app.unit import Outcome, Unit, perform
from hub.core.changes import PREFERENCES
from hub.core.preferences import Preferences, check_locked, check_preferences
from hub.core.release import plan_deliveries
from hub.store import deliveries, notifications, people
from hub.store.people import Chosen

Change = Callable[[Preferences, Preferences], Preferences]
"""From (those in force, the tenant's defaults) to those that are to be kept; may raise `Invalid`."""

_FOR_OTHERS: Final = ("admin", "service")


def whose(caller: Caller, user_id: int | None) -> int:
    """The user whose preferences are meant: one's own, or, for an admin or a service, anyone's.

    Raises:
        Forbidden: someone else's, or a service that names nobody.
    """
    own = caller.principal.user_id if caller.principal.role != "service" else None
    if user_id is None or user_id == own:
        if own is None:
            raise Forbidden("A service has no preferences of its own: name a user.")
        return own
    if caller.principal.role not in _FOR_OTHERS:
        raise Forbidden("Only an admin or a service sees the preferences of others.")
    return user_id


async def read_preferences(deps: Deps, caller: Caller, user_id: int | None = None) -> Outcome[Preferences]:
    """The preferences in force. Raises `Forbidden`."""
    owner = whose(caller, user_id)
    async with deps.database.snapshot(caller.tenant_id) as tx:
        chosen = await people.read_preferences(tx, caller.tenant_id, owner)
        return Outcome(chosen.in_force, None, await Unit(tx, caller).position())


async def change_preferences(
    deps: Deps, caller: Caller, change: Change, user_id: int | None = None
) -> Outcome[Preferences]:
    """Keep what `change` makes of the preferences, under the lock, so that two changes of different fields both last.

    Answers those in force. Saying again what holds already changes nothing, and is not told.

    Raises:
        Forbidden: someone else's.
        Invalid: naming every field that is wrong, or locked by the tenant.
    """
    owner = whose(caller, user_id)

    async def work(unit: Unit) -> Preferences:
        await unit.lock([owner])
        chosen = await people.read_preferences(unit.tx, unit.tenant_id, owner)
        # Not from what is kept: what was switched off before it was locked would bar every other change.
        wanted = change(chosen.in_force, chosen.defaults)
        _refuse_bad(wanted, chosen)
        if chosen.own is not None and wanted == chosen.in_force:
            return chosen.in_force
        return await _keep(unit, owner, chosen, wanted)

    return await perform(deps, caller, work)


async def set_quiet_until(
    deps: Deps, caller: Caller, user_id: int, quiet_until: datetime | None
) -> Outcome[Preferences]:
    """What the telephone system says while a call lasts: quiet until then; null ends it. Idempotent.

    Raises:
        Forbidden: for a service (and an admin) only.
    """
    if caller.principal.role not in _FOR_OTHERS:
        raise Forbidden("Only a service sets the quiet of others.")
    return await change_preferences(deps, caller, lambda current, _: replace(current, quiet_until=quiet_until), user_id)


def _refuse_bad(wanted: Preferences, chosen: Chosen) -> None:
    violations = check_preferences(wanted)
    if chosen.tenant is not None:
        violations += check_locked(wanted, chosen.tenant.defaults, chosen.tenant.locked)
    if violations:
        raise Invalid(violations)


async def _keep(unit: Unit, owner: int, chosen: Chosen, wanted: Preferences) -> Preferences:
    held = await notifications.read_held(unit.tx, unit.tenant_id, owner, ROWS_MAX)
    await people.save_preferences(unit.tx, unit.tenant_id, owner, wanted)
    # Reads the row just written: what follows is judged by what was saved, not by a copy of it.
    facts = await unit.read_facts(deciding=[owner], keys=collapse_keys(held))
    in_force = facts.recipients([owner])[owner].preferences
    unit.changes.inboxes[owner].append(PREFERENCES, "normal", facts.now, in_force)
    plan_releases(unit.changes, facts, held)
    rows, pending = await deliveries.read_pending_of_user(unit.tx, unit.tenant_id, owner, ROWS_MAX)
    plan_deliveries(unit.changes, pending, {**rows, **unit.changes.updated}, in_force)
    if len(held) == ROWS_MAX:
        await notifications.mark_held_due(unit.tx, unit.tenant_id, owner, [row.id for row in held])
        unit.wake_release = True
    unit.audit("preferences.update", "preferences", owner, fields=_difference(chosen.own or chosen.defaults, wanted))
    return in_force


def _difference(before: Preferences, after: Preferences) -> Mapping[str, list[Any]]:
    """Which fields changed, from what to what: nothing in preferences is content."""
    return {
        name: [getattr(before, name), getattr(after, name)]
        for name in Preferences.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    }
