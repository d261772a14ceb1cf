"""One device of one person: what its frames mean, and what it is sent.

Joins a `Socket` (bytes) to a `Session` (its place in the log). Owns the phases of
a connection and the order of its calls; whatever concerns several connections is
the `Node`'s.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from websockets.http11 import Request

from hub.core.closing import Close, retry_after_ms
from hub.core.event import Event, Hint
from hub.core.frames import (
    CODECS,
    JSON,
    BadFrame,
    Bye,
    ClientFrame,
    Failed,
    Heartbeat,
    NotAFrame,
    Reset,
    UnknownFrame,
    Welcome,
)
from hub.core.log import StreamState
from hub.core.principal import Principal
from hub.core.session import Resume, Session, State
from hub.gateway import answering, wire
from hub.gateway.calling import CallQueue
from hub.gateway.handshake import problem
from hub.gateway.phase import Phase
from hub.gateway.registry import Audience
from hub.gateway.socket import Socket

if TYPE_CHECKING:
    from hub.gateway.node import Node

_log = logging.getLogger("hub.gateway")
_BATCH_MIN = 8
"""From this many events on they leave as one `events` message; fewer are cheaper to read one by one."""


class Connection(Socket):
    """A connection of a browser or a desktop. Made by uvicorn, one for each upgrade."""

    __slots__ = (
        "acked_at_beat",
        "acked_seq",
        "audience",
        "burst_rang_at",
        "calls",
        "can_ring",
        "codec",
        "connected_at",
        "device",
        "focused_at",
        "has_to_flush",
        "heard_at_beat",
        "held",
        "is_dirty",
        "is_pumping",
        "is_renewing",
        "node",
        "phase",
        "presence_missed",
        "principal",
        "session",
        "session_id",
        "silent_beats",
        "was_live",
    )

    def __init__(self, node: Node, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(node.limits, server_state.connections, node.parsers, compress=node.compress)
        self.node = node
        self.phase = Phase.HANDSHAKE
        self.codec = CODECS[JSON]
        self.session = Session(node.session_limits)
        self.session_id = ""
        self.principal: Principal | None = None
        self.audience: Audience | None = None
        self.device: str | None = None
        self.can_ring = False
        self.connected_at = 0.0
        self.focused_at = 0.0
        self.burst_rang_at = float("-inf")
        self.acked_seq = 0
        self.heard_at_beat = 0.0
        self.acked_at_beat = 0
        self.silent_beats = 0
        self.was_live = False
        self.is_dirty = False
        self.has_to_flush = False
        self.is_pumping = False
        self.presence_missed: set[int] | None = None
        self.calls: CallQueue | None = None
        # What was said after the hello and before the welcome, with its size.
        self.held: list[tuple[ClientFrame, int]] | None = None
        self.is_renewing = False

    # -- the handshake -----------------------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        self.node.entrance.knock(self, request)

    def start(self, request: Request) -> None:
        """Accept the handshake; a hello must follow."""
        if self.phase is not Phase.HANDSHAKE:
            return
        subprotocol = self._accept(request)
        if subprotocol is None:
            return
        self.codec = CODECS[subprotocol or JSON]
        self.is_text = self.codec.is_text
        self.phase = Phase.HELLO
        self.heard_at = self.heard_at_beat = self._monotonic()
        self.node.statistics.connections_opened += 1
        self.node.entrance.expect(self)

    # -- what the client says ----------------------------------------------------------------------------------------

    def _on_message(self, payload: bytes, *, is_text: bool) -> None:
        if is_text is not self.is_text:
            self.close(Close.BAD_FRAME, f"this connection speaks {'text' if self.is_text else 'binary'} frames")
            return
        try:
            frame = self.codec.read(payload)
        except NotAFrame as exc:
            self.close(Close.BAD_FRAME, str(exc))
        except (UnknownFrame, BadFrame) as exc:
            if self.phase is Phase.HELLO:
                self.close(Close.BAD_FRAME, f"the first frame is a hello: {exc}")
            else:
                self.say(Failed(problem(422, "Not a frame of this protocol", str(exc))))
        else:
            answering.handle(self, frame, len(payload))

    # -- what it is sent ---------------------------------------------------------------------------------------------

    def say(self, frame: Any) -> None:
        """Send a frame that is no event, ahead of the events that wait."""
        if self.is_open:
            self.send(self.codec.encode(frame))

    def welcome(self, state: StreamState, resume: Resume) -> None:
        """Answer the hello; from here on events follow."""
        assert self.principal is not None
        assert self.principal.user_id is not None
        self.say(
            Welcome(
                session=self.session_id,
                tenant_id=self.principal.tenant_id,
                user_id=self.principal.user_id,
                epoch=state.epoch,
                cursor=self.session.cursor,
                head=state.head,
                resume=resume,
                heartbeat_ms=self.limits.heartbeat_ms,
                counts=state.counts,
            )
        )
        held, self.held = self.held, None
        for frame, size in held or ():
            answering.handle(self, frame, size)
        self.flush()

    def reset(self, state: StreamState) -> None:
        """Tell the client to load afresh; the session already stands at the new head."""
        self.acked_seq = 0
        self.node.forget_acknowledged(self)
        self.say(Reset(state.epoch, state.head, state.head, state.counts))

    @property
    def is_welcomed(self) -> bool:
        """It has its place in the log, and gets what is committed from now on."""
        return self.phase is Phase.OPEN

    def heartbeat(self) -> None:
        self.say(Heartbeat(max(self.session.head, self.session.admitted_seq)))

    def hear(self, epoch: str, event: Event) -> bool:
        """A writer says what it has committed. Whoever calls it calls `end_turn` at the end of this turn.

        True: it leaves then, in a frame of its own, which the caller counts. Never raises, nor do the three below.
        What was taken and could not be said is still the client's to ask for: by its cursor.
        """
        try:
            if self.is_writable and self.session.pass_by(epoch, event):
                ring = event.rings and self.can_ring and self.node.ringer.asks(self, event, self._monotonic())
                self.gather(wire.message(self.codec.event(event, event.seq, ring), self.is_text))
                return True
        except Exception:
            self._fail()
            return False
        self.hear_all(Hint(epoch, [event]))
        return False

    def hear_all(self, hint: Hint) -> None:
        """The same, of several that follow on each other, or of one that cannot leave at once."""
        try:
            self.session.hint(hint, self._monotonic())
            self.has_to_flush = True
        except Exception:
            self._fail()

    def end_turn(self, now: float) -> None:
        """What came together leaves together."""
        self.is_dirty = False
        try:
            self.give_gathered(now)
        except Exception:
            self._fail()
        if self.has_to_flush:
            self.has_to_flush = False
            self.flush()

    def flush(self) -> None:
        """Send what may leave now, as far as the socket takes it; ask for more of the log where there is room."""
        try:
            self._flush()
        except Exception:
            self._fail()

    def _fail(self) -> None:
        _log.exception("a connection is closed, since what it is owed could not be sent")
        self.close(Close.GOING_AWAY, "the hub failed to send this connection what it is owed")

    def _flush(self) -> None:
        session = self.session
        if self.phase is not Phase.OPEN:
            return
        while self.is_writable and session.has_waiting and self.is_open:
            now = self._monotonic()
            lagged = session.state is State.LAGGING
            taken = session.take(self.limits.batch_bytes_max, now)
            if not taken:
                break
            if lagged:
                self.node.statistics.lagged += session.state is not State.LAGGING
            self._send_events(taken, now)
        if session.wants_page:
            self.node.catch_up.begin(self)
        elif session.state is State.LIVE:
            self.was_live = True

    def _send_events(self, taken: list[tuple[Event, int]], now: float) -> None:
        asks = self.node.ringer.asks
        rings = [event.seq for event, _ in taken if event.rings and asks(self, event, now)]
        if len(taken) >= _BATCH_MIN:
            frames = [wire.message(self.codec.events(taken, rings), self.is_text)]
        else:
            encode = self.codec.event
            frames = [wire.message(encode(event, cursor, event.seq in rings), self.is_text) for event, cursor in taken]
        statistics = self.node.statistics
        statistics.events_sent += len(taken)
        statistics.frames_sent += len(frames)
        self.send_frames(frames)

    def ring_again(self, event: Event) -> None:
        """Send an event once more, so that this device rings: another one did not answer."""
        if self.is_open and self.phase is Phase.OPEN:
            self.send(self.codec.event(event, self.session.cursor, True))

    # -- what the socket tells ---------------------------------------------------------------------------------------

    def _monotonic(self) -> float:
        return self.node.clock.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.node.sockets.add(self)

    def _on_writable(self) -> None:
        self.flush()
        if self.calls is not None:
            self.calls.run()
        if self.presence_missed:
            self.node.presence.catch_up(self)

    def _on_over(self) -> None:
        self.node.statistics.connections_closed += self.phase is not Phase.HANDSHAKE
        self.phase = Phase.OVER
        self.session.close()
        self.held = None
        if self.calls is not None:
            self.calls.clear()
        self.node.lost(self)

    def _on_gone(self) -> None:
        self.node.gone(self)

    def _bye(self, code: int, reason: str) -> bytes:
        known = code in Close.__members__.values()
        wait = retry_after_ms(Close(code), self.node.clock.unit()) if known else None
        return wire.message(self.codec.encode(Bye(code, reason, wait)), self.is_text)

    def close(self, code: Close, reason: str) -> None:
        # A close reason holds 123 bytes (RFC 6455 §5.5); bye has the same words.
        super().close(code, reason.encode()[:123].decode(errors="ignore"))
