"""Lists of tasks: what the caller may know of, by a dozen filters, in eight orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from hub.core.priority import Priority
from hub.core.task import Status, TaskRow
from hub.core.wall_clock import instant_fault
from hub.store.listing import ListQuery
from hub.store.pool import Tx
from hub.store.sql import like

Sort = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "due_date", "-due_date", "priority", "-priority"
]

_task: Final = msgspec.json.Decoder(TaskRow).decode

_DUE: Final = "coalesce(t.due_date, 'infinity'::timestamptz)"

_KEYS: Final[dict[str, tuple[str, str]]] = {
    "created_at": ("t.created_at", "timestamptz"),
    "updated_at": ("t.updated_at", "timestamptz"),
    "due_date": (_DUE, "timestamptz"),
    "priority": ("array_position(ARRAY['critical', 'high', 'normal', 'low'], t.priority)", "int"),
}
"""What a list is ordered by: the expression, and its type. Without a due date comes after all that have one."""

_THEIRS: Final = "SELECT a.task_id FROM task_assignments a WHERE a.tenant_id = $1 AND a.user_id = {0}"
_OF_OTHERS: Final = "t.assigned_to IS DISTINCT FROM {0} AND t.created_by IS DISTINCT FROM {0}"
_FREE: Final = """t.assigned_to IS NULL AND (t."group" IS NULL
    OR t."group" = ANY(ARRAY(SELECT m.group_name FROM group_members m WHERE m.tenant_id = $1 AND m.user_id = {0})))"""
_VISIBLE: Final = (
    "t.assigned_to = {0}",
    "t.created_by = {0} AND t.assigned_to IS DISTINCT FROM {0}",
    f"t.id = ANY(ARRAY({_THEIRS})) AND {_OF_OTHERS}",
    f"{_FREE} AND {_OF_OTHERS} AND t.id NOT IN ({_THEIRS})",
)
"""What an agent may know of: what they are on in any way, and what nobody is assigned to, of their groups."""

_OPEN: Final = "t.status IN ('pending', 'in_progress', 'overdue')"


class Asked(msgspec.Struct, kw_only=True, frozen=True):
    """What a list is asked for; None asks nothing. `visible_to` None = all of the tenant.

    `after` is the last row of the page before: its key as text, and its id. `past_due`: open, and late.
    """

    visible_to: int | None = None
    unassigned: bool | None = None
    past_due: bool = False
    groups: Sequence[str] | None = None
    statuses: Sequence[Status] | None = None
    priorities: Sequence[Priority] | None = None
    task_types: Sequence[str] | None = None
    lead_id: int | None = None
    assigned_to: int | None = None
    due_before: datetime | None = None
    due_after: datetime | None = None
    text: str | None = None
    sort: Sort = "-created_at"
    after: tuple[str, int] | None = None
    limit: int = 50
    offset: int = 0


class Listed(msgspec.Struct, frozen=True):
    """A row of a page, with its place in the order."""

    row: TaskRow
    key: str


def is_key(sort: Sort, text: str) -> bool:
    """Whether a list in this order may have a row with this key: no other text can be read as what it orders by."""
    name = sort.removeprefix("-")
    if name == "priority":
        return text in ("1", "2", "3", "4")
    if text == "infinity":
        return name == "due_date"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return False
    return at.tzinfo is not None and instant_fault(at) is None


async def read_page(tx: Tx, tenant_id: str, asked: Asked) -> list[Listed]:
    """One page, in the order asked for; of the same key, by id in the same direction."""
    query = _query(tenant_id, asked)
    if asked.after is not None:
        _, key_type = _KEYS[asked.sort.removeprefix("-")]
        query.after(f"text::{key_type}", asked.after)
    statement = query.page(asked.limit, asked.offset)
    return [Listed(_task(row["row"]), row["key"]) for row in await tx.fetch(statement, *query.values)]


async def count_all(tx: Tx, tenant_id: str, asked: Asked) -> int:
    """How many there are on all pages."""
    query = _query(tenant_id, asked)
    return await tx.fetchval(query.count(), *query.values)


def _query(tenant_id: str, asked: Asked) -> ListQuery:
    key, _ = _KEYS[asked.sort.removeprefix("-")]
    query = ListQuery(tenant_id, "tasks", key, "DESC" if asked.sort.startswith("-") else "ASC")
    if asked.visible_to is not None:
        me = query.value(asked.visible_to)
        query.arms = [arm.format(me) for arm in _VISIBLE]
    if asked.unassigned is not None:
        query.add(f"t.assigned_to IS {'' if asked.unassigned else 'NOT '}NULL")
    if asked.past_due:
        query.add(f"{_OPEN} AND (t.status = 'overdue' OR t.due_date < clock_timestamp())")
    query.one_of('t."group"', asked.groups)
    query.one_of("t.status", asked.statuses)
    query.one_of("t.priority", asked.priorities)
    query.one_of("t.task_type", asked.task_types)
    query.where("t.lead_id = {0}", asked.lead_id)
    query.where("t.assigned_to = {0}", asked.assigned_to)
    # In the words of their index.
    query.where(f"{_DUE} < {{0}}", asked.due_before)
    query.where(f"{_DUE} > {{0}} AND t.due_date IS NOT NULL", asked.due_after)
    if asked.text is not None:
        query.where("(t.title ILIKE {0} OR t.description ILIKE {0})", like(asked.text))
    return query
