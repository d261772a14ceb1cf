"""The bytes of the protocol: golden frames, both formats saying the same, and what is read and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub.core.counts import Counts
from hub.core.event import CREATED, Event, decode_hint, encode_hint, encode_tail, lane_of
from hub.core.frames import (
    CODECS,
    JSON,
    MSGPACK,
    SEQ_MAX,
    Ack,
    BadFrame,
    Bye,
    Call,
    Codec,
    Failed,
    Focus,
    Heartbeat,
    Hello,
    NotAFrame,
    Ping,
    Pong,
    Renewed,
    Reset,
    Result,
    Token,
    UnknownFrame,
    Welcome,
)

AT = datetime(2026, 11, 22, 20, 15, 3, 120000, tzinfo=UTC)
COUNTS = Counts(12, 3, 1, 2, 9, 0)
TEXT, BINARY = CODECS[JSON], CODECS[MSGPACK]


_FIVE = {"id": 5}


def event(seq: int, kind: str = CREATED, data: Any = _FIVE, counts: Counts | None = COUNTS) -> Event:
    tail = encode_tail(kind, "high", AT, data, counts)
    return Event(seq, lane_of(kind, "high"), True, tail)


def unpacked(payload: bytes) -> Any:
    return msgspec.msgpack.decode(payload)


# -- what the server says ----------------------------------------------------------------------------------------------

_COUNTS = '{"unread":12,"unseen":3,"critical":1,"high":2,"normal":9,"low":0}'
_TAIL = (
    f'"kind":"notification.created","priority":"high","at":"2026-11-22T20:15:03.120000Z",'
    f'"data":{{"id":5}},"counts":{_COUNTS}}}'
)

GOLDEN: dict[str, tuple[Any, str]] = {
    "welcome": (
        Welcome("s1", "acme", 7, "01J", 1207, 1214, "replay", 25000, COUNTS),
        (
            '{"type":"welcome","session":"s1","tenant_id":"acme","user_id":7,"epoch":"01J","cursor":1207,"head":1214,'
            f'"resume":"replay","heartbeat_ms":25000,"counts":{_COUNTS}}}'
        ),
    ),
    "reset": (
        Reset("01K", 40, 40, COUNTS),
        f'{{"type":"reset","epoch":"01K","cursor":40,"head":40,"counts":{_COUNTS}}}',
    ),
    "pong": (Pong("x", 1214), '{"type":"pong","id":"x","head":1214}'),
    "pong to a number": (Pong(3, 0), '{"type":"pong","id":3,"head":0}'),
    "heartbeat": (Heartbeat(1214), '{"type":"heartbeat","head":1214}'),
    "token": (Renewed(AT), '{"type":"token","expires_at":"2026-11-22T20:15:03.120000Z"}'),
    "result": (Result("c1", {"id": 5}), '{"type":"result","id":"c1","data":{"id":5}}'),
    "result without data": (Result("c1", None), '{"type":"result","id":"c1","data":null}'),
    "error of a call": (
        Failed({"status": 404}, "c1"),
        '{"type":"error","error":{"status":404},"id":"c1"}',
    ),
    "error of a frame": (Failed({"status": 422}), '{"type":"error","error":{"status":422}}'),
    "bye": (
        Bye(1012, "restarting", 1840),
        '{"type":"bye","code":1012,"reason":"restarting","retry_after_ms":1840}',
    ),
    "bye for good": (Bye(4403, "forbidden"), '{"type":"bye","code":4403,"reason":"forbidden"}'),
}


@pytest.mark.parametrize(("frame", "golden"), GOLDEN.values(), ids=GOLDEN)
def test_a_frame_is_these_bytes_and_the_same_object_in_both_formats(frame: Any, golden: str) -> None:
    assert TEXT.encode(frame).decode() == golden
    assert unpacked(BINARY.encode(frame)) == json.loads(golden)


EVENTS: dict[str, tuple[Event, int, bool, str]] = {
    "an event": (event(1208), 1208, False, f'{{"type":"event","seq":1208,"cursor":1208,{_TAIL}'),
    "one that overtakes and rings": (
        event(1230),
        1207,
        True,
        f'{{"type":"event","seq":1230,"cursor":1207,"ring":true,{_TAIL}',
    ),
    "one without counts": (
        event(9, "task.deleted", {"id": 3}, None),
        9,
        False,
        (
            '{"type":"event","seq":9,"cursor":9,"kind":"task.deleted","priority":"high",'
            '"at":"2026-11-22T20:15:03.120000Z","data":{"id":3}}'
        ),
    ),
}


@pytest.mark.parametrize(("one", "cursor", "ring", "golden"), EVENTS.values(), ids=EVENTS)
def test_an_event_is_these_bytes_and_the_same_object_in_both_formats(
    one: Event, cursor: int, ring: bool, golden: str
) -> None:
    assert TEXT.event(one, cursor, ring=ring).decode() == golden
    assert unpacked(BINARY.event(one, cursor, ring=ring)) == json.loads(golden)


def test_a_batch_is_its_events_and_the_last_cursor() -> None:
    items = [(event(9), 0), (event(1), 1), (event(2), 9)]
    batch = json.loads(TEXT.events(items, {1}))
    assert list(batch) == ["type", "items", "cursor"]
    assert (batch["type"], batch["cursor"]) == ("events", 9)
    assert batch["items"] == [json.loads(TEXT.event(e, cursor, ring=e.seq == 1)) for e, cursor in items]
    assert unpacked(BINARY.events(items, {1})) == batch


def test_a_tail_of_a_later_version_with_many_fields_is_passed_on() -> None:
    tail = msgspec.json.encode({f"field{n}": n for n in range(30)})[1:]
    for fields in range(30):
        short = msgspec.json.encode({f"field{n}": n for n in range(fields)} | {"kind": "x"})[1:]
        one = Event(1, 0, False, short)
        for ring in (False, True):
            assert unpacked(BINARY.event(one, 1, ring=ring)) == json.loads(TEXT.event(one, 1, ring=ring))
    assert len(unpacked(BINARY.event(Event(1, 0, False, tail), 1, ring=False))) == 33


def test_tails_are_encoded_once_for_all_sockets_and_few_are_kept() -> None:
    codec = type(BINARY)()
    for seq in range(1000):
        codec.event(event(seq, data={"id": seq}), seq, ring=False)
    assert len(codec._tails) <= 256  # type: ignore[attr-defined]
    last = event(999, data={"id": 999})
    before = dict(codec._tails)  # type: ignore[attr-defined]
    codec.event(last, 5, ring=True)
    assert codec._tails == before  # type: ignore[attr-defined]


_leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_tree = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@given(
    data=_tree,
    seq=st.integers(1, SEQ_MAX),
    cursor=st.integers(0, SEQ_MAX),
    ring=st.booleans(),
    counted=st.booleans(),
)
def test_both_formats_say_the_same_event(data: Any, seq: int, cursor: int, ring: bool, counted: bool) -> None:
    one = event(seq, data=data, counts=COUNTS if counted else None)
    text = msgspec.json.decode(TEXT.event(one, cursor, ring=ring))
    assert text["data"] == data
    assert unpacked(BINARY.event(one, cursor, ring=ring)) == text
    assert unpacked(BINARY.events([(one, cursor)] * 3, [seq] if ring else [])) == msgspec.json.decode(
        TEXT.events([(one, cursor)] * 3, [seq] if ring else [])
    )


@given(data=_tree)
def test_both_formats_say_the_same_answer(data: Any) -> None:
    assert unpacked(BINARY.encode(Result(1, data))) == msgspec.json.decode(TEXT.encode(Result(1, data)))


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, -(10**30)])
def test_a_number_that_messagepack_has_not_is_the_nearest_that_it_has(number: int) -> None:
    one = event(1, data={"n": [number, 1]})
    assert json.loads(TEXT.event(one, 1, ring=False))["data"]["n"] == [number, 1]
    assert unpacked(BINARY.event(one, 1, ring=False))["data"]["n"] == [float(number), 1]
    assert unpacked(BINARY.encode(Pong(number, 1)))["id"] == float(number)


def test_a_number_beyond_all_floats_is_infinite() -> None:
    packed = unpacked(BINARY.event(event(1, data=[10**400, -(10**400)]), 1, ring=False))
    assert packed["data"] == [float("inf"), float("-inf")]


# -- what a client says ------------------------------------------------------------------------------------------------

READ: dict[str, tuple[dict[str, Any], Any]] = {
    "a bare hello": ({"type": "hello"}, Hello()),
    "a whole hello": (
        {"type": "hello", "token": "t", "epoch": "e", "cursor": SEQ_MAX, "device": "d" * 64, "can_ring": True},
        Hello("t", "e", SEQ_MAX, "d" * 64, True),
    ),
    "nulls are absence": ({"type": "hello", "token": None, "cursor": None}, Hello()),
    "ack": ({"type": "ack", "cursor": 0}, Ack(0)),
    "ping": ({"type": "ping"}, Ping(None)),
    "ping by text": ({"type": "ping", "id": "x"}, Ping("x")),
    "ping by number": ({"type": "ping", "id": -3}, Ping(-3)),
    "token": ({"type": "token", "token": "t"}, Token("t")),
    "focus": ({"type": "focus"}, Focus(True, None)),
    "focus lost": ({"type": "focus", "focused": False, "can_ring": True}, Focus(False, True)),
    "call": ({"type": "call", "id": "c", "method": "m"}, Call("c", "m", {})),
    "call with params": ({"type": "call", "id": 1, "method": "m", "params": {"a": [1]}}, Call(1, "m", {"a": [1]})),
    "fields of a later version": ({"later": {"x": 1}, "type": "ack", "cursor": 1, "z": None}, Ack(1)),
}


@pytest.mark.parametrize(("said", "frame"), READ.values(), ids=READ)
def test_a_frame_is_read_the_same_in_both_formats(said: dict[str, Any], frame: Any) -> None:
    assert TEXT.read(json.dumps(said).encode()) == frame
    assert BINARY.read(msgspec.msgpack.encode(said)) == frame


REFUSED: dict[str, tuple[Any, type[Exception]]] = {
    "a type that there is not": ({"type": "dance"}, UnknownFrame),
    "an empty type": ({"type": ""}, UnknownFrame),
    "a type of another case": ({"type": "Ping"}, UnknownFrame),
    "a negative cursor": ({"type": "ack", "cursor": -1}, BadFrame),
    "a cursor that JavaScript cannot hold": ({"type": "ack", "cursor": SEQ_MAX + 1}, BadFrame),
    "a cursor with a fraction": ({"type": "ack", "cursor": 1.5}, BadFrame),
    "a cursor in a string": ({"type": "ack", "cursor": "1"}, BadFrame),
    "a cursor that is true": ({"type": "ack", "cursor": True}, BadFrame),
    "no cursor": ({"type": "ack"}, BadFrame),
    "a long device": ({"type": "hello", "device": "d" * 65}, BadFrame),
    "a long epoch": ({"type": "hello", "epoch": "e" * 129}, BadFrame),
    "a token that is none": ({"type": "token", "token": None}, BadFrame),
    "a call without an id": ({"type": "call", "method": "m"}, BadFrame),
    "a call with a list of params": ({"type": "call", "id": 1, "method": "m", "params": [1]}, BadFrame),
    "a call of a long method": ({"type": "call", "id": 1, "method": "m" * 65}, BadFrame),
    "a long id": ({"type": "ping", "id": "x" * 129}, BadFrame),
    "a focus that is a number": ({"type": "focus", "focused": 1}, BadFrame),
    "no type": ({"cursor": 1}, NotAFrame),
    "a type that is a number": ({"type": 5}, NotAFrame),
    "a list": ([{"type": "ping"}], NotAFrame),
    "a string": ("ping", NotAFrame),
    "null": (None, NotAFrame),
}


@pytest.mark.parametrize(("said", "error"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_in_both_formats(said: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        TEXT.read(json.dumps(said).encode())
    with pytest.raises(error):
        BINARY.read(msgspec.msgpack.encode(said))


BROKEN: dict[str, tuple[Codec, bytes]] = {
    "nothing": (TEXT, b""),
    "half an object": (TEXT, b'{"type":"ping"'),
    "two objects": (TEXT, b'{"type":"ping"}{}'),
    "NaN": (TEXT, b'{"type":"ack","cursor":NaN,"x":NaN}'),
    "a lone surrogate": (TEXT, b'{"type":"\\ud800"}'),
    "bytes that are no text": (TEXT, b'{"type":"\xff"}'),
    "MessagePack as text": (TEXT, msgspec.msgpack.encode({"type": "ping"})),
    "deeper than anything": (TEXT, b'{"type":"call","id":1,"method":"m","params":' + b'{"a":' * 5000),
    "nothing, packed": (BINARY, b""),
    "half a map": (BINARY, b"\x82\xa4type\xa4ping"),
    "more after it": (BINARY, msgspec.msgpack.encode({"type": "ping"}) + b"\xc0"),
    "JSON as bytes": (BINARY, b'{"type":"ping"}'),
    "a byte that means nothing": (BINARY, b"\xc1"),
    "a map of four thousand million": (BINARY, b"\xdf\xff\xff\xff\xff"),
    "deeper than anything, packed": (BINARY, b"\x81\xa1a" * 20000),
}


@pytest.mark.parametrize(("codec", "payload"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_frame_is_said_to_be_none(codec: Codec, payload: bytes) -> None:
    with pytest.raises(NotAFrame):
        codec.read(payload)


@given(payload=st.binary(max_size=80))
def test_whatever_comes_is_a_frame_or_one_of_three_refusals(payload: bytes) -> None:
    for codec in (TEXT, BINARY):
        try:
            codec.read(payload)
        except (NotAFrame, UnknownFrame, BadFrame):
            pass


# -- hints -------------------------------------------------------------------------------------------------------------


def test_a_hint_says_what_was_written() -> None:
    written = [event(1), Event(2, 7, False, b'"kind":"x"}', True)]
    hint = decode_hint(encode_hint("01J", written))
    assert (hint.epoch, hint.events) == ("01J", written)


@example(payload=b"\x92\xa1\x80")
@given(payload=st.binary(max_size=60))
def test_what_is_no_hint_raises_nothing_but_what_it_says(payload: bytes) -> None:
    try:
        decode_hint(payload)
    except msgspec.DecodeError:
        pass
