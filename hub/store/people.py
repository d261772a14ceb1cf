"""What is kept of people: their preferences under the tenant's, and the credentials that speak for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from hub.core.preferences import Preferences, apply_locked, default_preferences, stored_preferences
from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("people")


class TenantDefaults(msgspec.Struct, kw_only=True, frozen=True):
    """What a tenant has set for its users: defaults by the names of the preferences, and those that are locked."""

    preferences: dict[str, Any]
    locked: list[str]
    timezone: str
    locale: str

    @property
    def defaults(self) -> dict[str, Any]:
        """The tenant's preferences, in its own time zone and language where they name none."""
        return {"timezone": self.timezone, "locale": self.locale, **self.preferences}


class Chosen(msgspec.Struct, frozen=True):
    """One user's preferences: `own` as kept, None without a row; `in_force` under the tenant's locks."""

    own: Preferences | None
    in_force: Preferences
    tenant: TenantDefaults | None

    @property
    def defaults(self) -> Preferences:
        """Those of a user without a row."""
        return default_preferences(None if self.tenant is None else self.tenant.defaults)


class ApiKey(msgspec.Struct, kw_only=True):
    """A producer's credential, without its secret."""

    id: int
    name: str
    created_by: int | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def in_force(row: dict[str, Any] | None, tenant: TenantDefaults | None) -> Preferences:
    """What holds for a user with this row of `notification_preferences`, or with none."""
    if tenant is None:
        return default_preferences(None) if row is None else stored_preferences(row)
    if row is None:
        return default_preferences(tenant.defaults)
    return apply_locked(stored_preferences(row), tenant.defaults, tenant.locked)


async def read_preferences(tx: Tx, tenant_id: str, user_id: int) -> Chosen:
    """One user's. To change them, under the lock of the user's stream."""
    row = await tx.fetchrow(_SQL["read_preferences"], tenant_id, user_id)
    own = None if row["own"] is None else msgspec.json.decode(row["own"])
    tenant = None if row["tenant"] is None else msgspec.json.decode(row["tenant"], type=TenantDefaults)
    return Chosen(None if own is None else stored_preferences(own), in_force(own, tenant), tenant)


async def save_preferences(tx: Tx, tenant_id: str, user_id: int, preferences: Preferences) -> None:
    """Keep them whole, in place of what was there."""
    row = {"tenant_id": tenant_id, "user_id": user_id, **msgspec.to_builtins(preferences)}
    await tx.execute(_SQL["save_preferences"], msgspec.json.encode(row).decode())


async def insert_api_key(tx: Tx, tenant_id: str, name: str, digest: bytes, created_by: int | None) -> ApiKey:
    """Keep a new key by the digest of its secret."""
    row = await tx.fetchrow(_SQL["insert_api_key"], tenant_id, name, digest, created_by)
    return ApiKey(**dict(row))


async def read_api_keys(tx: Tx, tenant_id: str, count_max: int) -> list[ApiKey]:
    """The newest first, revoked ones too."""
    return [ApiKey(**dict(row)) for row in await tx.fetch(_SQL["read_api_keys"], tenant_id, count_max)]


async def revoke_api_key(tx: Tx, tenant_id: str, key_id: int) -> bool:
    """False where there is none that was not revoked before."""
    return await tx.fetchval(_SQL["revoke_api_key"], tenant_id, key_id) is not None


async def revoke_user(tx: Tx, tenant_id: str, user_id: int) -> datetime:
    """From here on, tokens issued before now are refused. The instant that was kept."""
    return await tx.fetchval(_SQL["revoke_user"], tenant_id, user_id)


async def read_api_key(tx: Tx, tenant_id: str, key_id: int) -> tuple[bytes, str, bool] | None:
    """The digest of a key's secret, its name, and whether it was revoked; None where there is none."""
    row = await tx.fetchrow(_SQL["read_api_key"], tenant_id, key_id)
    return None if row is None else (row["secret_hash"], row["name"], row["is_revoked"])


async def read_user_by_external_id(tx: Tx, tenant_id: str, external_id: str) -> int | None:
    """The user whom another system calls so."""
    return await tx.fetchval(_SQL["read_user_by_external_id"], tenant_id, external_id)


async def read_revocations(tx: Tx, since: datetime | None) -> list[tuple[str, int, datetime]]:
    """(tenant, user, instant) of all tenants, after `since`, some seconds back: commits come later than instants."""
    rows = await tx.fetch(_SQL["read_revocations"], since)
    return [(row["tenant_id"], row["user_id"], row["revoked_at"]) for row in rows]
