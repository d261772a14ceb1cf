"""How long the head of a request may take to come, and how long it may be; uvicorn bounds neither.

Without this a peer that sends half a head, or a head without end, holds a socket, and memory, for good: also one
that says it is about to upgrade, so the gateway depends on it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S: Final = 10.0
"""As long as a client of the live protocol has for its hello."""
HEAD_BYTES_MAX: Final = 64 * 1024
"""Room for a token, cookies of a careless site, and what proxies add."""


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP connection: 408 where a head does not come in time, 431 where it does not end."""

    head_timeout_s = HEAD_TIMEOUT_S
    head_bytes_max = HEAD_BYTES_MAX

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._is_within_head = False
        self._is_within_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        if self._is_within_head or not (self._is_within_request or self._is_answering or self.timeout_keep_alive_task):
            # The rest of a head; or something came that begins no request, such as an empty line, and ended the wait
            # for the next one. A head that comes at once, as nearly all do, never has a timer.
            self._expect_head()
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.head_bytes_max:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_within_head = self._is_within_request = True

    def on_headers_complete(self) -> None:
        self._is_within_head = False
        self._has_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_within_request = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # It and this protocol hold each other; let go, both leave at once, and not only when garbage is collected.
        self.parser: Any = None

    @property
    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._on_head_late)

    def _has_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_late(self) -> None:
        self._head_timer = None
        if self._is_answering:
            # The one before is still being answered, and what began to come waits for that.
            self._head_timer = self.loop.call_later(self.head_timeout_s, self._on_head_late)
        elif self._head_bytes:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.close()

    def _refuse(self, status: bytes) -> None:
        self._has_head()
        if not self._is_answering:
            self.transport.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()
