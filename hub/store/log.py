"""The users' streams as readers see them: what the gateway calls its log.

Implements `hub.gateway.ports.Log`. Each answer comes from one snapshot, with the
epoch of that snapshot, so that no number of one history is read as another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from hub.core.counts import Counts
from hub.core.event import Event
from hub.core.log import Moved, Page, StreamState, Sweep
from hub.store.pool import Database
from hub.store.sql import queries
from hub.store.streams import counts_of

_SQL: Final = queries("streams")


def _event(row: Any) -> Event:
    seq, lane, rings, released, tail = row
    return Event(seq, lane, rings, tail, released)


def _badge(row: Any) -> Counts:
    """The counts of what the reader will show: of one who is being erased that is nothing, unless they go on."""
    return Counts() if row["is_erasing"] and not row["resumable"] else counts_of(row)


class StreamLog:
    """Reads and acknowledges streams. Every method raises `DatabaseUnavailable`, which is a `LogUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_state(self, tenant_id: str, user_id: int, cursor: int | None) -> StreamState:
        """The stream's state, and whether `cursor` can be resumed from. Creates the stream where there is none."""
        (state,) = await self._read_states(tenant_id, [(user_id, cursor)])
        return state

    async def read_states(self, asked: Sequence[tuple[str, int, int | None]]) -> list[StreamState]:
        """`read_state` for many (tenant, user, cursor), in their order: one transaction a tenant."""
        states: list[StreamState | None] = [None] * len(asked)
        places = sorted(range(len(asked)), key=lambda place: asked[place][0])
        for tenant_id, group in groupby(places, key=lambda place: asked[place][0]):
            own = list(group)
            for place, state in zip(own, await self._read_states(tenant_id, [asked[p][1:] for p in own]), strict=True):
                states[place] = state
        return [state for state in states if state is not None]

    async def _read_states(self, tenant_id: str, asked: list[tuple[int, int | None]]) -> list[StreamState]:
        users, cursors = [user for user, _ in asked], [cursor for _, cursor in asked]
        async with self._database.transaction(tenant_id) as tx:
            rows = await tx.fetch(_SQL["read_states"], tenant_id, users, cursors)
            if len(rows) < len(asked):
                await tx.execute(_SQL["make_streams"], tenant_id, users)
                rows = await tx.fetch(_SQL["read_states"], tenant_id, users, cursors)
        return [StreamState(row["epoch"], row["head"], _badge(row), row["resumable"]) for row in rows]

    async def read_after(self, tenant_id: str, user_id: int, seq: int, *, count_max: int, bytes_max: int) -> Page:
        """The events with a number above `seq`, ascending; at least one where there is one, however large."""
        async with self._database.transaction(tenant_id) as tx:
            row = await tx.fetchrow(_SQL["read_after"], tenant_id, user_id, seq, count_max, bytes_max)
        return Page(row["epoch"], row["head"], [_event(entry) for entry in row["events"]])

    async def read_critical_after(self, tenant_id: str, user_id: int, seq: int, *, count_max: int) -> list[Event]:
        """The first critical `notification.created` events above `seq`, ascending."""
        async with self._database.transaction(tenant_id) as tx:
            return [
                _event(row) for row in await tx.fetch(_SQL["read_critical_after"], tenant_id, user_id, seq, count_max)
            ]

    async def sweep(self, users: Sequence[tuple[str, int, int]]) -> Sweep:
        """For (tenant, user, admitted_seq): which heads differ. One query, whatever the number of users."""
        tenants, ids, seqs = _columns(users)
        async with self._database.system() as tx:
            row = await tx.fetchrow(_SQL["sweep"], tenants, ids, seqs)
        return Sweep(row["epoch"], [Moved(*moved) for moved in row["moved"]])

    async def acknowledge(self, cursors: Sequence[tuple[str, int, int]]) -> None:
        """Record (tenant, user, cursor) as delivered in the app. Idempotent; a lower cursor changes nothing.

        A transaction a tenant: where one fails, those before it stand.
        """
        for tenant_id, own in groupby(sorted(cursors), key=lambda cursor: cursor[0]):
            _, ids, seqs = _columns(own)
            async with self._database.transaction(tenant_id) as tx:
                await tx.execute(_SQL["acknowledge"], tenant_id, ids, seqs)


def _columns(users: Iterable[tuple[str, int, int]]) -> tuple[list[str], list[int], list[int]]:
    tenants: list[str] = []
    ids: list[int] = []
    seqs: list[int] = []
    for tenant_id, user_id, seq in users:
        tenants.append(tenant_id)
        ids.append(user_id)
        seqs.append(seq)
    return tenants, ids, seqs
