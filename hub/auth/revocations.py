"""Whose tokens are refused although they are signed and in time.

Owns the map in memory; who reads the table and how often is the caller's loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec


class Revocation(msgspec.Struct, frozen=True):
    """Tokens of this user that were issued at `revoked_at` or before prove nothing any more."""

    tenant_id: str
    user_id: int
    revoked_at: datetime


class Revocations:
    """The latest revocation of each user that has one."""

    def __init__(self) -> None:
        self._revoked_at: dict[tuple[str, int], datetime] = {}

    def apply(self, found: Iterable[Revocation]) -> list[Revocation]:
        """Take these in, and answer those that say something new: the sockets of these are to be closed.

        Idempotent, and in any order: an older one never undoes a newer one, and what is left out stays.
        """
        fresh: list[Revocation] = []
        for one in found:
            key = (one.tenant_id, one.user_id)
            known = self._revoked_at.get(key)
            if known is None or one.revoked_at > known:
                self._revoked_at[key] = one.revoked_at
                fresh.append(one)
        return fresh

    def refuses(self, tenant_id: str, user_id: int | None, issued_at: datetime | None) -> bool:
        """Whether a token of this user, issued then, was revoked. One without an instant counts as the oldest."""
        if user_id is None:
            return False
        revoked_at = self._revoked_at.get((tenant_id, user_id))
        return revoked_at is not None and (issued_at is None or issued_at <= revoked_at)

    @property
    def count(self) -> int:
        """How many users have one."""
        return len(self._revoked_at)
