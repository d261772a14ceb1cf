from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.faults import ERRORS_MAX
from api.types import Channel, Data, Id, Instant, Title
from api.validation import Malformed, RequestBody, Validator, parse
from hub.app.errors import Invalid, Violation
from tests.api.toy import Thing, Things


class Inner(RequestBody, kw_only=True):
    a: Id
    at: Instant | None = None


class Everything(RequestBody, kw_only=True):
    """Each kind of type that a request may have."""

    title: Title
    number: Annotated[float, msgspec.Meta(ge=0, lt=10)] = 0
    flag: bool = False
    choice: Literal["a", "b"] = "a"
    level: Literal[1, 2] = 1
    days: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=6)]], msgspec.Meta(min_length=1)] | None = None
    channels: frozenset[Channel] = frozenset()
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = msgspec.field(default_factory=dict)
    data: Data | None = None
    free: Any = None
    either: int | str = 0
    maybe: Id | msgspec.UnsetType | None = msgspec.UNSET

    def check(self) -> Iterator[Violation]:
        if self.flag and self.choice == "b":
            yield "choice", "Must not be `b` with `flag`."
        if self.title == "whole":
            yield "", "Is wrong as a whole."


THINGS = Validator(Things)
EVERYTHING = Validator(Everything)


def faults(validator: Validator[Any], value: Any) -> list[Violation]:
    with pytest.raises(Invalid) as caught:
        validator.decode(value if isinstance(value, bytes) else json.dumps(value).encode())
    return caught.value.errors


def test_every_violation_is_named_by_its_path():
    assert faults(
        THINGS,
        {
            "items": [
                {"title": "fine", "owner": 1},
                {"titel": "x", "owner": 0, "priority": "urgent"},
                {"title": "\0", "owner": 1, "starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"},
            ],
            "extra stuff": 1,
        },
    ) == [
        ("$.items[1].titel", "Unknown field. Did you mean `title`?"),
        ("$.items[1].owner", "Must be an integer, at least 1 and at most 9007199254740991."),
        ("$.items[1].priority", "Must be one of: critical, high, low, normal."),
        ("$.items[1].title", "Required."),
        ("$.items[2].title", "Must not contain the character U+0000."),
        ('$["extra stuff"]', "Unknown field."),
    ]


def test_rules_across_fields_are_named_with_the_faults_of_their_neighbours():
    good = {"title": "x", "owner": 1}
    wrong_order = {"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}
    assert faults(THINGS, {"items": [good | wrong_order, good | {"owner": "me"}]}) == [
        ("$.items[0].ends_at", "Must be after `starts_at`."),
        ("$.items[1].owner", "Must be an integer, at least 1 and at most 9007199254740991."),
    ]


def test_a_rule_of_the_whole_is_named_at_the_whole():
    assert faults(EVERYTHING, {"title": "whole"}) == [("$", "Is wrong as a whole.")]


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ([], "$", "an object"),
        (None, "$", "an object"),
        ({"title": "x", "number": 10}, "$.number", "a number, at least 0 and less than 10"),
        ({"title": "x", "number": True}, "$.number", "a number"),
        ({"title": "x", "flag": 1}, "$.flag", "true or false"),
        ({"title": "x", "level": True}, "$.level", "1, 2"),
        ({"title": "x", "days": []}, "$.days", "at least 1 item"),
        ({"title": "x", "days": [0, 7]}, "$.days[1]", "at most 6"),
        ({"title": "x", "channels": ["fax"]}, "$.channels[0]", "email, in_app, push"),
        ({"title": "x", "channels": {}}, "$.channels", "an array"),
        ({"title": "x", "inner": {"a": 1, "at": "0001-01-01T00:00:00Z"}}, "$.inner.at", "1970"),
        ({"title": "x", "inners": [{"a": 1}, {"a": 1, "b": 2}]}, "$.inners[1].b", "Unknown"),
        ({"title": "x", "by_name": {"k": {"a": 0}}}, "$.by_name.k.a", "an integer"),
        ({"title": "x", "by_name": []}, "$.by_name", "an object"),
        ({"title": "x", "by_name": {"\0": {"a": 1}}}, '$.by_name["\\u0000"]', "U+0000"),
        ({"title": "x", "free": [{"a": "\udfff"}]}, "$.free[0].a", "surrogate"),
        ({"title": "x", "either": []}, "$.either", "Must be"),
        ({"title": "x", "maybe": 0}, "$.maybe", "an integer"),
        ({"title": "x", "flag": True, "choice": "b"}, "$.choice", "Must not be `b`"),
        ({"title": "x", "\ud800": 1}, '$["\\ud800"]', "Unknown"),
    ],
)
def test_each_kind_of_type_has_its_sentence(value: Any, path: str, words: str):
    ((where, message),) = faults(EVERYTHING, value)
    assert where == path
    assert words in message


def test_a_list_that_is_too_long_is_one_fault_and_not_a_thousand():
    assert faults(THINGS, {"items": [{}] * 4}) == [("$.items", "Must have at most 3 items.")]


def test_what_is_answered_is_bounded_and_says_so():
    errors = faults(EVERYTHING, {"title": "x", "inners": [{"a": 0}] * (ERRORS_MAX + 2)})
    assert len(errors) == ERRORS_MAX + 1
    assert errors[-1] == ("$", "And 2 more.")


def test_read_only_fields_are_ignored_whatever_they_hold():
    thing = Validator(Thing).decode(b'{"id": "nonsense", "title": "x", "owner": 1, "created_at": null}')
    assert thing == Thing(title="x", owner=1)


def test_of_two_members_with_one_name_the_last_counts_on_both_ways():
    fast = b'{"title": "a", "title": "b", "owner": 1}'
    slow = b'{"title": "a", "title": "b", "owner": 1, "id": 1}'
    assert Validator(Thing).decode(fast).title == Validator(Thing).decode(slow).title == "b"


def test_an_empty_body_stands_for_an_object_only_where_nothing_is_required():
    class Optional(RequestBody, kw_only=True):
        a: int = 5

    assert Validator(Optional).decode(b"").a == 5
    with pytest.raises(Malformed):
        Validator(Thing).decode(b"")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{} x",
        b"{}{}",
        b"\xff",
        b'{"title": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b'{"number": NaN}',
        b'{"number": -Infinity}',
        b"{'title': 1}",
        b'{"title": "a\x00b"}',
        b'{"title": "a\nb"}',
        b'{"title": 01}',
        b'{"free": ' + b"[" * 100_000,
        b'{"free": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_malformed(body: bytes):
    with pytest.raises(Malformed) as caught:
        EVERYTHING.decode(body)
    caught.value.detail.encode()


@pytest.mark.parametrize(
    "number", [b'{"a": 1e999}', b'{"a": -1e999}', b'{"a": %s}' % (b"9" * 400), b'{"a": [-%s]}' % (b"9" * 5000)]
)
def test_numbers_that_no_reader_keeps_are_invalid(number: bytes):
    ((path, message),) = faults(EVERYTHING, b'{"title": "x", "data": ' + number + b"}")
    assert path.startswith("$.data")
    assert "range" in message


def test_a_whole_number_is_an_integer_however_it_is_written():
    assert Validator(Thing).decode(b'{"title": "x", "owner": 3.0}').owner == 3
    assert Validator(Thing).decode(b'{"title": "x", "owner": 3e2}').owner == 300
    for owner in (b"3.5", b"-3.0", b"9007199254740993.0", b"1e30"):
        with pytest.raises(Invalid):
            Validator(Thing).decode(b'{"title": "x", "owner": %b}' % owner)


def test_what_a_request_cannot_have_is_refused_when_it_is_declared():
    class Complex(RequestBody, kw_only=True):
        a: bytes

    with pytest.raises(TypeError, match="BytesType"):
        Validator(Complex)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["a", "email", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "0001-01-01T00:00:00+10:00", "\0"]),
)
names = st.sampled_from([*Everything.__struct_fields__, "a", "at", "b"]) | st.text(max_size=3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=20
)
bodies = st.fixed_dictionaries(
    {"title": st.just("x")}, optional=dict.fromkeys(Everything.__struct_fields__[1:], values)
)


@given(st.one_of(bodies, values))
@settings(max_examples=150, deadline=None)
def test_the_walk_and_the_decoder_agree_on_everything(value: Any):
    text = json.dumps(value)
    body = text.encode()
    try:
        taken: Everything | None = EVERYTHING.decode(body)
    except Invalid as invalid:
        taken = None
        # They can be answered: no half of a surrogate pair is repeated.
        msgspec.json.encode(invalid.errors)
    except Malformed:
        taken = None
    try:
        decoded = msgspec.json.decode(body, type=Everything)
    except (msgspec.DecodeError, RecursionError):
        assert taken is None
        return
    # What the decoder takes, only a rule of ours may refuse.
    if taken is None:
        with pytest.raises(Invalid):
            EVERYTHING.convert(parse(body))
    else:
        assert taken == decoded
        assert EVERYTHING.convert(parse(body)) == taken


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,0123456789.eE+-tfn\\ud8 ', max_size=100).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_whatever_the_bytes_are_only_its_own_errors_are_raised(body: bytes):
    try:
        EVERYTHING.decode(body)
    except (Invalid, Malformed):
        pass
