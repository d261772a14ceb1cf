"""Lists of notifications: one person's history, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from hub.core.notification import Kind, Row, State
from hub.core.priority import Priority
from hub.store.listing import ListQuery
from hub.store.pool import Tx
from hub.store.sql import like

_row: Final = msgspec.json.Decoder(Row).decode


class Asked(msgspec.Struct, kw_only=True, frozen=True):
    """What a list is asked for; None asks nothing. `text` is looked for in titles and messages.

    `after` is the last row (created_at, id) of the page before.
    """

    states: Sequence[State] = ("live",)
    types: Sequence[Kind] | None = None
    categories: Sequence[str] | None = None
    priorities: Sequence[Priority] | None = None
    is_read: bool | None = None
    is_archived: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    after: tuple[datetime, int] | None = None
    limit: int = 50
    offset: int = 0


async def read_page(tx: Tx, tenant_id: str, user_id: int, asked: Asked) -> list[Row]:
    """One page of one user's, newest first."""
    query = _query(tenant_id, user_id, asked)
    query.after("timestamptz", asked.after)
    statement = query.page(asked.limit, asked.offset)
    return [_row(record["row"]) for record in await tx.fetch(statement, *query.values)]


async def count_all(tx: Tx, tenant_id: str, user_id: int, asked: Asked) -> int:
    """How many there are on all pages."""
    query = _query(tenant_id, user_id, asked)
    return await tx.fetchval(query.count(), *query.values)


def _query(tenant_id: str, user_id: int, asked: Asked) -> ListQuery:
    query = ListQuery(tenant_id, "notifications", "t.created_at", "DESC")
    query.where("t.user_id = {0}", user_id)
    query.where("t.created_at >= {0}", asked.since)
    query.where("t.created_at < {0}", asked.until)
    query.one_of("t.type", asked.types)
    query.one_of("t.category", asked.categories)
    query.one_of("t.priority", asked.priorities)
    # In the words of the partial indexes.
    if asked.is_read is not None:
        query.add("t.is_read" if asked.is_read else "NOT t.is_read")
    if asked.is_archived is not None:
        query.add("t.is_archived" if asked.is_archived else "NOT t.is_archived")
    if asked.text is not None:
        query.where("(t.title ILIKE {0} OR t.message ILIKE {0})", like(asked.text))
    query.arms = [f"t.state = '{state}'" for state in asked.states]
    return query
