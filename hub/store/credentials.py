"""Who a credential speaks for, as far as PostgreSQL knows: what `hub.auth` asks through its ports."""

from __future__ import annotations

from hub.auth.api_keys import ApiKeyRecord
from hub.store import people
from hub.store.pool import Database


class StoredApiKeys:
    """Implements `hub.auth.api_keys.ApiKeys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, tenant_id: str, id: int) -> ApiKeyRecord | None:
        """The key, or None where there is none. Raises `DatabaseUnavailable`."""
        async with self._database.transaction(tenant_id) as tx:
            found = await people.read_api_key(tx, tenant_id, id)
        return None if found is None else ApiKeyRecord(id, *found)


class StoredExternalIds:
    """Implements `hub.auth.tokens.ExternalIds`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user_id_of(self, tenant_id: str, external_id: str) -> int | None:
        """The user of this tenant who has this `external_id`. Raises `DatabaseUnavailable`."""
        async with self._database.transaction(tenant_id) as tx:
            return await people.read_user_by_external_id(tx, tenant_id, external_id)
