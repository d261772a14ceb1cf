"""Pings, heartbeats and the search for peers that are gone, without a timer a connection.

Connections sit in the slots of a wheel; each is visited five times a heartbeat
interval, which is often enough to say something in time and to see a silent one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core.closing import Close

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node

_VISITS = 5
"""A beat is every fifth visit."""
_SLOTS = 10
"""Visits are spread, so that twenty thousand connections are not looked at in one turn."""


class HeartbeatWheel:
    """Which connections to look at now. `interval_s` is that of the heartbeat."""

    def __init__(self, interval_s: float) -> None:
        self._slots: list[dict[Connection, int]] = [{} for _ in range(_SLOTS)]
        self._slot_s = interval_s / _VISITS / _SLOTS
        self._next = 0
        self._next_at: float | None = None
        self._added = 0
        self._interval_s = interval_s

    def add(self, connection: Connection) -> None:
        self._added += 1
        self._slots[self._added % _SLOTS][connection] = 0

    def remove(self, connection: Connection) -> None:
        for slot in self._slots:
            if slot.pop(connection, None) is not None:
                return

    def due(self, now: float) -> list[Connection]:
        """The connections whose slots have come round since the last call; each at most once."""
        if self._next_at is None:
            self._next_at = now
        due: list[Connection] = []
        for _ in range(_SLOTS):
            if self._next_at > now:
                break
            due.extend(self._slots[self._next])
            self._next = (self._next + 1) % _SLOTS
            self._next_at += self._slot_s
        else:
            # The loop was held up for longer than a round: do not make up for visits that were missed.
            self._next_at = max(self._next_at, now)
        return due

    def visit(self, connection: Connection, now: float, node: Node) -> None:
        """Ping on every fifth visit, say a heartbeat where nothing else was said, close where the peer is gone."""
        slot = next((slot for slot in self._slots if connection in slot), None)
        if slot is None or not connection.is_open:
            return
        slot[connection] += 1
        if now - connection.heard_at > node.ringer.silence_s:
            node.ringer.reconsider(connection.audience)
        # What a full socket has yet to take says as much as a heartbeat would.
        if now - connection.said_at >= self._interval_s and connection.is_writable:
            connection.heartbeat()
        if slot[connection] < _VISITS:
            return
        slot[connection] = 0
        acked = connection.acked_bytes()
        if acked > connection.acked_at_beat or connection.heard_at > connection.heard_at_beat:
            connection.acked_at_beat = max(acked, connection.acked_at_beat)
            connection.heard_at_beat = connection.heard_at
            connection.silent_beats = 0
        else:
            connection.silent_beats += 1
            if connection.silent_beats >= 2:
                node.statistics.peers_gone += 1
                connection.close(Close.TIMED_OUT, "nothing came from you for two heartbeats")
                return
        connection.send_ping()
