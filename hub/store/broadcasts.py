"""Broadcasts in PostgreSQL: accepted with their audience, told in chunks, counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from hub.core.notification import Draft
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("broadcasts")
_draft: Final = msgspec.json.Decoder(Draft).decode


PART_MAX: Final = 10_000
"""Rows of an audience written by one statement: far below the statement timeout, whatever the size of the tenant."""


class Figures(msgspec.Struct, kw_only=True):
    """How far a broadcast has come.

    `told`: recipients whose part is committed. `delivered`: a device of theirs has acknowledged it, or they have
    seen or read it. What a recipient has deleted since counts in none but `told`.
    """

    broadcast_id: int
    group: str | None
    created_by: int | None
    created_by_name: str | None
    created_at: datetime
    completed_at: datetime | None
    withdrawn_at: datetime | None
    audience: int
    told: int
    delivered: int
    seen: int
    read: int


class Reader(msgspec.Struct, frozen=True):
    """One of an audience."""

    user_id: int
    display_name: str | None


async def insert_broadcast(tx: Tx, tenant_id: str, draft: Draft, group: str | None) -> tuple[int, int]:
    """Keep it with its audience, which is fixed from here on: (id, size). Everyone with an inbox, or a group's members.

    `draft.user_id` means nobody.
    """
    text = msgspec.json.encode(draft).decode()
    made = await tx.fetchval(_SQL["insert_broadcast"], tenant_id, text, group, draft.created_by, draft.created_by_key)
    audience, last = 0, 0
    while last is not None:
        if group is None:
            part = await tx.fetchrow(_SQL["insert_everyone"], tenant_id, made, last, PART_MAX)
        else:
            part = await tx.fetchrow(_SQL["insert_members"], tenant_id, made, last, PART_MAX, group)
        audience += part["count"]
        last = part["last"]
    await tx.execute(_SQL["set_audience"], tenant_id, made, audience)
    return made, audience


async def claim_broadcast(tx: Tx, tenant_id: str, broadcast_id: int) -> bool:
    """True where no other worker has it in hand; it is this transaction's until it ends."""
    return await tx.fetchval(_SQL["claim_broadcast"], tenant_id, broadcast_id)


async def read_waiting(tx: Tx, tenant_id: str, broadcast_id: int, count_max: int) -> list[int]:
    """The next of the audience who have not been told, ascending; to be locked."""
    rows = await tx.fetch(_SQL["read_waiting"], tenant_id, broadcast_id, count_max)
    return [row["user_id"] for row in rows]


async def read_open(tx: Tx, tenant_id: str, broadcast_id: int) -> Draft | None:
    """What is to be told, or None where it was withdrawn or is complete. It cannot be withdrawn until the end."""
    text = await tx.fetchval(_SQL["read_open"], tenant_id, broadcast_id)
    return None if text is None else _draft(text)


async def take_waiting(tx: Tx, tenant_id: str, broadcast_id: int, user_ids: Sequence[int]) -> list[int]:
    """Those of the users, whose streams are locked, who have not been told: this transaction tells them. Ascending."""
    rows = await tx.fetch(_SQL["take_waiting"], tenant_id, broadcast_id, list(user_ids))
    return sorted(row["user_id"] for row in rows)


async def complete_broadcast(tx: Tx, tenant_id: str, broadcast_id: int) -> None:
    """Note that nobody waits any more, where that is so."""
    await tx.execute(_SQL["complete_broadcast"], tenant_id, broadcast_id)


async def stop_broadcast(
    tx: Tx, tenant_id: str, broadcast_id: int, created_by: int | None, created_by_key: int | None
) -> bool:
    """Tell nobody from here on. False where its creator has none of this id that was not stopped before."""
    found = await tx.fetchval(_SQL["stop_broadcast"], tenant_id, broadcast_id, created_by, created_by_key)
    return found is not None


async def read_broadcast(tx: Tx, tenant_id: str, broadcast_id: int) -> Figures | None:
    row = await tx.fetchrow(_SQL["read_broadcast"], tenant_id, broadcast_id)
    return None if row is None else Figures(**dict(row))


async def read_unread_audience(
    tx: Tx, tenant_id: str, broadcast_id: int, after: int, count_max: int, offset: int
) -> list[Reader]:
    """Who of the audience has not read it, by id, above `after`, without the first `offset`."""
    rows = await tx.fetch(_SQL["read_unread_audience"], tenant_id, broadcast_id, after, count_max, offset)
    return [Reader(**dict(row)) for row in rows]


async def count_unread_audience(tx: Tx, tenant_id: str, broadcast_id: int) -> int:
    """How many of the audience have not read it."""
    return await tx.fetchval(_SQL["count_unread_audience"], tenant_id, broadcast_id)
