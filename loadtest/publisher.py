"""Says to Redis what was encoded beforehand, as fast as a socket takes it."""

from __future__ import annotations

import socket
from urllib.parse import unquote, urlsplit


class Publisher:
    """A connection that only publishes. Replies are read when there is time, and counted. Use as a context."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        self._due = 0
        if parts.password:
            self.say(
                b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(unquote(parts.password)), unquote(parts.password).encode()),
                1,
            )
            self.settle()

    def say(self, commands: bytes, count: int) -> None:
        """Send `count` commands; returns when the kernel has them."""
        self._socket.sendall(commands)
        self._due += count
        self._take(socket.MSG_DONTWAIT)

    def settle(self) -> None:
        """Return once every command is answered.

        Raises:
            OSError: Redis refuses, or has gone.
        """
        while self._due:
            self._take(0)

    def _take(self, flags: int) -> None:
        try:
            replies = self._socket.recv(1 << 20, flags)
        except BlockingIOError:
            return
        # Each is one line: a number, or OK.
        if not replies or b"-" in replies:
            raise OSError(f"Redis refuses: {replies[:200]!r}")
        self._due -= replies.count(b"\n")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
