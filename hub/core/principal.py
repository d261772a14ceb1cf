"""Who is calling."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

Role = Literal["agent", "supervisor", "admin", "service"]
ROLES: Final[tuple[Role, ...]] = ("agent", "supervisor", "admin", "service")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A proven caller: one user of one tenant, in one role.

    `user_id` is None for an API key and for a `service` token whose `sub` is no user.
    `expires_at` is None only for API keys. `issued_at` decides against a revocation:
    a token without it counts as issued at the beginning of time.
    """

    tenant_id: str
    user_id: int | None
    role: Role
    expires_at: datetime | None = None
    issued_at: datetime | None = None
    name: str | None = None
    api_key_id: int | None = None
