"""Lists of notifications: one person's history, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import product
from typing import Final

import msgspec

from hub.core.notification import Kind, Row, State
from hub.core.priority import Priority
from hub.store.listing import ListQuery
from hub.store.pool import Tx
from hub.store.sql import like

_row: Final = msgspec.json.Decoder(Row).decode

_ARMS_MAX: Final = 24
"""More values than this are a condition on each row: so many looks into an index gain nothing on reading along one."""


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
    query = ListQuery("notifications", "t.created_at", "DESC", tenant_id, user_id)
    query.add("t.tenant_id = $1 AND t.user_id = $2")
    query.where("t.created_at >= {0}", asked.since)
    query.where("t.created_at < {0}", asked.until)
    if asked.text is not None:
        query.where("(t.title ILIKE {0} OR t.message ILIKE {0})", like(asked.text))
    # One arm for each place of an index: of the columns that have one, the first that is asked for.
    arms: list[Sequence[str]] = [[f"t.state = '{state}'" for state in asked.states]]
    is_split = False
    for column, values in (("type", asked.types), ("category", asked.categories), ("priority", asked.priorities)):
        if values is not None and not is_split and len(values) <= _ARMS_MAX // len(asked.states):
            arms.append([f"t.{column} = {query.value(value)}::text" for value in dict.fromkeys(values)])
            is_split = True
        else:
            query.one_of(f"t.{column}", values)
    if asked.is_read is not None:
        query.add(_is(asked.is_read, "t.is_read"))
    if asked.is_archived is not None:
        query.add(_is(asked.is_archived, "t.is_archived"))
    elif asked.is_read is False:
        # What is unread has an index without what is archived, which has one of its own.
        arms.append([_is(wanted=False, column="t.is_archived"), _is(wanted=True, column="t.is_archived")])
    query.arms = [" AND ".join(arm) for arm in product(*arms)]
    return query


def _is(wanted: bool, column: str) -> str:
    # In the words of the partial indexes.
    return column if wanted else f"NOT {column}"
