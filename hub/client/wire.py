"""The frames of protocol version 1 as a client reads and writes them.

Reading is strict about what the protocol names and blind to what it does not:
unknown fields are ignored, unknown types are no frame at all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from hub.core.counts import Counts
from hub.core.frames import (
    JSON,
    MSGPACK,
    Ack,
    Bye,
    Call,
    Failed,
    Focus,
    Heartbeat,
    Hello,
    Ping,
    Pong,
    Renewed,
    Reset,
    Result,
    Token,
    Welcome,
)


class EventFrame(msgspec.Struct, tag_field="type", tag="event"):
    """One event. Without `seq` it is of no stream; without `cursor` it is an item whose batch has it."""

    kind: str
    seq: int | None = None
    cursor: int | None = None
    priority: str = "normal"
    at: datetime | None = None
    data: Any = None
    counts: Counts | None = None
    ring: bool = False
    merged: tuple[int, ...] = ()


class EventsFrame(msgspec.Struct, tag_field="type", tag="events"):
    """Several, in the order of leaving; `cursor` is that after the last."""

    items: list[EventFrame]
    cursor: int


ServerFrame = Welcome | Reset | EventFrame | EventsFrame | Pong | Heartbeat | Renewed | Result | Failed | Bye
ClientFrame = Hello | Ack | Ping | Token | Focus | Call
_KNOWN: Final = {"welcome", "reset", "event", "events", "pong", "heartbeat", "token", "result", "error", "bye"}


class NotUnderstood(Exception):
    """A message that breaks the protocol; the connection is not to be trusted any more."""


class _Envelope(msgspec.Struct):
    type: str


class _Decoder(Protocol):
    def decode(self, payload: bytes, /) -> Any: ...


class _Encoder(Protocol):
    def encode(self, frame: Any, /) -> bytes: ...


class Format:
    """One of the two ways in which the same objects are written."""

    def __init__(self, *, is_text: bool, encoder: _Encoder, frames: _Decoder, envelope: _Decoder) -> None:
        self.is_text = is_text
        self._encoder = encoder
        self._frames = frames
        self._envelope = envelope

    def read(self, payload: bytes) -> ServerFrame | None:
        """One frame; None for a type of a later version, which is to be ignored.

        Raises:
            NotUnderstood: not an object with a type, or a known one that breaks a rule.
        """
        try:
            return self._frames.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            try:
                kind = self._envelope.decode(payload).type
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise NotUnderstood(f"not a frame: {exc}") from None
            if kind in _KNOWN:
                raise NotUnderstood(f"a bad {kind!r} frame: {exc}") from None
            return None

    def write(self, frame: ClientFrame) -> bytes:
        """What is None is left out. Raises `TypeError` where a call's parameters are not plain values."""
        fields: dict[str, Any] = msgspec.to_builtins(frame)
        return self._encoder.encode({name: value for name, value in fields.items() if value is not None})


FORMATS: Final[dict[str, Format]] = {
    JSON: Format(
        is_text=True,
        encoder=msgspec.json.Encoder(),
        frames=msgspec.json.Decoder(ServerFrame),
        envelope=msgspec.json.Decoder(_Envelope),
    ),
    MSGPACK: Format(
        is_text=False,
        encoder=msgspec.msgpack.Encoder(),
        frames=msgspec.msgpack.Decoder(ServerFrame),
        envelope=msgspec.msgpack.Decoder(_Envelope),
    ),
}
"""By subprotocol."""
