"""The way out of one connection: what is given to its transport, and what is known of how far it went.

Writing a message bypasses `websockets`, for that is the hot path. Does not own when to close, nor what is said.
"""

from __future__ import annotations

import abc
import asyncio
import fcntl
import struct
import sys
import termios
from typing import TYPE_CHECKING, cast

from hub.gateway import wire

if TYPE_CHECKING:
    from hub.gateway.limits import GatewayLimits

_QUEUED = struct.Struct("i")


class Outlet(asyncio.Protocol, abc.ABC):
    """The writing half of a socket. `is_writable` while the kernel takes what is given.

    `said_at` is when a message was given last, by the clock of the subclass.
    """

    __slots__ = (
        "_bytes_given",
        "_close_timer",
        "_gathered",
        "_has_ended",
        "_is_over",
        "is_text",
        "is_writable",
        "limits",
        "said_at",
        "transport",
    )

    def __init__(self, limits: GatewayLimits) -> None:
        self.limits = limits
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._close_timer: asyncio.TimerHandle | None = None
        self._bytes_given = 0
        self._gathered = b""
        self._has_ended = False
        self._is_over = False
        self.is_text = True
        self.is_writable = True
        self.said_at = 0.0

    @abc.abstractmethod
    def _monotonic(self) -> float:
        """Now, in seconds."""

    def send(self, payload: bytes) -> None:
        """Give one message to the socket; buffered there where the peer is slow, so ask `is_writable` first."""
        self.said_at = self._monotonic()
        self._give(wire.message(payload, self.is_text))

    def send_frames(self, frames: list[bytes]) -> None:
        """Give frames of `wire.message` to the socket in one write."""
        self.said_at = self._monotonic()
        self._give(frames[0] if len(frames) == 1 else b"".join(frames))

    def gather(self, frame: bytes) -> None:
        """Give a frame of `wire.message` together with all others of this turn of the loop, in one write.

        Whoever calls it calls `give_gathered` at the end of the turn. What is sent meanwhile goes after it.
        """
        if not self._gathered:
            self._gathered = frame
            return
        self._gathered += frame
        if len(self._gathered) >= self.limits.batch_bytes_max:
            self.give_gathered(self._monotonic())

    def give_gathered(self, now: float) -> None:
        """Write what was gathered. Nothing where that has been done already."""
        gathered = self._gathered
        if gathered and not self._is_over:
            self._gathered = b""
            self.said_at = now
            self._bytes_given += len(gathered)
            # Between an error of the transport and our hearing of it this is thrown away.
            self.transport.write(gathered)

    def send_ping(self) -> None:
        """Ask for a sign of life. A browser's script does not see it, so it is nothing that was said."""
        self._give(wire.PING)

    def acked_bytes(self) -> int:
        """How many bytes the peer's kernel has taken so far; a rise proves that the peer is there."""
        waiting = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sys.platform == "linux":
            try:
                raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, _QUEUED.pack(0))
            except OSError:
                return self._bytes_given - waiting
            waiting += cast(int, _QUEUED.unpack(raw)[0])
        return self._bytes_given - waiting

    # -- inside ----------------------------------------------------------------------------------------------------

    def _give(self, data: bytes) -> None:
        if self._gathered:
            data, self._gathered = self._gathered + data, b""
        if self._has_ended or self.transport.is_closing():
            return
        self._bytes_given += len(data)
        self.transport.write(data)

    def _end_writing(self) -> None:
        if self._has_ended or self.transport.is_closing():
            return
        self._has_ended = True
        # Our half is done. Closing both at once while the peer still sends would make its kernel
        # throw away the close frame that it has not read yet.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._resume_reading()
        else:
            self._start_close_timer()
            self.transport.close()

    def _pause_reading(self) -> None:
        if self.transport.is_reading():
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self.transport.is_closing() and not self.transport.is_reading():
            self.transport.resume_reading()

    def _start_close_timer(self) -> None:
        if self._close_timer is None and not self.transport.is_closing():
            loop = asyncio.get_running_loop()
            self._close_timer = loop.call_later(self.limits.close_timeout_s, self.transport.abort)
