"""What a client hands to its app, in the order in which it came.

Owns the shapes of the items of `async for item in client`. Does not own what
an app makes of them; for notifications that is `hub.client.inbox`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from hub.core.counts import Counts


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, handed out exactly once.

    `seq` is None for what belongs to no stream (`tasks.changed`, `presence.changed`). `ring` asks this
    device, and no other of the person's, to make a sound. `replayed`: it had happened before this
    connection began. `merged` are earlier numbers of the same task for which this one stands.
    """

    seq: int | None
    kind: str
    priority: str = "normal"
    at: datetime | None = None
    data: Any = None
    counts: Counts | None = None
    ring: bool = False
    released: bool = False
    replayed: bool = False
    merged: tuple[int, ...] = ()


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """Drop what is kept and load over REST; the events that follow go on from `cursor`.

    `fresh`: there was no place to resume from. `reset`: the place is of another history, or too old.
    A row of REST is then changed only by events above the `Hub-Position` that brought it.
    """

    cause: Literal["fresh", "reset"]
    epoch: str
    cursor: int
    counts: Counts | None = None


class RingAgain(msgspec.Struct, frozen=True, kw_only=True):
    """A critical notification that was handed out before should ring here: nobody answered the other device."""

    seq: int
    id: int | None
    priority: str = "critical"


Item = Event | Reset | RingAgain
