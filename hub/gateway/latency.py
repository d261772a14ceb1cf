"""How soon after its commit an event is written to the sockets: the node's own histogram.

By the wall clocks of the writer's node and of this one; where these differ, it shows
that difference too. Does not own what a peer's network adds.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Around the goals, 1.5 ms and 10 ms; the last is what a lost hint may cost."""


class Latency:
    """Counts by the bounds, each the most that its bucket holds; one more bucket for what is above all of them."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """One hint's events are with the sockets. Where the writer's clock is ahead, that is no time at all."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds
