"""The directory of a tenant: its people, their groups, their addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("directory")

ContactChannel = Literal["email", "sms", "whatsapp", "slack"]


class Person(msgspec.Struct, kw_only=True):
    """What is known of a user beside their inbox. Without an entry of their own all but the id is null."""

    user_id: int
    display_name: str | None = None
    locale: str | None = None
    timezone: str | None = None
    external_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Group(msgspec.Struct, kw_only=True):
    """A group with its members, ascending; `names` of those who have one."""

    name: str
    members: list[int]
    names: dict[int, str] = msgspec.field(default_factory=dict[int, str])
    created_at: datetime
    updated_at: datetime


class Contact(msgspec.Struct, frozen=True):
    """One address. `unsubscribed_at`: since then nothing is sent there."""

    channel: ContactChannel
    address: str
    unsubscribed_at: datetime | None = None


class PushSubscription(msgspec.Struct, kw_only=True):
    """A browser that may be pushed to, without its secrets."""

    id: int
    user_id: int
    endpoint: str
    created_at: datetime
    last_used_at: datetime | None


async def read_person(tx: Tx, tenant_id: str, user_id: int) -> Person | None:
    """None for someone who has neither an entry nor an inbox."""
    row = await tx.fetchrow(_SQL["read_person"], tenant_id, user_id)
    return None if row is None else Person(**dict(row))


async def save_person(tx: Tx, tenant_id: str, person: Person) -> Person:
    """Keep it whole, in place of what was there.

    Raises:
        asyncpg.UniqueViolationError: another user has this `external_id`.
    """
    row = await tx.fetchrow(
        _SQL["save_person"],
        tenant_id,
        person.user_id,
        person.display_name,
        person.locale,
        person.timezone,
        person.external_id,
    )
    return Person(**dict(row))


async def fill_name(tx: Tx, tenant_id: str, user_id: int, name: str) -> None:
    """Give a name to one who has none."""
    await tx.execute(_SQL["fill_name"], tenant_id, user_id, name)


async def read_names(tx: Tx, tenant_id: str, user_ids: Iterable[int | None]) -> dict[int, str]:
    """The names of those who have one; nulls are passed over."""
    wanted = sorted({user_id for user_id in user_ids if user_id is not None})
    if not wanted:
        return {}
    rows = await tx.fetch(_SQL["read_names"], tenant_id, wanted)
    return {row["user_id"]: row["display_name"] for row in rows}


async def read_group(tx: Tx, tenant_id: str, name: str) -> Group | None:
    row = await tx.fetchrow(_SQL["read_group"], tenant_id, name)
    if row is None:
        return None
    group = Group(**dict(row))
    group.names = await read_names(tx, tenant_id, group.members)
    return group


async def save_group(tx: Tx, tenant_id: str, name: str, members: Collection[int]) -> None:
    """Make it, or replace its members by these."""
    await tx.execute(_SQL["save_group"], tenant_id, name)
    await tx.execute(_SQL["replace_members"], tenant_id, name, sorted(set(members)))


async def delete_group(tx: Tx, tenant_id: str, name: str) -> bool:
    """False where there is none."""
    return await tx.fetchval(_SQL["delete_group"], tenant_id, name) is not None


async def read_members(tx: Tx, tenant_id: str, name: str, count_max: int) -> list[int]:
    """Ascending; at most so many. A group that is not there has none."""
    return [row["user_id"] for row in await tx.fetch(_SQL["read_members"], tenant_id, name, count_max)]


async def read_contacts(tx: Tx, tenant_id: str, user_id: int) -> list[Contact]:
    return [Contact(**dict(row)) for row in await tx.fetch(_SQL["read_contacts"], tenant_id, user_id)]


async def replace_contacts(tx: Tx, tenant_id: str, user_id: int, addresses: Mapping[ContactChannel, str]) -> None:
    """These and no others. One that stays the same keeps its unsubscription; another address begins anew."""
    await tx.execute(_SQL["replace_contacts"], tenant_id, user_id, list(addresses), list(addresses.values()))


async def save_push_subscription(
    tx: Tx, tenant_id: str, user_id: int, endpoint: str, keys: Sequence[str], count_max: int
) -> PushSubscription:
    """Keep it with its (p256dh, auth), in place of the same browser's; of one user's the newest `count_max`."""
    row = await tx.fetchrow(_SQL["save_push_subscription"], tenant_id, user_id, endpoint, *keys)
    await tx.execute(_SQL["delete_old_push_subscriptions"], tenant_id, user_id, count_max)
    return PushSubscription(**dict(row))


async def read_push_subscriptions(tx: Tx, tenant_id: str, user_id: int, count_max: int) -> list[PushSubscription]:
    """One user's, the newest first."""
    rows = await tx.fetch(_SQL["read_push_subscriptions"], tenant_id, user_id, count_max)
    return [PushSubscription(**dict(row)) for row in rows]


async def delete_push_subscription(tx: Tx, tenant_id: str, user_id: int, subscription_id: int) -> bool:
    """False where this user has none of this id."""
    found = await tx.fetchval(_SQL["delete_push_subscription"], tenant_id, subscription_id, user_id)
    return found is not None


async def read_push_keys(tx: Tx, tenant_id: str) -> tuple[str, bytes] | None:
    """The tenant's VAPID keys: the public one, and the private one as it was encrypted."""
    row = await tx.fetchrow(_SQL["read_push_keys"], tenant_id)
    return None if row is None or row["public_key"] is None else (row["public_key"], row["secrets"])


async def keep_push_keys(tx: Tx, tenant_id: str, public_key: str, encrypted: bytes) -> None:
    """Keep them unless there are some."""
    await tx.execute(_SQL["keep_push_keys"], tenant_id, public_key, encrypted)
