"""A list's statement, put together from fixed pieces: what is asked for decides which; values are parameters.

Not in a `.sql` file, since a dozen filters that may each be null would be planned once, for none of them.

What has to be looked for in several places is the union of their arms: each is read in the list's order by an index
of its own, no further than the page goes, and no row is in two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal


class ListQuery:
    """Conditions on rows `t` of a tenant's table, with their values ($1 is the tenant), and the order of the rows."""

    def __init__(self, tenant_id: str, table: str, key: str, direction: Literal["ASC", "DESC"]) -> None:
        self.values: list[Any] = [tenant_id]
        self.arms: list[str] = []
        self._conditions = ["t.tenant_id = $1"]
        self._table = table
        self._key = key
        self._direction = direction

    def value(self, value: Any) -> str:
        """The placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, condition: str) -> None:
        self._conditions.append(condition)

    def where(self, condition: str, value: Any) -> None:
        """A condition with `{0}` where its value goes. None asks nothing."""
        if value is not None:
            self.add(condition.format(self.value(value)))

    def one_of(self, column: str, values: Sequence[str] | None) -> None:
        """None asks nothing. One value is asked for as one, since then its index has the list's order."""
        if values is not None and len(values) == 1:
            self.where(f"{column} = {{0}}::text", values[0])
        else:
            self.where(f"{column} = ANY({{0}}::text[])", None if values is None else list(values))

    def after(self, key_type: str, place: tuple[Any, int] | None) -> None:
        """Behind the last row, by its key and id, of the page before."""
        if place is not None:
            key, last_id = place
            bounds = f"({self.value(key)}::{key_type}, {self.value(last_id)}::bigint)"
            self.add(f"({self._key}, t.id) {'<' if self._direction == 'DESC' else '>'} {bounds}")

    def page(self, limit: int, offset: int) -> str:
        """The statement of one page: rows of whole table rows as JSON (`row`) and their key as text (`key`).

        Which rows, is found first, so that an index that has all that is asked for is all that is read until then.
        """
        first, skipped = self.value(limit), self.value(offset)
        window = f"LIMIT {first} OFFSET {skipped}"
        own_order, order = self._order(self._key, "t.id"), self._order("u.key", "u.id")
        arms = [f"SELECT {self._key} AS key, t.id FROM {self._rows(arm)} {own_order}" for arm in self._arms()]  # noqa: S608 - fixed pieces
        if len(arms) == 1:
            found = f"{arms[0]} {window}"
        else:
            parts = " UNION ALL ".join(f"({arm} LIMIT {first}::bigint + {skipped}::bigint)" for arm in arms)
            found = f"SELECT u.key, u.id FROM ({parts}) u {order} {window}"  # noqa: S608 - fixed pieces
        return (
            f"SELECT to_json(n)::text AS row, u.key::text AS key FROM ({found}) u"  # noqa: S608 - fixed pieces
            f" JOIN {self._table} n ON n.tenant_id = $1 AND n.id = u.id {order}"
        )

    def count(self) -> str:
        """The statement of how many there are on all pages."""
        parts = [f"(SELECT count(*) FROM {self._rows(arm)})" for arm in self._arms()]  # noqa: S608 - fixed pieces
        return f"SELECT {' + '.join(parts)}"

    def _arms(self) -> Sequence[str]:
        return self.arms or ["true"]

    def _rows(self, arm: str) -> str:
        return f"{self._table} t WHERE {' AND '.join([*self._conditions, arm])}"

    def _order(self, key: str, row_id: str) -> str:
        return f"ORDER BY {key} {self._direction}, {row_id} {self._direction}"
