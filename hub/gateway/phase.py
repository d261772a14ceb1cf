"""The life of a connection, as its phases."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Where a connection is between its first byte and its last."""

    HANDSHAKE = 0
    HELLO = 1
    OPENING = 2
    OPEN = 3
    OVER = 4
