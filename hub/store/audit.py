"""The trail: append only, ids and names of fields, never content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("people")

NO_ROLE: Final = "unknown"
"""The role of who was not let in."""


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    """Who did what to which thing. `changes`: names of changed fields, with before and after of what is no content."""

    action: str
    entity_type: str
    entity_id: str | None
    actor_id: int | None
    actor_key_id: int | None
    actor_role: str
    changes: dict[str, Any]
    request_id: str | None = None
    address: str | None = None


async def insert_audit(tx: Tx, tenant_id: str, entries: Sequence[Entry]) -> None:
    """Add to the trail, in the transaction of what it tells of."""
    if entries:
        await tx.execute(_SQL["insert_audit"], tenant_id, msgspec.json.encode(entries).decode())
