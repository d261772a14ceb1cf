"""The frames of protocol version 1, as the bytes of their payloads.

Two formats carry the same objects: JSON (text) and MessagePack (binary). An
event's `tail` is encoded once, by its writer; here `seq`, `cursor` and `ring` are
put in front of it. Reading is strict about types and forgiving about fields that
are not known (a client may be newer than the hub).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Container, Sequence
from typing import Annotated, Any, Final, Literal, Protocol, cast

import msgspec

from hub.core.counts import Counts
from hub.core.event import Event

JSON: Final = "hub.v1.json"
MSGPACK: Final = "hub.v1.msgpack"
SUBPROTOCOLS: Final = (JSON, MSGPACK)

SEQ_MAX: Final = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

Position = Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)]
Label = Annotated[str, msgspec.Meta(max_length=64)]


# -- what a client says ------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, tag_field="type", tag="hello", gc=False):
    """The first frame of every connection."""

    token: str | None = None
    epoch: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    cursor: Position | None = None
    device: Label | None = None
    can_ring: bool = False


class Ack(msgspec.Struct, tag_field="type", tag="ack", gc=False):
    """Everything up to `cursor` has reached the person's device."""

    cursor: Position


class Ping(msgspec.Struct, tag_field="type", tag="ping", gc=False):
    """Asks for a `pong`, and with it for the head."""

    id: Annotated[str, msgspec.Meta(max_length=128)] | int | None = None


class Token(msgspec.Struct, tag_field="type", tag="token", gc=False):
    """A new token for the same user and tenant."""

    token: str


class Focus(msgspec.Struct, tag_field="type", tag="focus", gc=False):
    """Whether this device is the one in front of its person, and whether it can ring now."""

    focused: bool = True
    can_ring: bool | None = None


class Call(msgspec.Struct, tag_field="type", tag="call"):
    """A use case, as REST has it."""

    id: Annotated[str, msgspec.Meta(max_length=128)] | int
    method: Annotated[str, msgspec.Meta(max_length=64)]
    params: dict[str, Any] = msgspec.field(default_factory=dict)


ClientFrame = Hello | Ack | Ping | Token | Focus | Call
KNOWN_TYPES: Final = frozenset({"hello", "ack", "ping", "token", "focus", "call"})


class NotAFrame(Exception):
    """The bytes are not one object with a `type`: close 4400."""


class UnknownFrame(Exception):
    """A frame of a type this version does not have: answered by an `error` frame."""


class BadFrame(Exception):
    """A known frame with a field that breaks a rule; the message names both."""


class _Envelope(msgspec.Struct):
    type: str


class Codec(Protocol):
    """One format of the wire."""

    is_text: bool

    def read(self, payload: bytes) -> ClientFrame:
        """Raises `NotAFrame`, `UnknownFrame` or `BadFrame`."""
        ...

    def encode(self, frame: Any) -> bytes:
        """Any frame that is not an event."""
        ...

    def event(self, event: Event, cursor: int, ring: bool) -> bytes:
        """One event frame."""
        ...

    def events(self, items: Sequence[tuple[Event, int]], rings: Container[int]) -> bytes:
        """A batch: (event, cursor after it), in the order of leaving. `rings` has the numbers that ring."""
        ...


def _read(payload: bytes, frame_decoder: Any, envelope_decoder: Any) -> ClientFrame:
    try:
        return frame_decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        try:
            envelope = envelope_decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise NotAFrame(f"not an object with a type: {exc}") from None
        if envelope.type not in KNOWN_TYPES:
            raise UnknownFrame(f"there is no frame of type {envelope.type[:64]!r}") from None
        raise BadFrame(str(exc)) from None


_json_encoder = msgspec.json.Encoder()
_json_frames = msgspec.json.Decoder(ClientFrame)
_json_envelope = msgspec.json.Decoder(_Envelope)


class JsonCodec:
    """Text frames."""

    is_text = True

    def read(self, payload: bytes) -> ClientFrame:
        return _read(payload, _json_frames, _json_envelope)

    def encode(self, frame: Any) -> bytes:
        return _json_encoder.encode(frame)

    def event(self, event: Event, cursor: int, ring: bool) -> bytes:
        if ring:
            return b'{"type":"event","seq":%d,"cursor":%d,"ring":true,%b' % (event.seq, cursor, event.tail)
        return b'{"type":"event","seq":%d,"cursor":%d,%b' % (event.seq, cursor, event.tail)

    def events(self, items: Sequence[tuple[Event, int]], rings: Container[int]) -> bytes:
        encoded = [self.event(event, cursor, event.seq in rings) for event, cursor in items]
        return b'{"type":"events","items":[%b],"cursor":%d}' % (b",".join(encoded), items[-1][1])


_msgpack_encoder = msgspec.msgpack.Encoder()
_msgpack_frames = msgspec.msgpack.Decoder(ClientFrame)
_msgpack_envelope = msgspec.msgpack.Decoder(_Envelope)

_TYPE_EVENT: Final = msgspec.msgpack.encode("type") + msgspec.msgpack.encode("event")
_TYPE_EVENTS: Final = msgspec.msgpack.encode("type") + msgspec.msgpack.encode("events")
_SEQ, _CURSOR, _RING, _ITEMS = (msgspec.msgpack.encode(key) for key in ("seq", "cursor", "ring", "items"))
_TRUE: Final = msgspec.msgpack.encode(True)
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_TAIL_CACHE_MAX: Final = 256
"""Tails kept in MessagePack: enough that the sockets of one event share one encoding."""


def _packed(value: Any) -> bytes:
    """What JSON can say, in MessagePack, which has no integers beyond 64 bits."""
    try:
        return _msgpack_encoder.encode(value)
    except OverflowError:
        return _msgpack_encoder.encode(_narrowed(value))


def _narrowed(value: Any) -> Any:
    # As JavaScript would have read them: an event that one codec cannot say would stop its stream.
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value)
        return {key: _narrowed(item) for key, item in pairs.items()}
    if isinstance(value, list):
        return [_narrowed(item) for item in cast(list[Any], value)]
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


class MsgpackCodec:
    """Binary frames, the same objects."""

    is_text = False

    def __init__(self) -> None:
        self._tails: dict[bytes, tuple[int, bytes]] = {}

    def read(self, payload: bytes) -> ClientFrame:
        return _read(payload, _msgpack_frames, _msgpack_envelope)

    def encode(self, frame: Any) -> bytes:
        # By way of JSON, so that the same object is said: times as text, what is already JSON taken as it is.
        return _packed(msgspec.json.decode(_json_encoder.encode(frame)))

    def event(self, event: Event, cursor: int, ring: bool) -> bytes:
        fields, tail = self._tail(event.tail)
        size = fields + 3 + ring
        return b"".join(
            (
                bytes((0x80 | size,)) if size < 16 else struct.pack(">BH", 0xDE, size),
                _TYPE_EVENT,
                _SEQ,
                _msgpack_encoder.encode(event.seq),
                _CURSOR,
                _msgpack_encoder.encode(cursor),
                _RING + _TRUE if ring else b"",
                tail,
            )
        )

    def events(self, items: Sequence[tuple[Event, int]], rings: Container[int]) -> bytes:
        encoded = [self.event(event, cursor, event.seq in rings) for event, cursor in items]
        return b"".join(
            (
                b"\x83",
                _TYPE_EVENTS,
                _CURSOR,
                _msgpack_encoder.encode(items[-1][1]),
                _ITEMS,
                struct.pack(">BH", 0xDC, len(encoded)),
                *encoded,
            )
        )

    def _tail(self, tail: bytes) -> tuple[int, bytes]:
        """A JSON tail as (number of fields, MessagePack of the pairs)."""
        known = self._tails.get(tail)
        if known is None:
            pairs: dict[str, Any] = msgspec.json.decode(b"{" + tail)
            known = (
                len(pairs),
                b"".join(_msgpack_encoder.encode(key) + _packed(value) for key, value in pairs.items()),
            )
            if len(self._tails) >= _TAIL_CACHE_MAX:
                del self._tails[next(iter(self._tails))]
            self._tails[tail] = known
        return known


CODECS: Final[dict[str, Codec]] = {JSON: JsonCodec(), MSGPACK: MsgpackCodec()}


# -- what the server says ----------------------------------------------------------------------------------------------


class Welcome(msgspec.Struct, tag_field="type", tag="welcome"):
    """The answer to `hello`."""

    session: str
    tenant_id: str
    user_id: int
    epoch: str
    cursor: int
    head: int
    resume: Literal["fresh", "replay", "reset"]
    heartbeat_ms: int
    counts: Counts


class Reset(msgspec.Struct, tag_field="type", tag="reset"):
    """On an open connection: drop your state, load over REST; live from `head` on."""

    epoch: str
    cursor: int
    head: int
    counts: Counts


class Pong(msgspec.Struct, tag_field="type", tag="pong"):
    id: str | int | None
    head: int


class Heartbeat(msgspec.Struct, tag_field="type", tag="heartbeat"):
    head: int


class Renewed(msgspec.Struct, tag_field="type", tag="token"):
    """The new token holds until then (RFC 3339)."""

    expires_at: Any


class Result(msgspec.Struct, tag_field="type", tag="result"):
    id: str | int
    data: Any


class Failed(msgspec.Struct, tag_field="type", tag="error", omit_defaults=True):
    """A call, or a frame, was refused; `error` is an RFC 9457 problem."""

    error: dict[str, Any]
    id: str | int | None = None


class Bye(msgspec.Struct, tag_field="type", tag="bye", omit_defaults=True):
    """Why the hub closes, and when to come back."""

    code: int
    reason: str
    retry_after_ms: int | None = None
