"""Who asks, by which request, and whether asking twice is asking once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from hub.core.principal import Principal


class Answer(msgspec.Struct, frozen=True):
    """A rendered answer, as it is kept for a repeated request. Opaque to the use cases."""

    status: int
    body: bytes


class Once(msgspec.Struct, frozen=True):
    """An idempotency key, which belongs to (tenant, caller, method, path).

    `fingerprint` tells the same bytes from others. `render` turns a result into what is answered and
    kept; it runs within the transaction, so it is quick and pure.
    """

    method: str
    path: str
    key: str
    fingerprint: bytes
    render: Callable[[Any], Answer]


class Caller(msgspec.Struct, frozen=True):
    """A proven principal and the request that it makes; `request_id` and `address` are for the audit trail."""

    principal: Principal
    request_id: str | None = None
    address: str | None = None
    once: Once | None = None

    @property
    def tenant_id(self) -> str:
        return self.principal.tenant_id

    @property
    def key_owner(self) -> int:
        """Whose idempotency keys these are: a user's, or, below zero, an API key's."""
        if self.principal.user_id is not None:
            return self.principal.user_id
        return -(self.principal.api_key_id or 0)
