"""What this node hears of writers and of other nodes, and when what follows from it leaves.

Every hint passes here: `on_message` gives it to the connections it is for, and the turn of the loop ends with one
write for each of those. Does not own what a connection makes of it (`Connection.hear`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from hub.core.event import decode_hint
from hub.core.topics import NODES, tenant_of_presence, tenant_of_tasks
from hub.gateway.latency import Latency
from hub.gateway.presence import ASK_MARK
from hub.gateway.ringer import GOSSIP_MARK

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node

HELD_S_MAX: Final = 0.05
"""How long frames are held while more hints are there to be read: a frame that leaves together with three others
costs a third. Only what has piled up already is held, so it would have waited for those before it anyway."""
HELD_COUNT_MAX: Final = 50_000
"""Frames held at once, of all connections: tens of megabytes, where each is of half a KiB."""


_TIMED_MAX: Final = 16
"""Hints of one turn that the histogram counts: the first, which have waited longest. A flood is not worth more."""


class Hearing:
    """The listener of one node's broker."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # Who has something to do at the end of this turn of the loop.
        self._dirty: list[Connection] = []
        self._is_turn_ending = False
        self._held_since: float | None = None
        self._held_count = 0
        self._looked_count = 0
        # When those were committed whose events leave with this turn.
        self._commits: list[float] = []
        self.latency = Latency()

    def on_message(self, topic: str, payload: bytes) -> None:
        """One message of a topic that this node is subscribed to."""
        node = self._node
        audience = node.registry.by_topic(topic)
        if audience is None:
            self._on_other_message(topic, payload)
            return
        if payload.startswith(GOSSIP_MARK):
            node.ringer.gossip(audience, payload)
            return
        try:
            hint = decode_hint(payload)
        except msgspec.DecodeError:
            node.statistics.hints_bad += 1
            return
        node.statistics.hints_received += 1
        if audience.remote:
            node.ringer.heard(audience, hint.events, node.clock.monotonic())
        self._held_count += 1
        if hint.committed_at and len(self._commits) < _TIMED_MAX:
            self._commits.append(hint.committed_at)
        # A copy, since one that fails is closed, and leaves.
        for connection in audience.connections.copy():
            connection.hear(hint)
            if not connection.is_dirty:
                connection.is_dirty = True
                self._dirty.append(connection)
                if not self._is_turn_ending:
                    self._is_turn_ending = True
                    asyncio.get_running_loop().call_soon(self._end_turn)

    def _on_other_message(self, topic: str, payload: bytes) -> None:
        node = self._node
        if topic == NODES:
            if payload.startswith(ASK_MARK):
                node.presence.asked(payload)
            else:
                node.ringer.heard_beat(payload)
        elif (tenant_id := tenant_of_presence(topic)) is not None:
            node.presence.heard(tenant_id, payload)
        elif (tenant_id := tenant_of_tasks(topic)) is not None:
            node.task_watch.heard(tenant_id, payload)

    def _end_turn(self) -> None:
        """What came for each leaves now, in one write each; later where more of it is about to come."""
        now = self._node.clock.monotonic()
        if self._node.subscriptions.is_behind and self._looked_count < self._held_count < HELD_COUNT_MAX:
            # One more turn reads what is there by now; where that is nothing, it is the last.
            self._looked_count = self._held_count
            if self._held_since is None:
                self._held_since = now
            if now - self._held_since < HELD_S_MAX:
                asyncio.get_running_loop().call_soon(self._end_turn)
                return
        self._is_turn_ending = False
        self._held_since = None
        self._held_count = self._looked_count = 0
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.end_turn(now)
        if self._commits:
            commits, self._commits = self._commits, []
            written_at = self._node.clock.now().timestamp()
            for committed_at in commits:
                self.latency.observe(written_at - committed_at)
