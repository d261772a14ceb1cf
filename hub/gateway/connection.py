"""One device of one person: what its frames mean, and what it is sent.

Joins a `Socket` (bytes) to a `Session` (its place in the log). Owns the phases of
a connection and the order of its calls; whatever concerns several connections is
the `Node`'s.
"""

from __future__ import annotations

import http
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from websockets.http11 import Request

from hub.core.closing import Close, retry_after_ms
from hub.core.event import Event
from hub.core.frames import (
    CODECS,
    JSON,
    Ack,
    BadFrame,
    Bye,
    Call,
    ClientFrame,
    Failed,
    Focus,
    Heartbeat,
    Hello,
    NotAFrame,
    Ping,
    Pong,
    Reset,
    Result,
    Token,
    UnknownFrame,
    Welcome,
)
from hub.core.log import LogUnavailable, StreamState
from hub.core.principal import Principal
from hub.core.session import Resume, Session, State
from hub.gateway import wire
from hub.gateway.handshake import problem, why_refused
from hub.gateway.ports import CallFailed, TokenRefused
from hub.gateway.registry import Audience
from hub.gateway.socket import Socket

if TYPE_CHECKING:
    from hub.gateway.node import Node

_BATCH_MIN = 8
"""From this many events on they leave as one `events` message; fewer are cheaper to read one by one."""


class Phase(IntEnum):
    """Where a connection is between its first byte and its last."""

    HANDSHAKE = 0
    HELLO = 1
    OPENING = 2
    OPEN = 3
    OVER = 4


class Connection(Socket):
    """A connection of a browser or a desktop. Made by uvicorn, one for each upgrade."""

    __slots__ = (
        "_calls",
        "_frames_counted",
        "_frames_since",
        "_heartbeats",
        "_is_calling",
        "acked_at_beat",
        "acked_seq",
        "audience",
        "burst_rang_at",
        "can_ring",
        "codec",
        "connected_at",
        "device",
        "focused_at",
        "heard_at_beat",
        "is_dirty",
        "is_pumping",
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
        super().__init__(node.limits, server_state.connections, compress=node.compress)
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
        self.is_pumping = False
        self.presence_missed: set[int] | None = None
        self._calls: deque[Call] | None = None
        self._is_calling = False
        self._frames_since = 0.0
        self._frames_counted = 0

    # -- the handshake -----------------------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        refusal = why_refused(self.node, request)
        if refusal is not None:
            self.node.statistics.handshakes_refused += 1
            self._refuse(*refusal)
            return
        authorization = request.headers.get("Authorization")
        if authorization is None:
            self._start(request)
        else:
            self.node.spawn(self._prove(request, authorization))

    async def _prove(self, request: Request, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise TokenRefused("the scheme is Bearer")
            self.principal = await self.node.verifier.verify(token.strip())
        except TokenRefused as exc:
            self.node.statistics.handshakes_refused += 1
            self._refuse(
                http.HTTPStatus.UNAUTHORIZED,
                problem(401, "Unauthorized", str(exc)),
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        except LogUnavailable:
            self._refuse(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                problem(503, "Unavailable", "the hub cannot reach its database"),
                {"Retry-After": "2"},
            )
        else:
            self._start(request)

    def _start(self, request: Request) -> None:
        if self.phase is not Phase.HANDSHAKE or self.transport.is_closing():
            return
        subprotocol = self._accept(request)
        if subprotocol is None:
            return
        self.codec = CODECS[subprotocol or JSON]
        self.is_text = self.codec.is_text
        self.phase = Phase.HELLO
        self.heard_at = self.heard_at_beat = self._monotonic()
        self.node.accepted(self)

    # -- what the client says ----------------------------------------------------------------------------------------

    def _on_message(self, payload: bytes, *, is_text: bool) -> None:
        now = self.heard_at
        if now - self._frames_since >= 1.0:
            self._frames_since, self._frames_counted = now, 0
        self._frames_counted += 1
        if self._frames_counted > self.limits.frames_per_s_max:
            self.close(Close.TOO_MANY_FRAMES, f"more than {self.limits.frames_per_s_max} frames a second")
            return
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
            self._handle(frame)

    def _handle(self, frame: ClientFrame) -> None:
        if self.phase is Phase.HELLO:
            if isinstance(frame, Hello):
                self.phase = Phase.OPENING
                self.node.spawn(self.node.open(self, frame))
            else:
                self.close(Close.BAD_FRAME, "the first frame is a hello")
            return
        match frame:
            case Ack():
                self._acknowledge(frame.cursor)
            case Ping():
                self.say(Pong(frame.id, max(self.session.head, self.session.admitted_seq)))
            case Focus():
                if frame.can_ring is not None:
                    self.can_ring = frame.can_ring
                if frame.focused:
                    self.focused_at = self.node.clock.now().timestamp()
                self.node.ringer.reconsider(self.audience)
            case Call():
                self._queue(frame)
            case Token():
                self.node.spawn(self.node.renew(self, frame.token))
            case Hello():
                self.say(Failed(problem(409, "Already open", "a connection says hello once")))

    def _acknowledge(self, cursor: int) -> None:
        # At most up to what this connection was sent.
        cursor = min(cursor, self.session.outbox.cursor)
        if cursor > self.acked_seq and self.phase is Phase.OPEN:
            self.acked_seq = cursor
            self.node.acknowledged(self, cursor)

    def _queue(self, call: Call) -> None:
        if self._calls is None:
            self._calls = deque()
        if len(self._calls) >= self.limits.calls_waiting_max:
            self.say(Failed(problem(429, "Too many requests", "too many calls wait on this connection"), call.id))
            return
        self._calls.append(call)
        self.run_calls()

    def run_calls(self) -> None:
        """Perform what waits, one after another: a read and an unread keep their order."""
        if self._calls and not self._is_calling and self.phase is Phase.OPEN:
            self._is_calling = True
            self.node.spawn(self._perform_calls())

    async def _perform_calls(self) -> None:
        try:
            while self._calls and self.is_open and self.is_writable:
                call = self._calls.popleft()
                self.say(await self._perform(call))
        finally:
            self._is_calling = False

    async def _perform(self, call: Call) -> Result | Failed:
        assert self.principal is not None
        statistics = self.node.statistics
        statistics.calls += 1
        try:
            return Result(call.id, await self.node.perform(self, call.method, call.params))
        except CallFailed as exc:
            statistics.calls_failed += 1
            return Failed(exc.problem, call.id)

    # -- what it is sent ---------------------------------------------------------------------------------------------

    def say(self, frame: Any) -> None:
        """Send a frame that is no event, ahead of the events that wait."""
        if self.is_open:
            self.send(self.codec.encode(frame))

    def welcome(self, state: StreamState, resume: Resume) -> None:
        """Answer the hello; from here on events follow."""
        assert self.principal is not None
        assert self.principal.user_id is not None
        self.phase = Phase.OPEN
        self.say(
            Welcome(
                session=self.session_id,
                tenant_id=self.principal.tenant_id,
                user_id=self.principal.user_id,
                epoch=state.epoch,
                cursor=self.session.outbox.cursor,
                head=state.head,
                resume=resume,
                heartbeat_ms=self.limits.heartbeat_ms,
                counts=state.counts,
            )
        )
        self.flush()
        self.run_calls()

    def reset(self, state: StreamState) -> None:
        """Tell the client to load afresh; the session already stands at the new head."""
        self.acked_seq = 0
        self.say(Reset(state.epoch, state.head, state.head, state.counts))

    def heartbeat(self) -> None:
        self.say(Heartbeat(max(self.session.head, self.session.admitted_seq)))

    def flush(self) -> None:
        """Send what may leave now, as far as the socket takes it; ask for more of the log where there is room."""
        session = self.session
        if self.phase is not Phase.OPEN:
            return
        while self.is_writable and session.outbox and self.is_open:
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
            frames = [wire.message(self.codec.events(taken, rings), is_text=self.is_text)]
        else:
            encode = self.codec.event
            frames = [
                wire.message(encode(event, cursor, ring=event.seq in rings), is_text=self.is_text)
                for event, cursor in taken
            ]
        statistics = self.node.statistics
        statistics.events_sent += len(taken)
        statistics.frames_sent += len(frames)
        self.send_frames(frames)

    def ring_again(self, event: Event) -> None:
        """Send an event once more, so that this device rings: another one did not answer."""
        if self.is_open and self.phase is Phase.OPEN:
            self.send(self.codec.event(event, self.session.outbox.cursor, ring=True))

    # -- what the socket tells ---------------------------------------------------------------------------------------

    def _monotonic(self) -> float:
        return self.node.clock.monotonic()

    def _on_writable(self) -> None:
        self.flush()
        self.run_calls()
        if self.presence_missed:
            self.node.presence.catch_up(self)

    def _on_lost(self) -> None:
        self.phase = Phase.OVER
        self.session.close()
        self._calls = None
        self.node.lost(self)

    def _bye(self, code: int, reason: str) -> bytes:
        known = code in Close.__members__.values()
        wait = retry_after_ms(Close(code), self.node.clock.unit()) if known else None
        return wire.message(self.codec.encode(Bye(code, reason, wait)), is_text=self.is_text)

    def close(self, code: Close, reason: str) -> None:
        # A close reason holds 123 bytes (RFC 6455 §5.5); bye has the same words.
        super().close(code, reason.encode()[:123].decode(errors="ignore"))
        self.session.close()
        if self.phase is not Phase.HANDSHAKE:
            self.phase = Phase.OVER
            self.node.lost(self)
