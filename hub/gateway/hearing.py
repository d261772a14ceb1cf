"""What this node hears of writers and of other nodes, and when what follows from it leaves.

Every hint passes here: `on_message` gives it to the connections it is for, and the turn of the loop ends with one
write for each of those. Does not own what a connection makes of it (`Connection.hear`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from hub.core.event import Event, decode_hint
from hub.core.shared_hint import decode_shared
from hub.core.topics import NODES, tenant_of_crowd, tenant_of_presence, tenant_of_tasks
from hub.gateway.latency import Latency
from hub.gateway.presence import ASK_MARK
from hub.gateway.ringer import GOSSIP_MARK

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node
    from hub.gateway.registry import Audience

HELD_S_MAX: Final = 0.2
"""The longest that frames are held while more hints are there to be read: a frame that leaves together with three
others costs a third. Only what has piled up already is held."""
_WRITE_S: Final = 10e-6
"""What a write takes. Frames are held no longer than their writes will take: so none comes more than twice as late."""
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
        # Events that leave with this turn, each in a frame of its own.
        self._leaving_count = 0
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
        self._held_count += 1
        self._begin_turn(hint.committed_at)
        events = hint.events
        if len(events) == 1:
            self._tell(audience, hint.epoch, events[0])
            return
        if audience.remote:
            node.ringer.heard(audience, events, node.clock.monotonic())
        for connection in audience.connections.copy():
            connection.hear_all(hint)
            self._remember(connection)

    def _on_crowd(self, tenant_id: str, payload: bytes) -> None:
        """What many of a tenant were told alike: those of them who are here hear it."""
        try:
            hint = decode_shared(payload)
        except msgspec.DecodeError:
            self._node.statistics.hints_bad += 1
            return
        audience_of = self._node.registry.of_tenant(tenant_id).get
        epoch, lane, rings, released, head, middle = (
            hint.epoch, hint.lane, hint.rings, hint.released, hint.head, hint.middle,
        )  # fmt: skip
        heard = 0
        for part in hint.parts:
            audience = audience_of(part.user_id)
            if audience is not None:
                heard += 1
                tail = b"".join((head, part.own, middle, part.end))
                self._tell(audience, epoch, Event(part.seq, lane, rings, tail, released))
        self._node.statistics.hints_received += heard
        self._held_count += heard
        if heard:
            self._begin_turn(hint.committed_at)

    def _tell(self, audience: Audience, epoch: str, event: Event) -> None:
        """Every connection of a user hears of an event. The hot path."""
        if audience.remote:
            self._node.ringer.heard(audience, [event], self._node.clock.monotonic())
        connections = audience.connections
        # A copy, since one that fails is closed, and leaves.
        for connection in connections if len(connections) == 1 else connections.copy():
            self._leaving_count += connection.hear(epoch, event)
            if not connection.is_dirty:
                connection.is_dirty = True
                self._dirty.append(connection)

    def _remember(self, connection: Connection) -> None:
        if not connection.is_dirty:
            connection.is_dirty = True
            self._dirty.append(connection)

    def _begin_turn(self, committed_at: float) -> None:
        """See to it that what is heard now leaves at the end of this turn."""
        if committed_at and len(self._commits) < _TIMED_MAX:
            self._commits.append(committed_at)
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
        elif (tenant_id := tenant_of_crowd(topic)) is not None:
            self._on_crowd(tenant_id, payload)
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
            if now - self._held_since < min(len(self._dirty) * _WRITE_S, HELD_S_MAX):
                asyncio.get_running_loop().call_soon(self._end_turn)
                return
        self._is_turn_ending = False
        self._held_since = None
        self._held_count = self._looked_count = 0
        self._node.statistics.events_sent += self._leaving_count
        self._node.statistics.frames_sent += self._leaving_count
        self._leaving_count = 0
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.end_turn(now)
        if self._commits:
            commits, self._commits = self._commits, []
            written_at = self._node.clock.now().timestamp()
            for committed_at in commits:
                self.latency.observe(written_at - committed_at)
