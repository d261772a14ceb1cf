"""One device rings: agreement between the nodes that hold a person's devices.

Each node says on the user's topic which of its devices it would ask, whenever
that changes, and once more when another asks; everyone then decides alike
(`core.ring`). A node that has not been heard for a while counts no more. While
the broker is away each node knows only its own: rather twice than never.

Owns the gossip and its clock. Does not own what a frame looks like.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import msgspec

from hub.core.event import Event
from hub.core.ring import Candidate, RungSeqs, decide_ringer
from hub.core.topics import NODES

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node
    from hub.gateway.registry import Audience

GOSSIP_MARK = b"R"
"""The first byte of gossip on a user's topic; a hint begins with a MessagePack array."""


class _Said(msgspec.Struct, array_like=True, tag="said"):
    """This node would ask `candidate` (None: it has no device that can ring); `asks` wants the same of others."""

    node: str
    candidate: Candidate | None
    asks: bool


class _Again(msgspec.Struct, array_like=True, tag="again"):
    """Node `to` should let `session` ring for `event`, a number of `epoch`."""

    node: str
    to: str
    session: str
    event: Event
    epoch: str


class _Beat(msgspec.Struct, array_like=True):
    node: str
    state: Literal["alive", "gone"]


_encode = msgspec.msgpack.Encoder().encode
_gossip_decoder = msgspec.msgpack.Decoder(_Said | _Again)
_beat_decoder = msgspec.msgpack.Decoder(_Beat)


_FORGOTTEN_S = 600.0
"""A node that was silent for this long does not come back under its name."""
_AT_ONCE = 500
"""Audiences looked at between two looks at what else there is to do."""


class Ringer:
    """Decides on this node whether a connection's frame rings."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._peers: dict[str, float] = {}
        # Who answers pings is heard once a heartbeat: a wish for less would take the ring from everyone.
        self.silence_s = max(node.limits.ring_silence_max_s, 1.2 * node.limits.heartbeat_ms / 1000)
        self._again_timers: set[asyncio.TimerHandle] = set()

    # -- deciding ----------------------------------------------------------------------------------------------------

    def asks(self, connection: Connection, event: Event, now: float) -> bool:
        """Whether `connection` is the one to ring for this event, which is about to be sent to it.

        Says yes at most once a number and user on this node.
        """
        audience = connection.audience
        if audience is None or self._best(audience, now) is not connection:
            return False
        if audience.rung is None:
            audience.rung = RungSeqs()
        if event.seq in audience.rung:
            return False
        audience.rung.add(event.seq)
        if event.released or event.seq <= connection.session.replayed_seq:
            is_burst = now - connection.burst_rang_at < self._node.limits.ring_burst_s
            connection.burst_rang_at = now
            if is_burst:
                return False
        self._node.statistics.rings += 1
        if event.lane == 0:
            self._watch(audience, connection, event)
        return True

    def heard(self, audience: Audience, events: list[Event], now: float) -> None:
        """A hint came. Where another node's device is the one to ring, ours will not ring for it later either."""
        if audience.remote and self._best(audience, now) is None:
            if audience.rung is None:
                audience.rung = RungSeqs()
            if decide_ringer(self._remote(audience, now)) is not None:
                for event in events:
                    if event.rings:
                        audience.rung.add(event.seq)

    def _local(self, audience: Audience, now: float) -> list[Candidate]:
        return [
            Candidate(self._node.node_id, c.session_id, c.focused_at, c.connected_at)
            for c in audience.connections
            # One that is not welcomed yet may be told to begin after what rings now.
            if c.can_ring and c.is_welcomed and c.is_open and now - c.heard_at <= self.silence_s
        ]

    def _remote(self, audience: Audience, now: float) -> list[Candidate]:
        if not audience.remote:
            return []
        oldest = now - self._node.limits.node_silence_max_s
        return [c for node, c in audience.remote.items() if self._peers.get(node, float("-inf")) >= oldest]

    def _best(self, audience: Audience, now: float) -> Connection | None:
        """The connection here that rings, or None where it is another node's, or nobody's."""
        connections = audience.connections
        if len(connections) == 1 and not audience.remote:
            only = connections[0]
            can = only.can_ring and now - only.heard_at <= self.silence_s
            return only if can else None
        best = decide_ringer([*self._local(audience, now), *self._remote(audience, now)])
        if best is None or best.node != self._node.node_id:
            return None
        return next((c for c in connections if c.session_id == best.session), None)

    # -- agreeing ----------------------------------------------------------------------------------------------------

    def reconsider(self, audience: Audience | None, *, asks: bool = False) -> None:
        """A device came, went, took the focus or fell silent: tell the other nodes where our best is another now."""
        if audience is None:
            return
        own = decide_ringer(self._local(audience, self._node.clock.monotonic()))
        if own != audience.announced or asks:
            audience.announced = own
            if self._node.is_draining:
                # Everyone has heard that this node goes, and asks none of its devices.
                return
            self._publish(audience.topic, _Said(self._node.node_id, own, asks))

    def gossip(self, audience: Audience, payload: bytes) -> None:
        """Another node said something about this user."""
        try:
            said = _gossip_decoder.decode(payload[1:])
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._node.statistics.hints_bad += 1
            return
        if said.node == self._node.node_id:
            return
        if isinstance(said, _Again):
            if said.to == self._node.node_id:
                self._ring_here(audience, said.session, said.event, said.epoch)
            return
        self.noted(said.node)
        if audience.remote is None:
            audience.remote = {}
        if said.candidate is None:
            audience.remote.pop(said.node, None)
        else:
            audience.remote[said.node] = said.candidate
        if said.asks and audience.announced is not None:
            self._publish(audience.topic, _Said(self._node.node_id, audience.announced, asks=False))

    def beat(self, state: Literal["alive", "gone"] = "alive") -> bytes:
        """What this node says on `NODES`."""
        return _encode(_Beat(self._node.node_id, state))

    def heard_beat(self, payload: bytes) -> None:
        try:
            beat = _beat_decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._node.statistics.hints_bad += 1
            return
        if beat.node == self._node.node_id:
            return
        if beat.state == "gone":
            self._forget({beat.node})
        else:
            self.noted(beat.node)

    def noted(self, node_id: str) -> None:
        """Another node lives: something of its was heard."""
        now = self._node.clock.monotonic()
        before = self._peers.get(node_id)
        self._peers[node_id] = now
        if before is None or now - before > self._node.limits.node_silence_max_s:
            # It had been taken for dead, and its devices for gone.
            self._node.presence.ask_again(node_id)

    def forget_peers(self) -> None:
        """The broker is away: nothing is known of other nodes, and what was known will be old."""
        self._forget(set(self._peers))

    def forget_the_dead(self) -> None:
        """Nodes come and go for as long as this one lives."""
        oldest = self._node.clock.monotonic() - _FORGOTTEN_S
        if dead := {node for node, heard_at in self._peers.items() if heard_at < oldest}:
            self._forget(dead)

    async def rejoin(self) -> None:
        """The broker is back: what was said meanwhile was heard neither there nor here. Begin anew."""
        self._node.publish_soon(NODES, self.beat("gone"))
        self._node.publish_soon(NODES, self.beat())
        for count, audience in enumerate(self._node.registry, 1):
            if audience.announced is not None:
                self.reconsider(audience, asks=True)
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    def _forget(self, nodes: set[str]) -> None:
        for node in nodes:
            self._peers.pop(node, None)
        for audience in self._node.registry:
            if audience.remote:
                for node in nodes:
                    audience.remote.pop(node, None)
        self._node.presence.drop_silent_nodes(set(self.peers()))

    def peers(self) -> list[str]:
        """The other nodes heard of lately."""
        oldest = self._node.clock.monotonic() - self._node.limits.node_silence_max_s
        return [node for node, heard_at in self._peers.items() if heard_at >= oldest]

    def _publish(self, topic: str, said: _Said | _Again) -> None:
        self._node.publish_soon(topic, GOSSIP_MARK + _encode(said))

    # -- once more ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        for timer in self._again_timers:
            timer.cancel()
        self._again_timers.clear()

    def _watch(self, audience: Audience, connection: Connection, event: Event) -> None:
        loop = asyncio.get_running_loop()
        epoch = connection.session.epoch

        def check() -> None:
            self._again_timers.discard(timer)
            # Its user may have left this node and come back meanwhile.
            self._ring_elsewhere(self._node.registry.by_topic(audience.topic) or audience, connection, event, epoch)

        timer = loop.call_later(self._node.limits.ring_again_s, check)
        self._again_timers.add(timer)

    def _ring_elsewhere(self, audience: Audience, first: Connection, event: Event, epoch: str) -> None:
        if first.acked_seq >= event.seq or any(c.acked_seq >= event.seq for c in audience.connections):
            return
        now = self._node.clock.monotonic()
        local = [c for c in self._local(audience, now) if c.session != first.session_id]
        best = decide_ringer([*local, *self._remote(audience, now)])
        if best is None:
            return
        if best.node == self._node.node_id:
            self._ring_here(audience, best.session, event, epoch)
        else:
            self._publish(audience.topic, _Again(self._node.node_id, best.node, best.session, event, epoch))

    def _ring_here(self, audience: Audience, session_id: str, event: Event, epoch: str) -> None:
        for connection in audience.connections:
            # In another history the number is another event's, and its client would drop that one for this.
            if (
                connection.session_id == session_id
                and connection.acked_seq < event.seq
                and connection.session.epoch == epoch
            ):
                self._node.statistics.rings_again += 1
                connection.ring_again(event)


__all__ = ["GOSSIP_MARK", "NODES", "Ringer"]
