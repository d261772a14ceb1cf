"""API keys of producers, and the revoking of a person's tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Forbidden, NotFound
from hub.app.unit import Outcome, Unit, perform
from hub.auth.api_keys import SECRET_BYTES, digest_of, mint_api_key
from hub.store import people
from hub.store.people import ApiKey

KEYS_MAX: Final = 1000
"""A tenant has some; a list of all fits one answer."""


class NewApiKey(ApiKey, kw_only=True):
    """A key just made, with the text that is shown this once."""

    key: str


class Revoked(msgspec.Struct, frozen=True):
    """Tokens of this user that were issued before `revoked_at` are refused."""

    user_id: int
    revoked_at: datetime


def _require_admin(caller: Caller) -> None:
    if caller.principal.role != "admin":
        raise Forbidden("This is for an admin.")


async def create_api_key(deps: Deps, caller: Caller, name: str) -> Outcome[NewApiKey]:
    """A new credential of a producer. Its text cannot be had again. Raises `Forbidden`."""
    _require_admin(caller)
    secret = deps.clock.token(SECRET_BYTES)

    async def work(unit: Unit) -> NewApiKey:
        made = await people.insert_api_key(unit.tx, unit.tenant_id, name, digest_of(secret), caller.principal.user_id)
        unit.audit("api_key.create", "api_key", made.id)
        return NewApiKey(**msgspec.structs.asdict(made), key=mint_api_key(unit.tenant_id, made.id, secret))

    return await perform(deps, caller, work)


async def list_api_keys(deps: Deps, caller: Caller) -> list[ApiKey]:
    """All of the tenant's, the newest first, without their secrets. Raises `Forbidden`."""
    _require_admin(caller)
    async with deps.database.transaction(caller.tenant_id) as tx:
        return await people.read_api_keys(tx, caller.tenant_id, KEYS_MAX)


async def revoke_api_key(deps: Deps, caller: Caller, key_id: int) -> Outcome[None]:
    """From the commit on, within 5 s, every node refuses it. Raises `Forbidden`, `NotFound`."""
    _require_admin(caller)

    async def work(unit: Unit) -> None:
        if not await people.revoke_api_key(unit.tx, unit.tenant_id, key_id):
            raise NotFound("There is no such API key.")
        unit.audit("api_key.revoke", "api_key", key_id)

    return await perform(deps, caller, work)


async def revoke_user(deps: Deps, caller: Caller, user_id: int) -> Outcome[Revoked]:
    """Refuse the tokens that this user was issued before now, and close their sockets, on all nodes within 5 s.

    Raises `Forbidden`. Any user may be named, known or not: an inbox may begin later.
    """
    _require_admin(caller)

    async def work(unit: Unit) -> Revoked:
        revoked_at = await people.revoke_user(unit.tx, unit.tenant_id, user_id)
        unit.audit("user.revoke", "user", user_id)
        return Revoked(user_id, revoked_at)

    return await perform(deps, caller, work)
