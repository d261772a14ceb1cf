"""What an admin does for a whole tenant: its settings, and reading its trail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import require
from hub.app.errors import Invalid
from hub.app.task_time import replan_reminders
from hub.app.unit import Outcome, Unit, perform
from hub.core.tenant import TenantLimits, TenantSettings, check_settings
from hub.store import tenants
from hub.store.tenants import Deed, TrailAsked

USERS_MAX: Final = 200
"""Streams locked by one part of a judging anew."""


class TrailPage(msgspec.Struct):
    """One page, newest first. `total` only where it was asked for."""

    items: list[Deed]
    total: int | None


async def read_settings(deps: Deps, caller: Caller) -> TenantSettings:
    """Raises `Forbidden` but for an admin."""
    require(caller, ("admin",))
    async with deps.database.transaction(caller.tenant_id) as tx:
        return await tenants.read_settings(tx, caller.tenant_id)


async def read_limits(deps: Deps, tenant_id: str) -> TenantLimits:
    """How much of the hub a tenant has given itself. For the hub's own use. Raises `DatabaseUnavailable`."""
    async with deps.database.transaction(tenant_id) as tx:
        return (await tenants.read_settings(tx, tenant_id)).limits


async def change_settings(
    deps: Deps, caller: Caller, change: Callable[[TenantSettings], TenantSettings]
) -> Outcome[TenantSettings]:
    """Keep what `change` makes of the settings, under a lock, so that two changes of different fields both last.

    All that waits for quiet hours is due to be judged anew, and reminders are planned anew, before this answers: a
    bounded set of people or tasks at a time, and again when it is asked again, so that what dies in between is
    finished.

    Raises:
        Forbidden: for an admin only.
        Invalid: naming every field that is wrong.
    """
    require(caller, ("admin",))

    async def work(unit: Unit) -> TenantSettings:
        before = await tenants.lock_settings(unit.tx, unit.tenant_id)
        after = change(before)
        if violations := list(check_settings(after)):
            raise Invalid(violations)
        await tenants.save_settings(unit.tx, unit.tenant_id, after)
        if after != before:
            unit.audit("settings.update", "settings", unit.tenant_id, fields=_difference(before, after))
        return after

    outcome = await perform(deps, caller, work)
    # Even where nothing changed: the one before may have died here.
    await _judge_anew(deps, caller)
    await replan_reminders(deps, caller)
    return outcome


async def _judge_anew(deps: Deps, caller: Caller) -> None:
    last: int | None = 0
    while last is not None:

        async def part(unit: Unit, after: int = last) -> int | None:
            user_ids = await tenants.find_held_users(unit.tx, unit.tenant_id, after, USERS_MAX)
            if not user_ids:
                return None
            await unit.lock(user_ids)
            await tenants.mark_quiet_due(unit.tx, unit.tenant_id, user_ids)
            unit.wake_release = True
            return user_ids[-1]

        last = (await perform(deps, replace(caller, once=None), part)).result


def _difference(before: TenantSettings, after: TenantSettings) -> dict[str, list[Any]]:
    """Which fields changed, from what to what: nothing in settings is content."""
    return {
        name: [getattr(before, name), getattr(after, name)]
        for name in TenantSettings.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    }


async def read_trail(deps: Deps, caller: Caller, asked: TrailAsked, *, with_total: bool) -> TrailPage:
    """Who did what, newest first. Raises `Forbidden` but for an admin."""
    require(caller, ("admin",))
    async with deps.database.transaction(caller.tenant_id) as tx:
        items = await tenants.read_trail(tx, caller.tenant_id, asked)
        total = await tenants.count_trail(tx, caller.tenant_id, asked) if with_total else None
    return TrailPage(items, total)
