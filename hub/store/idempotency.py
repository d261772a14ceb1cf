"""Idempotency keys: claimed before the work, kept with its answer in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

import msgspec

from hub.store.pool import Tx
from hub.store.sql import queries

_SQL: Final = queries("idempotency")


class Key(msgspec.Struct, frozen=True):
    """A key belongs to (tenant, owner, method, path). `owner` is a user, below zero an API key, zero a service."""

    tenant_id: str
    owner: int
    method: str
    path: str
    key: str


class Kept(msgspec.Struct, frozen=True):
    """The first answer to a key, what the request was, and where the caller's stream stood then."""

    fingerprint: bytes
    status: int
    answer: bytes
    position: str | None


async def claim_key(tx: Tx, key: Key, fingerprint: bytes, *, wait_s: float, ttl_h: int) -> Kept | None:
    """None where the key is this transaction's now; else what was kept by the one that had it first.

    Waits up to `wait_s` seconds while another transaction holds it.

    Raises:
        LockTimedOut: by way of the transaction; the other one still runs.
    """
    wait = f"{max(round(wait_s * 1000), 1)}ms"
    ttl = timedelta(hours=ttl_h)
    claimed = await tx.fetchrow(
        _SQL["claim_key"], key.tenant_id, key.owner, key.method, key.path, key.key, fingerprint, wait, ttl
    )
    return None if claimed is not None else await read_key(tx, key)


async def read_keys(tx: Tx, tenant_id: str, keys: Collection[Key], *, ttl_h: int) -> dict[Key, Kept]:
    """What is kept of those of the keys that are in use. No lock: who has locked the same streams is alone here."""
    rows = await tx.fetch(_SQL["read_keys"], tenant_id, *_columns(keys), timedelta(hours=ttl_h))
    return {
        Key(tenant_id, row["user_id"], row["method"], row["path"], row["key"]): Kept(
            row["fingerprint"], row["status"], row["answer"], row["position"]
        )
        for row in rows
    }


async def keep_whole(tx: Tx, tenant_id: str, answers: Mapping[Key, Kept], *, ttl_h: int) -> bool:
    """Claim keys and complete them, in one. False where one of them is another's: the transaction must not stand."""
    kept = answers.values()
    count = await tx.fetchval(
        _SQL["keep_whole"],
        tenant_id,
        *_columns(answers),
        [one.fingerprint for one in kept],
        [one.status for one in kept],
        [one.answer for one in kept],
        [one.position for one in kept],
        timedelta(hours=ttl_h),
    )
    return count == len(answers)


async def read_key(tx: Tx, key: Key) -> Kept | None:
    """What is kept of a key."""
    row = await tx.fetchrow(_SQL["read_key"], key.tenant_id, key.owner, key.method, key.path, key.key)
    return None if row is None else Kept(row["fingerprint"], row["status"], row["answer"], row["position"])


async def keep_answer(tx: Tx, key: Key, status: int, answer: bytes, position: str | None) -> None:
    """Complete a claimed key with a 2xx answer."""
    await tx.execute(
        _SQL["keep_answer"], key.tenant_id, key.owner, key.method, key.path, key.key, status, answer, position
    )


def _columns(keys: Collection[Key]) -> tuple[list[int], list[str], list[str], list[str]]:
    return (
        [key.owner for key in keys],
        [key.method for key in keys],
        [key.path for key in keys],
        [key.key for key in keys],
    )
