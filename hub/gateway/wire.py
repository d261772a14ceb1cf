"""WebSocket framing of what the server sends, without the cost of a frame object.

Reading, control frames and the close handshake are `websockets`'; this is the hot
path of writing one unmasked, unfragmented message. Source: RFC 6455 §5.2.
"""

from __future__ import annotations

import struct

_short = struct.Struct("!BBH").pack
_long = struct.Struct("!BBQ").pack


def message(payload: bytes, is_text: bool) -> bytes:
    """One whole message as one frame."""
    opcode = 0x81 if is_text else 0x82
    length = len(payload)
    if length < 126:
        return bytes((opcode, length)) + payload
    if length < 65536:
        return _short(opcode, 126, length) + payload
    return _long(opcode, 127, length) + payload


PING = b"\x89\x00"
"""A ping without payload."""
