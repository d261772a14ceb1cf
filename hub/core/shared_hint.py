"""One hint for many: an event that a writer told a crowd at once, its bytes said once.

A broadcast's events differ by person in a number, an id and the counts. `share` finds what they have in
common, whatever it is, so that Redis carries and a node reads some hundred bytes a person instead of all of it.
Does not own who hears it: a node passes over those whom it does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from hub.core.event import Event

CROWD_MIN: Final = 8
"""Fewer than these are told one by one: every node that has anybody of the tenant reads a shared hint."""
CROWD_MAX: Final = 500
"""So many in one message: some 60 KB, read in about a millisecond."""

_COUNTS: Final = b',"counts":{'


class Part(msgspec.Struct, array_like=True, gc=False):
    """What is one person's own: the event's number, and what its tail has around `middle`."""

    user_id: int
    seq: int
    own: bytes
    end: bytes


class SharedHint(msgspec.Struct, array_like=True):
    """As `Hint`, of one event each for many users: a tail is `head`, `own`, `middle`, `end`, joined."""

    epoch: str
    committed_at: float
    lane: int
    rings: bool
    released: bool
    head: bytes
    middle: bytes
    parts: list[Part]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SharedHint)


def encode_shared(hint: SharedHint) -> bytes:
    """The payload that is published for a tenant's crowd."""
    return _encoder.encode(hint)


def decode_shared(payload: bytes) -> SharedHint:
    """The inverse of `encode_shared`.

    Raises:
        msgspec.DecodeError: the payload is not a shared hint of this version; ignore it, the sweep covers.
    """
    try:
        return _decoder.decode(payload)
    except UnicodeDecodeError as exc:  # the one thing that msgspec does not call a DecodeError
        raise msgspec.DecodeError(str(exc)) from None


def share(
    epoch: str, committed_at: float, told: Sequence[tuple[int, Event]]
) -> tuple[list[SharedHint], list[tuple[int, Event]]]:
    """`told` (user, event), each user once, as shared hints, and those whose event is too few others' too."""
    crowds: dict[tuple[int, bool, bool, bytes], list[tuple[int, Event, int]]] = {}
    for user_id, event in told:
        tail = event.tail
        end = tail.rfind(_COUNTS)
        named = b'"user_id":%d' % user_id
        # What is the person's own comes first, up to their id; without one it is everybody's.
        start = tail.find(named)
        start = 0 if start < 0 else start + len(named)
        middle = tail[start : end if end >= start else len(tail)]
        crowds.setdefault((event.lane, event.rings, event.released, middle), []).append((user_id, event, start))
    hints: list[SharedHint] = []
    others: list[tuple[int, Event]] = []
    for (lane, rings, released, middle), crowd in crowds.items():
        if len(crowd) < CROWD_MIN:
            others += [(user_id, event) for user_id, event, _ in crowd]
            continue
        head = _common([event.tail[:start] for _, event, start in crowd])
        parts = [
            Part(user_id, event.seq, event.tail[len(head) : start], event.tail[start + len(middle) :])
            for user_id, event, start in crowd
        ]
        hints += [
            SharedHint(epoch, committed_at, lane, rings, released, head, middle, parts[first : first + CROWD_MAX])
            for first in range(0, len(parts), CROWD_MAX)
        ]
    return hints, others


def _common(beginnings: list[bytes]) -> bytes:
    """The longest prefix of all: of the first and the last in order, since all others lie between."""
    first, last = min(beginnings), max(beginnings)
    for index, byte in enumerate(first):
        if byte != last[index]:
            return first[:index]
    return first


def told_by(hint: SharedHint) -> Iterator[tuple[int, Event]]:
    """The inverse of `share`: (user, event) of each."""
    for part in hint.parts:
        tail = b"".join((hint.head, part.own, hint.middle, part.end))
        yield part.user_id, Event(part.seq, hint.lane, hint.rings, tail, hint.released)
