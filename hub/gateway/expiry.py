"""When which connection's token ends, without a timer a connection.

Owns the instants. Does not own what happens then.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.gateway.connection import Connection

_STALE_MIN = 64
"""So many entries that mean nothing any more are let be; rebuilding for fewer costs more than they do."""


class Expiries:
    """One instant (seconds of the wall clock) a connection.

    A heap cannot forget from its middle, so it may hold what a renewal or a close has made stale: at most as
    much again as is alive. Without that bound, a client that renews in a loop, or ten thousand that come and
    go with tokens of a year, would fill the memory.
    """

    def __init__(self) -> None:
        self._at: dict[Connection, float] = {}
        self._heap: list[tuple[float, int, Connection]] = []
        self._serial = 0

    def __len__(self) -> int:
        """Entries held, the stale ones too."""
        return len(self._heap)

    def put(self, connection: Connection, at: float | None) -> None:
        """From now on this connection ends at `at`, and at no instant named before; None is never."""
        self._at.pop(connection, None)
        if at is not None:
            self._at[connection] = at
            self._push(at, connection)
        if len(self._heap) > 2 * len(self._at) + _STALE_MIN:
            self._heap.clear()
            for one, its_at in self._at.items():
                self._push(its_at, one)

    def due(self, now: float) -> list[Connection]:
        """Those whose instant has come, each once; they are forgotten."""
        due: list[Connection] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, connection = heapq.heappop(self._heap)
            if self._at.get(connection) == at:
                del self._at[connection]
                due.append(connection)
        return due

    def _push(self, at: float, connection: Connection) -> None:
        # Among equals the serial decides, since connections have no order.
        self._serial += 1
        heapq.heappush(self._heap, (at, self._serial, connection))
