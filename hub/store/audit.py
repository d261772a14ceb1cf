"""The trail: append only, ids and names of fields, never content. Written by `hub.store.writing`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

NO_ROLE: Final = "unknown"
"""The role of who was not let in."""


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    """Who did what to which thing. `changes`: names of changed fields, with before and after of what is no content."""

    action: str
    entity_type: str
    entity_id: str | None
    actor_id: int | None
    actor_key_id: int | None
    actor_role: str
    changes: dict[str, Any]
    request_id: str | None = None
    address: str | None = None
