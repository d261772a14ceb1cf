"""One WebSocket: the handshake, what the peer sends, and the close.

uvicorn makes one of these for each upgrade (its `ws=` class) and hands the
transport over; from then on no ASGI message and no task of its own belongs to the
connection. `websockets` parses, answers pings and owns the close handshake
(RFC 6455); writing a message bypasses it, for that is the hot path.

Owns bytes and time-outs, not the meaning of messages: that is `Connection`'s.
"""

from __future__ import annotations

import abc
import asyncio
import http
from typing import TYPE_CHECKING, Any, cast

from websockets.exceptions import InvalidMessage
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CONNECTING, OPEN, Protocol
from websockets.server import ServerProtocol

from hub.core.closing import Close
from hub.gateway.handshake import NOT_A_HANDSHAKE, parser, problem_response
from hub.gateway.outlet import Outlet

if TYPE_CHECKING:
    from hub.gateway.limits import GatewayLimits
    from hub.gateway.parsers import Parsers

_SLICE_BYTES = 4096
"""Bytes parsed before their frames are counted: 64 KiB of the smallest frames would hold up all others for long."""


class Socket(Outlet):
    """The bytes of one connection. Subclasses give meaning by the `_on_…` methods.

    It is *over* as soon as either side begins to close, and *gone* when the TCP connection is; between the
    two lies at most `close_timeout_s`, whatever the peer does.
    """

    __slots__ = (
        "_fragments",
        "_frames_counted",
        "_frames_since",
        "_is_accepted",
        "_is_deaf",
        "_is_text_begun",
        "_parsers",
        "_server_connections",
        "_ws",
        "heard_at",
    )

    def __init__(
        self, limits: GatewayLimits, server_connections: set[Any], parsers: Parsers, *, compress: bool
    ) -> None:
        super().__init__(limits)
        self._server_connections = server_connections
        self._parsers = parsers
        # None while the connection is open and between two messages.
        self._ws: Protocol | None = parser(frame_bytes_max=limits.frame_bytes_max, compress=compress)
        self._is_accepted = False
        # Of a message that comes in parts: what has come, and whether it began as text.
        self._fragments: bytearray | None = None
        self._is_text_begun = False
        self._frames_since = 0.0
        self._frames_counted = 0
        self._is_deaf = False
        self.heard_at = 0.0

    # -- what a subclass gives ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _on_request(self, request: Request) -> None:
        """The handshake request has come: call `_accept` or `refuse`, now or later."""

    @abc.abstractmethod
    def _on_message(self, payload: bytes, *, is_text: bool) -> None:
        """A whole message has come."""

    @abc.abstractmethod
    def _on_writable(self) -> None:
        """The kernel has taken most of what was given."""

    @abc.abstractmethod
    def _on_over(self) -> None:
        """Nothing more will be said or heard, whoever ended it; called once."""

    @abc.abstractmethod
    def _on_gone(self) -> None:
        """The TCP connection is no more; called once, after `_on_over`."""

    @abc.abstractmethod
    def _bye(self, code: int, reason: str) -> bytes:
        """The message that goes before a close of ours."""

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self.limits.write_buffer_bytes_max)
        self._server_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_connections.discard(self)
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        # Whoever still refers to a lost connection for a while keeps no message of its alive.
        self._fragments = None
        self._over()
        self._on_gone()

    def eof_received(self) -> bool:
        ws = self._parser()
        ws.receive_eof()
        self._send_what_websockets_wants(ws)
        # asyncio closes now, but only once the peer has read what waits, and this one need never read.
        self._start_close_timer()
        self._over()
        return False

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._monotonic()
        if len(data) <= _SLICE_BYTES:
            self._feed(data)
            return
        for start in range(0, len(data), _SLICE_BYTES):
            self._feed(data[start : start + _SLICE_BYTES])

    def _parser(self) -> Protocol:
        if self._ws is None:
            self._ws = self._parsers.lend()
        return self._ws

    def _feed(self, data: bytes) -> None:
        if self._is_deaf:
            return
        ws = self._parser()
        ws.receive_data(data)
        for event in ws.events_received():
            if isinstance(event, Frame):
                self._on_frame(event)
            elif isinstance(event, Request):
                self._on_request(event)
        if ws.parser_exc is not None and ws.close_sent is not None and not self._is_over:
            # websockets has put its close into the queue; ours goes before it, with the reason.
            self._give(self._bye(ws.close_sent.code, ws.close_sent.reason))
        if isinstance(ws.handshake_exc, InvalidMessage) and not self._is_over:
            self._give(NOT_A_HANDSHAKE)
        self._send_what_websockets_wants(ws)
        if ws.state is not OPEN and (ws.state is not CONNECTING or self._has_ended):
            self._over()
        elif self._is_accepted and self._ws is ws and self._parsers.take_back(ws):
            self._ws = None
        if not self.is_writable and self.transport.get_write_buffer_size() > 4 * self.limits.write_buffer_bytes_max:
            # Whoever does not read its answers is not asked for more questions.
            self._pause_reading()

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if not self.transport.is_closing():
            self._resume_reading()
            self._on_writable()

    def shutdown(self) -> None:
        """uvicorn stops: say so, and when to come back."""
        self.close(Close.RESTARTING, "restarting")

    # -- the handshake -----------------------------------------------------------------------------------------------

    def _accept(self, request: Request) -> str | None:
        """Answer 101 and return the subprotocol ("" where none was offered); None where websockets refused."""
        ws = cast(ServerProtocol, self._parser())
        response = ws.accept(request)
        ws.send_response(response)
        self._send_what_websockets_wants(ws)
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self._hang_up()
            return None
        self._is_accepted = True
        if self._parsers.take_back(ws):
            self._ws = None
        return ws.subprotocol or ""

    def refuse(self, status: http.HTTPStatus, problem: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Answer the handshake by a problem, and close."""
        if self._is_over:
            return
        ws = cast(ServerProtocol, self._parser())
        ws.send_response(problem_response(status, problem, headers))
        self._send_what_websockets_wants(ws)
        self._hang_up()

    # -- messages ----------------------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        # What a peer says before it has been answered it may not say (RFC 6455 §4.1).
        if self._is_one_too_many() or self._is_over or not self._is_accepted:
            return
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._on_whole(bytes(frame.data), is_text=opcode is Opcode.TEXT)
            else:
                self._fragments = bytearray(frame.data)
                self._is_text_begun = opcode is Opcode.TEXT
        elif opcode is Opcode.CONT and self._fragments is not None:
            self._fragments += frame.data
            if frame.fin:
                whole, self._fragments = bytes(self._fragments), None
                self._on_whole(whole, is_text=self._is_text_begun)

    def _is_one_too_many(self) -> bool:
        """Count a frame of any kind, for pings and empty fragments cost as much as messages."""
        if self.heard_at - self._frames_since >= 1.0:
            self._frames_since, self._frames_counted = self.heard_at, 0
        self._frames_counted += 1
        if self._frames_counted <= self.limits.frames_per_s_max:
            return False
        if not self._is_over:
            self.close(Close.TOO_MANY_FRAMES, f"more than {self.limits.frames_per_s_max} frames a second")
        else:
            # It goes on after the close. What comes is taken from its kernel, so that it can read why, and thrown away.
            self._is_deaf = True
            self._end_writing()
        return True

    def _on_whole(self, payload: bytes, *, is_text: bool) -> None:
        if is_text:
            try:
                payload.decode()
            except UnicodeDecodeError:
                self.close(Close.NOT_UTF8, "a text message is UTF-8")
                return
        self._on_message(payload, is_text=is_text)

    @property
    def is_open(self) -> bool:
        is_open = self._is_accepted and not self._is_over and (self._ws is None or self._ws.state is OPEN)
        return is_open and not self.transport.is_closing()

    def close(self, code: Close, reason: str) -> None:
        """Say `bye`, begin the close handshake, and cut the socket where the peer does not answer. Idempotent."""
        if self._is_over:
            return
        ws = self._parser()
        if ws.state is OPEN:
            self._give(self._bye(code, reason))
            ws.send_close(code, reason)
            self._send_what_websockets_wants(ws)
            self._over()
        elif ws.state is CONNECTING:
            self._hang_up()
        # Else websockets has begun to close while it parsed, and `_feed` ends it as soon as all that came is heard.

    def _send_what_websockets_wants(self, ws: Protocol) -> None:
        for data in ws.data_to_send():
            if data:
                self._give(data)
            else:
                self._end_writing()
        if ws.close_expected():
            self._start_close_timer()

    def _hang_up(self) -> None:
        """Close without a handshake of WebSockets, for there is no WebSocket yet."""
        self._start_close_timer()
        self.transport.close()
        self._over()

    def _over(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_over()
