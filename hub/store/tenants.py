"""What is set for a tenant, and the trail of what was done in it, as an admin reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from hub.core.principal import Role
from hub.core.tenant import TenantSettings
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("tenants")
_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)

_settings: Final = msgspec.json.Decoder(TenantSettings).decode


class Deed(msgspec.Struct, kw_only=True):
    """One row of the audit trail. `changes`: names of changed fields, counts and ids, never content."""

    id: int
    at: datetime
    actor_id: int | None
    actor_name: str | None
    actor_key_id: int | None
    actor_role: Role | Literal["unknown"]
    action: str
    entity_type: str | None
    entity_id: str | None
    changes: dict[str, Any]
    request_id: str | None
    address: str | None


class TrailAsked(msgspec.Struct, kw_only=True, frozen=True):
    """What the trail is asked for; None asks nothing. `after` is the last row (at, id) of the page before."""

    actor_id: int | None = None
    action: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, int] | None = None
    limit: int = 50
    offset: int = 0


async def read_settings(tx: Tx, tenant_id: str) -> TenantSettings:
    """What was set; the defaults where nothing was."""
    text = await tx.fetchval(_SQL["read_settings"], tenant_id)
    return TenantSettings() if text is None else _settings(text)


async def lock_settings(tx: Tx, tenant_id: str) -> TenantSettings:
    """The same, to be changed: whoever else would change them waits."""
    await tx.execute(_SQL["lock_settings"], tenant_id)
    return await read_settings(tx, tenant_id)


async def save_settings(tx: Tx, tenant_id: str, settings: TenantSettings) -> None:
    """Keep them whole. `lock_settings` comes before."""
    await tx.execute(_SQL["save_settings"], tenant_id, msgspec.json.encode(settings).decode())


async def find_held_users(tx: Tx, tenant_id: str, after: int, count_max: int) -> list[int]:
    """Users above `after`, ascending, who have something that waits for quiet hours to end; no lock."""
    return [row["user_id"] for row in await tx.fetch(_SQL["find_held_users"], tenant_id, after, count_max)]


async def mark_quiet_due(tx: Tx, tenant_id: str, user_ids: Sequence[int]) -> None:
    """Of locked users: what waits for quiet hours is judged again now."""
    await tx.execute(_SQL["mark_quiet_due"], tenant_id, list(user_ids))


async def read_trail(tx: Tx, tenant_id: str, asked: TrailAsked) -> list[Deed]:
    """One page, newest first."""
    at, last_id = asked.after or (_LAST, 0)
    place = (at, last_id, asked.limit, asked.offset)
    rows = await tx.fetch(_SQL[f"read_{_index_of(asked)}"], tenant_id, *_filters(asked), *place)
    return [Deed(**dict(row)) for row in rows]


async def count_trail(tx: Tx, tenant_id: str, asked: TrailAsked) -> int:
    """How many there are on all pages."""
    return await tx.fetchval(_SQL[f"count_{_index_of(asked)}"], tenant_id, *_filters(asked))


def _index_of(asked: TrailAsked) -> str:
    """The statement whose index finds the fewest rows."""
    if asked.entity_type is not None and asked.entity_id is not None:
        return "trail_of_entity"
    if asked.actor_id is not None:
        return "trail_of_actor"
    return "trail" if asked.action is None else "trail_of_action"


def _filters(asked: TrailAsked) -> tuple[Any, ...]:
    return asked.since or _FIRST, asked.until or _LAST, asked.actor_id, asked.action, asked.entity_type, asked.entity_id
