"""What a reader of the users' streams is told: the words that the store and the gateway share.

Owns the shapes only. The store fills them from one snapshot each; the gateway
reads them through `hub.gateway.ports.Log`, so neither knows the other.
"""

from __future__ import annotations

import msgspec

from hub.core.counts import Counts
from hub.core.event import Event


class LogUnavailable(Exception):
    """PostgreSQL cannot be reached, or did not answer in time. Try again later."""


class StreamState(msgspec.Struct, frozen=True):
    """A user's stream in one snapshot. A user without a row has head 0 and no counts.

    `resumable` answers for the cursor that was asked about: it is `head`, or the event after it is still kept.
    """

    epoch: str
    head: int
    counts: Counts
    resumable: bool


class Page(msgspec.Struct, frozen=True):
    """Events after a position, ascending, with the stream's state in the same snapshot.

    `events` are as many as fit the bounds asked for; fewer than there are is normal.
    The reader checks that they are contiguous: retention may have overtaken it.
    """

    epoch: str
    head: int
    events: list[Event]


class Moved(msgspec.Struct, frozen=True):
    """A user whose head is past what the caller named, or behind it (another history)."""

    tenant_id: str
    user_id: int
    head: int


class Sweep(msgspec.Struct, frozen=True):
    """The answer to a sweep: the epoch as of now, and only those users that moved."""

    epoch: str
    moved: list[Moved]
