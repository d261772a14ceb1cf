"""Idempotency keys: claimed before the work, kept with its answer in one transaction."""

from __future__ import annotations

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


async def read_key(tx: Tx, key: Key) -> Kept | None:
    """What is kept of a key."""
    row = await tx.fetchrow(_SQL["read_key"], key.tenant_id, key.owner, key.method, key.path, key.key)
    return None if row is None else Kept(row["fingerprint"], row["status"], row["answer"], row["position"])


async def keep_answer(tx: Tx, key: Key, status: int, answer: bytes, position: str | None) -> None:
    """Complete a claimed key with a 2xx answer."""
    await tx.execute(
        _SQL["keep_answer"], key.tenant_id, key.owner, key.method, key.path, key.key, status, answer, position
    )
