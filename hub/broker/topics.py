"""Topic names: those that only the broker needs, and how to read the others back.

`hub.core.topics` owns the names that nodes agree on. A tenant's id is free text
and may hold a colon, so names are read from both ends.
"""

from __future__ import annotations

from typing import Final

from hub.core.topics import NODES, presence_topic, user_topic

__all__ = [
    "NODES",
    "canary_topic",
    "parse_canary_topic",
    "parse_tenant_topic",
    "parse_user_topic",
    "presence_topic",
    "tenant_topic",
    "user_topic",
]

_USER: Final = "hub:u:"
_TENANT: Final = "hub:t:"
_CANARY: Final = "hub:canary:"


def tenant_topic(tenant_id: str) -> str:
    """What concerns many of a tenant's people at once, and no one's stream."""
    return f"{_TENANT}{tenant_id}"


def canary_topic(node_id: str) -> str:
    """Where one node listens for itself."""
    return f"{_CANARY}{node_id}"


def parse_user_topic(topic: str) -> tuple[str, int] | None:
    """The (tenant, user) of a user's topic; None for any other."""
    if not topic.startswith(_USER):
        return None
    tenant_id, colon, user_id = topic[len(_USER) :].rpartition(":")
    # `int` alone would take signs, spaces, underscores and the digits of other scripts. 19 digits are 64 bits.
    if not colon or len(user_id) > 19 or not (user_id.isascii() and user_id.isdigit()):
        return None
    return tenant_id, int(user_id)


def parse_tenant_topic(topic: str) -> str | None:
    """The tenant of a tenant's topic; None for any other."""
    return topic[len(_TENANT) :] if topic.startswith(_TENANT) else None


def parse_canary_topic(topic: str) -> str | None:
    """The node of a canary's topic; None for any other."""
    return topic[len(_CANARY) :] if topic.startswith(_CANARY) else None
