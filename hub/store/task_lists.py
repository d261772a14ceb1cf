"""Lists of tasks: what is asked for, put together from fixed pieces of SQL.

Not in a `.sql` file, since a dozen filters and eight orders in one statement would be planned for none of them.
Values are parameters throughout; what is put together is only what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from hub.core.priority import Priority
from hub.core.task import Status, TaskRow
from hub.core.wall_clock import instant_fault
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

_VISIBLE: Final = """t.id IN (
    SELECT v.id FROM tasks v WHERE v.tenant_id = $1 AND v.assigned_to = {0}
    UNION ALL SELECT v.id FROM tasks v WHERE v.tenant_id = $1 AND v.created_by = {0}
    UNION ALL SELECT a.task_id FROM task_assignments a WHERE a.tenant_id = $1 AND a.user_id = {0}
    UNION ALL SELECT v.id FROM tasks v WHERE v.tenant_id = $1 AND v.assigned_to IS NULL AND (v."group" IS NULL
        OR v."group" IN (SELECT m.group_name FROM group_members m WHERE m.tenant_id = $1 AND m.user_id = {0})))"""
"""What an agent may know of: what they are on, and what nobody is assigned to, of their groups."""

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


class _Query:
    """Conditions with their values; each condition has `{0}` where its value goes."""

    def __init__(self, tenant_id: str) -> None:
        self.values: list[Any] = [tenant_id]
        self.conditions = ["t.tenant_id = $1"]

    def value(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def where(self, condition: str, value: Any) -> None:
        if value is not None:
            self.conditions.append(condition.format(self.value(value)))


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
    query = _filtered(tenant_id, asked)
    key, kind = _KEYS[asked.sort.removeprefix("-")]
    is_down = asked.sort.startswith("-")
    if asked.after is not None:
        place, last_id = asked.after
        bounds = f"({query.value(place)}::text::{kind}, {query.value(last_id)}::bigint)"
        query.conditions.append(f"({key}, t.id) {'<' if is_down else '>'} {bounds}")
    order = "DESC" if is_down else "ASC"
    statement = (
        f"SELECT to_json(t)::text AS task, ({key})::text AS key FROM tasks t WHERE {' AND '.join(query.conditions)}"  # noqa: S608 - only pieces from here
        f" ORDER BY {key} {order}, t.id {order} LIMIT {query.value(asked.limit)} OFFSET {query.value(asked.offset)}"
    )
    return [Listed(_task(row["task"]), row["key"]) for row in await tx.fetch(statement, *query.values)]


async def count_all(tx: Tx, tenant_id: str, asked: Asked) -> int:
    """How many there are on all pages."""
    query = _filtered(tenant_id, asked)
    statement = f"SELECT count(*) FROM tasks t WHERE {' AND '.join(query.conditions)}"  # noqa: S608 - only pieces from here
    return await tx.fetchval(statement, *query.values)


def _filtered(tenant_id: str, asked: Asked) -> _Query:
    query = _Query(tenant_id)
    if asked.unassigned is not None:
        query.conditions.append(f"t.assigned_to IS {'' if asked.unassigned else 'NOT '}NULL")
    if asked.past_due:
        query.conditions.append(f"{_OPEN} AND (t.status = 'overdue' OR t.due_date < clock_timestamp())")
    query.where(_VISIBLE, asked.visible_to)
    query.where('t."group" = ANY({0}::text[])', _listed(asked.groups))
    query.where("t.status = ANY({0}::text[])", _listed(asked.statuses))
    query.where("t.priority = ANY({0}::text[])", _listed(asked.priorities))
    query.where("t.task_type = ANY({0}::text[])", _listed(asked.task_types))
    query.where("t.lead_id = {0}", asked.lead_id)
    query.where("t.assigned_to = {0}", asked.assigned_to)
    # In the words of their index.
    query.where(f"{_DUE} < {{0}}", asked.due_before)
    query.where(f"{_DUE} > {{0}} AND t.due_date IS NOT NULL", asked.due_after)
    if asked.text is not None:
        query.where("(t.title ILIKE {0} OR t.description ILIKE {0})", like(asked.text))
    return query


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
