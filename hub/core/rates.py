"""How many requests in a while: the generic cell rate algorithm, which needs one instant a bucket.

Owns the arithmetic. Source: ITU-T I.371, as a sliding window: no burst at the edge of two windows, as fixed ones
have. Where the instants are kept is `hub.broker.rates`, whose script says the same in Lua.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

WINDOW_MS: Final = 60_000
"""What was not used of it is kept for as long as this: a whole minute's worth may come at once."""


class Bucket(msgspec.Struct, frozen=True):
    """One limit: `per_minute` requests for whoever shares `key`; `name` is what its headers call it."""

    name: str
    key: str
    per_minute: int


class Room(msgspec.Struct, frozen=True):
    """What is left in one bucket: so many requests now, and all of them again in `full_in_ms`."""

    remaining: int
    full_in_ms: int


class Taken(msgspec.Struct, frozen=True):
    """Whether there was room in every bucket; where not, nothing was taken, and there is in `retry_after_ms`.

    `rooms` are in the order of the buckets.
    """

    is_admitted: bool
    retry_after_ms: int
    rooms: list[Room]


def take(
    kept: Mapping[str, float], buckets: Sequence[Bucket], cost: int, now_ms: float
) -> tuple[Taken, dict[str, float]]:
    """Take `cost` from each bucket, or nothing at all. `kept` are instants in ms by key; the new ones are answered.

    A cost above what a bucket holds takes all that it holds.
    """
    waits = 0.0
    instants: dict[str, float] = {}
    for bucket in buckets:
        interval = WINDOW_MS / bucket.per_minute
        charged = max(kept.get(bucket.key, 0.0), now_ms) + min(cost, bucket.per_minute) * interval
        waits = max(waits, charged - now_ms - WINDOW_MS)
        instants[bucket.key] = charged
    # A thousandth of a millisecond: sums of intervals are not exact.
    is_admitted = waits <= 0.001
    rooms: list[Room] = []
    for bucket in buckets:
        at = instants[bucket.key] if is_admitted else max(kept.get(bucket.key, 0.0), now_ms)
        left = (WINDOW_MS - (at - now_ms)) * bucket.per_minute / WINDOW_MS
        rooms.append(Room(int(left + 0.001), _up(at - now_ms)))
    return Taken(is_admitted, 0 if is_admitted else _up(waits), rooms), instants if is_admitted else {}


def _up(value: float) -> int:
    whole = int(value)
    return whole if whole == value else whole + 1
