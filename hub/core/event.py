"""An entry of a user's log, in the shape in which it goes over the wire.

The log keeps the wire shape itself, so that an event of a week ago replays
after an upgrade, and so that one encoding serves the table, the hint and every
socket: what differs by connection (`seq`, `cursor`, `ring`) is put in front of
the `tail`, which is shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from hub.core.counts import Counts
from hub.core.priority import RANK, Priority

EventKind = Literal[
    "notification.created",
    "notification.updated",
    "notification.deleted",
    "notification.expired",
    "notifications.read_all",
    "notifications.seen",
    "notifications.cleaned",
    "quiet_hours.ended",
    "preferences.updated",
    "inbox.erased",
    "task.created",
    "task.updated",
    "task.completed",
    "task.cancelled",
    "task.overdue",
    "task.deleted",
    "task.assigned",
    "task.unassigned",
    "task.commented",
]
"""Every kind that an entry of a log may have. Writers are typed by it, so that none is written that is not here."""

CREATED: Final = "notification.created"
IN_ORDER: Final = 4
"""Lanes from here on are those of every kind but `notification.created`: these leave after all that is below them."""


class Event(msgspec.Struct, array_like=True, gc=False):
    """One event of one user.

    `lane` is the rank of the priority (0 to 3) for `notification.created`, and that
    rank plus `IN_ORDER` (4 to 7) for every other kind. `rings` says that this event may ring a device (live
    `notification.created` of a user who wants desktop alerts). `tail` is UTF-8
    JSON from `"kind":` to the closing brace of the frame.
    """

    seq: int
    lane: int
    rings: bool
    tail: bytes
    released: bool = False
    """It had been held: of a burst of these only one rings."""


class Hint(msgspec.Struct, array_like=True, gc=False):
    """What a writer publishes on a user's topic after its commit; may be lost, doubled or late.

    `events` are contiguous and ascending in `seq`. `committed_at` is when, in seconds of the writer's wall clock; 0
    where that is not said. It is for figures only.
    """

    epoch: str
    events: list[Event]
    committed_at: float = 0.0


_json = msgspec.json.Encoder()
_hint_encoder = msgspec.msgpack.Encoder()
_hint_decoder = msgspec.msgpack.Decoder(Hint)


def lane_of(kind: EventKind, priority: Priority) -> int:
    """Where an event of this kind waits behind a slow socket."""
    return RANK[priority] if kind == CREATED else RANK[priority] + IN_ORDER


class _Tail(msgspec.Struct, gc=False, omit_defaults=True):
    kind: str
    priority: str
    at: datetime
    data: Any
    counts: Counts | None = None


def encode_tail(kind: EventKind, priority: Priority, at: datetime, data: Any, counts: Counts | None = None) -> bytes:
    """The shared end of an event frame: everything after `seq` and `cursor`.

    `data` is any msgspec-encodable object, or `msgspec.Raw` JSON that is used as it is.
    `counts` belongs to every event that changes what is unread or unseen.
    """
    return _json.encode(_Tail(kind, priority, at, data, counts))[1:]


def encode_hint(epoch: str, events: Iterable[Event], committed_at: float = 0.0) -> bytes:
    """The payload that is published for one user."""
    return _hint_encoder.encode(Hint(epoch, list(events), committed_at))


def decode_hint(payload: bytes) -> Hint:
    """The inverse of `encode_hint`.

    Raises:
        msgspec.DecodeError: the payload is not a hint of this version; ignore it, the sweep covers.
    """
    try:
        return _hint_decoder.decode(payload)
    except UnicodeDecodeError as exc:  # the one thing that msgspec does not call a DecodeError
        raise msgspec.DecodeError(str(exc)) from None
