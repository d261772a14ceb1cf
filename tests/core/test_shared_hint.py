"""What many were told alike, said once, is what each was told."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.counts import Counts
from hub.core.event import CREATED, Event, encode_tail, lane_of
from hub.core.shared_hint import CROWD_MAX, CROWD_MIN, decode_shared, encode_shared, share, told_by

AT = datetime(2026, 3, 1, tzinfo=UTC)
# Text that looks like what the tail is cut at.
TEXTS = ["", "Hello", '"user_id":1', ',"counts":{', "ü€", '{"user_id":12,"counts":{']
# (user, seq, id, which of two texts, whether it names the user, whether it has counts): mostly alike.
ROWS = st.lists(
    st.tuples(
        st.integers(1, 10**12),
        st.integers(1, 2**53),
        st.integers(1, 10**15),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=CROWD_MIN,
    max_size=5 * CROWD_MIN,
    unique_by=lambda one: one[0],
)


def told(user_id: int, seq: int, text: str, *, named: bool = True, counted: bool = True, own: int = 0) -> Event:
    data = {"id": own or seq + 1000, **({"user_id": user_id} if named else {}), "title": text}
    counts = Counts().changed("normal", unread=seq % 7, unseen=seq % 3) if counted else None
    return Event(seq, lane_of(CREATED, "normal"), True, encode_tail(CREATED, "normal", AT, data, counts))


def again(hints: list[bytes]) -> dict[int, Event]:
    return {user_id: event for payload in hints for user_id, event in told_by(decode_shared(payload))}


@given(st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS)), ROWS)
def test_each_hears_what_it_was_told_whatever_it_looks_like(
    texts: tuple[str, str], rows: list[tuple[int, int, int, int, bool, bool]]
):
    events = [
        (user_id, told(user_id, seq, texts[text], named=named, counted=counted, own=own))
        for user_id, seq, own, text, named, counted in rows
    ]
    hints, others = share("e", 1.5, events)
    crowd = again([encode_shared(hint) for hint in hints])
    assert crowd.keys().isdisjoint(user for user, _ in others)
    assert crowd | dict(others) == dict(events)
    assert all(len(hint.parts) >= CROWD_MIN and hint.epoch == "e" and hint.committed_at == 1.5 for hint in hints)


PIECES = st.sampled_from([b"a", b"1", b'"user_id":1', b'"user_id":2', b',"counts":{', b"}"])


@given(st.lists(st.lists(PIECES, max_size=5).map(b"".join), max_size=60))
def test_any_bytes_at_all_come_back(tails: list[bytes]):
    # Few users, since who is named is where a tail is cut; each has many.
    events = [(user % 3 + 1, Event(user, 0, False, tail)) for user, tail in enumerate(tails, 1)]
    hints, others = share("e", 0.0, events)
    whole = [one for hint in hints for one in told_by(hint)] + others
    assert sorted(whole, key=lambda one: one[1].seq) == events


@given(st.lists(st.binary(max_size=12), max_size=40), st.integers(0, 3))
def test_so_do_those_that_nobody_has_in_common(tails: list[bytes], lanes: int):
    events = [(user, Event(user, user % (lanes + 1), user % 2 == 0, tail)) for user, tail in enumerate(tails, 1)]
    hints, others = share("e", 0.0, events)
    assert again([encode_shared(hint) for hint in hints]) | dict(others) == dict(events)


def test_a_crowd_is_told_in_a_fraction_of_the_bytes():
    events = [(user, told(user, user + 5, "All hands at noon" * 20)) for user in range(1, 1001)]
    hints, others = share("e", 0.0, events)
    assert not others
    assert [len(hint.parts) for hint in hints] == [CROWD_MAX, 1000 - CROWD_MAX]
    said = sum(len(encode_shared(hint)) for hint in hints)
    assert said < sum(len(event.tail) for _, event in events) / 3


def test_what_differs_is_told_one_by_one():
    few = [(user, told(user, 1, "alike")) for user in range(1, CROWD_MIN)]
    different = [(user, told(user, 1, f"for {user}")) for user in range(100, 130)]
    assert share("e", 0.0, few + different) == ([], few + different)
    # One lane, one ring, one history a hint.
    mixed = [(user, Event(1, user % 2, True, b"x")) for user in range(1, 2 * CROWD_MIN + 1)]
    assert sorted(hint.lane for hint in share("e", 0.0, mixed)[0]) == [0, 1]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x98", msgspec.msgpack.encode(["e", 1.0, 0]), b"\x91\xa1\xff"])
def test_what_is_no_shared_hint_is_refused_as_such(payload: bytes):
    with pytest.raises(msgspec.DecodeError):
        decode_shared(payload)
