"""The names of what is published between nodes. Opaque to the broker."""

from __future__ import annotations

from typing import Final

NODES: Final = "hub:nodes"
"""Every node says here that it lives."""


def user_topic(tenant_id: str, user_id: int) -> str:
    """Hints for one user's stream, and what that user's nodes agree on (who rings)."""
    return f"hub:u:{tenant_id}:{user_id}"


def crowd_topic(tenant_id: str) -> str:
    """Shared hints: what many of a tenant's people were told alike."""
    return f"hub:c:{tenant_id}"


def tenant_of_crowd(topic: str) -> str | None:
    """The inverse of `crowd_topic`; None for any other topic."""
    return topic.removeprefix("hub:c:") if topic.startswith("hub:c:") else None


def presence_topic(tenant_id: str) -> str:
    """Who of a tenant is connected, said by each node."""
    return f"hub:p:{tenant_id}"


def tenant_of_presence(topic: str) -> str | None:
    """The inverse of `presence_topic`; None for any other topic."""
    return topic.removeprefix("hub:p:") if topic.startswith("hub:p:") else None


def tasks_topic(tenant_id: str) -> str:
    """What changes of a tenant's tasks, for those who watch more than their own."""
    return f"hub:k:{tenant_id}"


def tenant_of_tasks(topic: str) -> str | None:
    """The inverse of `tasks_topic`; None for any other topic."""
    return topic.removeprefix("hub:k:") if topic.startswith("hub:k:") else None
