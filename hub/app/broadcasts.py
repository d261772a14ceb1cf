"""Broadcasts: accepted with their audience in one transaction, told in chunks that survive any death.

A chunk is a transaction that locks some streams, ascending, marks its recipients as told and writes what they are
told: all of it or nothing. So each recipient's part is done once, whoever dies, and whoever goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.create import plan_drafts
from hub.app.deps import Deps
from hub.app.directory import require
from hub.app.due import clock_of
from hub.app.errors import Invalid, NotFound
from hub.app.unit import Outcome, Unit, perform
from hub.core.log import LogUnavailable
from hub.core.notification import Draft
from hub.store import broadcasts
from hub.store.broadcasts import Figures, Reader
from hub.store.pool import Tx

CHUNK_MAX: Final = 100
"""Streams that one transaction locks: their people wait some ten milliseconds."""

NOBODY: Final = 0
"""`user_id` of a draft that is for an audience."""


class Accepted(msgspec.Struct):
    """A broadcast that is committed, with how many it will tell."""

    broadcast_id: int
    group: str | None
    audience: int


class UnreadPage(msgspec.Struct):
    """Some of those who have not read it, by id. `total` only where it was asked for."""

    items: list[Reader]
    total: int | None


async def broadcast(deps: Deps, caller: Caller, draft: Draft, group: str | None) -> Outcome[Accepted]:
    """Tell everyone of the tenant who has an inbox, or the members of a group. Answers once that is certain.

    Raises:
        Forbidden: for an admin only.
        Invalid: there is no such group, or nobody is in it.
    """
    require(caller, ("admin",))

    async def work(unit: Unit) -> Accepted:
        broadcast_id, audience = await broadcasts.insert_broadcast(unit.tx, unit.tenant_id, draft, group)
        if group is not None and not audience:
            raise Invalid([("$.group", "There is no such group, or nobody is in it.")])
        unit.audit("broadcast.create", "broadcast", broadcast_id, audience=audience, group=group)
        return Accepted(broadcast_id, group, audience)

    outcome = await perform(deps, caller, work)
    deps.wakes.broadcast.set()
    return outcome


async def read_figures(deps: Deps, caller: Caller, broadcast_id: int) -> Figures:
    """How far it has come. Raises `Forbidden` but for an admin, `NotFound`."""
    require(caller, ("admin",))
    async with deps.database.transaction(caller.tenant_id) as tx:
        return await _read(tx, caller, broadcast_id)


async def read_unread(
    deps: Deps, caller: Caller, broadcast_id: int, *, after: int, limit: int, offset: int, with_total: bool
) -> tuple[Figures, UnreadPage]:
    """The same, with `limit` of those who have not read it, by id above `after`, without the first `offset`."""
    require(caller, ("admin",))
    tenant_id = caller.tenant_id
    async with deps.database.transaction(tenant_id) as tx:
        figures = await _read(tx, caller, broadcast_id)
        items = await broadcasts.read_unread_audience(tx, tenant_id, broadcast_id, after, limit, offset)
        total = await broadcasts.count_unread_audience(tx, tenant_id, broadcast_id) if with_total else None
    return figures, UnreadPage(items, total)


async def _read(tx: Tx, caller: Caller, broadcast_id: int) -> Figures:
    found = await broadcasts.read_broadcast(tx, caller.tenant_id, broadcast_id)
    if found is None:
        raise NotFound("There is no such broadcast.")
    return found


async def fan_out(deps: Deps, tenant_id: str, broadcast_ids: Sequence[int]) -> int:
    """Tell the next chunk of each of these broadcasts, in turn. Returns how many recipients were told.

    One that fails does not keep the others waiting: what it raised is raised once they have had their turn.

    Raises:
        DatabaseUnavailable: at once, for the others too.
    """
    told = 0
    failure: Exception | None = None
    for broadcast_id in broadcast_ids:
        try:
            told += await _tell_chunk(deps, tenant_id, broadcast_id)
        except LogUnavailable:
            raise
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return told


async def _tell_chunk(deps: Deps, tenant_id: str, broadcast_id: int) -> int:
    async def work(unit: Unit) -> int:
        if not await broadcasts.claim_broadcast(unit.tx, tenant_id, broadcast_id):
            return 0
        waiting = await broadcasts.read_waiting(unit.tx, tenant_id, broadcast_id, CHUNK_MAX)
        await unit.lock(waiting)
        draft = await broadcasts.read_open(unit.tx, tenant_id, broadcast_id)
        if draft is None:
            return 0
        told = await broadcasts.take_waiting(unit.tx, tenant_id, broadcast_id, waiting)
        if told:
            await plan_drafts(unit, [replace(draft, user_id=user_id, broadcast_id=broadcast_id) for user_id in told])
        if len(waiting) < CHUNK_MAX:
            await broadcasts.complete_broadcast(unit.tx, tenant_id, broadcast_id)
        return len(told)

    return (await perform(deps, clock_of(tenant_id), work)).result or 0


async def stop(deps: Deps, caller: Caller, broadcast_id: int) -> None:
    """Tell nobody from here on, where the caller created it; who has been told by then is seen by what follows."""

    async def work(unit: Unit) -> None:
        principal = caller.principal
        if await broadcasts.stop_broadcast(
            unit.tx, unit.tenant_id, broadcast_id, principal.user_id, principal.api_key_id
        ):
            unit.audit("broadcast.withdraw", "broadcast", broadcast_id)

    await perform(deps, replace(caller, once=None), work)
