"""The close codes of the protocol, as one table.

Source: RFC 6455 §7.4 for 1xxx; 4xxx are the hub's own (`docs/protocol.md`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Close(IntEnum):
    """Why the hub ends a connection."""

    GOING_AWAY = 1001
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    RESTARTING = 1012
    BAD_FRAME = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    TIMED_OUT = 4408
    TOO_MANY_CONNECTIONS = 4409
    TOO_MANY_FRAMES = 4429
    UNAVAILABLE = 4503


RECONNECT: Final = frozenset(
    {Close.GOING_AWAY, Close.RESTARTING, Close.TIMED_OUT, Close.TOO_MANY_FRAMES, Close.UNAVAILABLE}
)
"""The client should come back by itself; its `bye` says when."""


def retry_after_ms(code: Close, unit: float) -> int | None:
    """How long a client is asked to stay away, spread so that ten thousand do not return at once.

    `unit` is a random number in [0, 1). None where it should not come back by itself.
    """
    if code not in RECONNECT:
        return None
    low, spread = (500, 4500) if code is not Close.RESTARTING else (100, 2900)
    return low + int(spread * unit)
