"""`websockets` parsers of open connections, lent to a connection while it needs one.

Between two messages a parser keeps nothing of its connection but that it is open, and one takes several times the
memory of all else that an idle connection has. So a connection holds one only from the first byte of a message to
its last, and from the first of the close.
"""

from __future__ import annotations

from typing import Any, Final

from websockets.protocol import OPEN, SERVER, Protocol

from hub.gateway.handshake import quiet_log

_KEPT_MAX: Final = 16
"""Parsers kept for the next one; a read of a socket needs one, so that more are only idle where many were in pieces."""


class Parsers:
    """The parsers of one node. `frame_bytes_max` bounds a message."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._kept: list[Protocol] = []

    def lend(self) -> Protocol:
        """A parser of an open connection that stands between two messages."""
        if self._kept:
            return self._kept.pop()
        return Protocol(SERVER, state=OPEN, max_size=self._frame_bytes_max, logger=quiet_log)

    def take_back(self, parser: Protocol) -> bool:
        """True where the connection needs it no more: nothing has begun that is not at its end."""
        if not is_between_messages(parser):
            return False
        # One that made a handshake knows of more than an open connection.
        if type(parser) is Protocol and len(self._kept) < _KEPT_MAX:
            self._kept.append(parser)
        return True


def is_between_messages(parser: Protocol) -> bool:
    """Whether a new parser would do as well for what comes next.

    `websockets` waits for the first byte of a frame in `StreamReader.at_eof`, and for every other one elsewhere.
    Were that to change, connections would only keep their parsers.
    """
    if parser.state is not OPEN or parser.current_size is not None or parser.extensions:
        return False
    waiting: Any = parser.parser
    while waiting.gi_yieldfrom is not None:
        waiting = waiting.gi_yieldfrom
    return waiting.__name__ == "at_eof"
