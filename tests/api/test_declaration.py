"""What a declaration may say, and where its paths lead."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest

from api.merge import Patch, merged
from api.query import QueryReader, RequestQuery
from api.route import ADMINS, EVERYONE, Answer, Call, Route, route
from api.router import Router
from api.validation import RequestBody, Validator
from hub.app.errors import Invalid
from tests.api.toy import ROUTES, Thing, create, delete, dressed, patch


class Body(RequestBody, kw_only=True):
    a: int = 0


class Loose(msgspec.Struct):
    a: int = 0


class LooseQuery(msgspec.Struct):
    a: int = 0


class Needy(RequestQuery, kw_only=True):
    a: int


async def takes_body(call: Call[Any, Body, None]) -> Answer:
    raise AssertionError


async def takes_loose_body(call: Call[Any, Loose, None]) -> Answer:
    raise AssertionError


async def takes_loose_query(call: Call[Any, None, LooseQuery]) -> Answer:
    raise AssertionError


async def takes_needy_query(call: Call[Any, None, Needy]) -> Answer:
    raise AssertionError


async def takes_two(call: Call[Any, None, None], other: int) -> Answer:
    raise AssertionError


def declared(handler: Any, method: Any = "POST", path: str = "/x", **options: Any) -> Route:
    return route(method, path, summary="x", roles=EVERYONE, responses={200: dict}, **options)(handler)


@pytest.mark.parametrize(
    ("handler", "options", "words"),
    [
        (takes_loose_body, {}, "RequestBody"),
        (takes_loose_query, {}, "RequestQuery"),
        (takes_needy_query, {}, "needs a default"),
        (takes_two, {}, "one argument"),
        (takes_body, {"method": "PUT", "idempotent": True}, "only a POST"),
        (takes_body, {"parameters": {"name": str}}, "no such parameter"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_at_once(handler: Any, options: dict[str, Any], words: str):
    with pytest.raises(TypeError, match=words):
        declared(handler, **options)


def test_a_declaration_knows_every_problem_that_it_may_answer():
    assert create.problem_statuses == (400, 401, 403, 405, 408, 409, 413, 415, 422, 429, 500, 503)
    assert delete.problem_statuses == (401, 403, 405, 408, 413, 422, 429, 500, 503)
    assert dressed.problem_statuses == (405, 408, 413, 422, 500)
    assert declared(takes_body, errors=(404,)).problem_statuses[2:5] == (403, 404, 405)


def test_a_patch_is_declared_by_what_it_changes():
    assert (patch.takes_patch, patch.body_kind) == (True, Thing)
    assert (create.takes_patch, create.body_kind) == (False, Thing)
    assert delete.roles == ADMINS


def test_a_path_with_two_routes_of_one_method_is_refused():
    router = Router()
    with pytest.raises(ValueError, match="POST /api/v1/things is declared twice"):
        router.add("/api/v1", [*ROUTES, declared(takes_body, path="/things")])


@pytest.mark.parametrize(
    ("path", "template", "taken"),
    [
        (b"/a", "/a", []),
        (b"/a/b", "/a/b", []),
        (b"/a/x", "/a/{id}", [b"x"]),
        (b"/a/x/c", "/a/{id}/c", [b"x"]),
        (b"/a/b/c", "/a/{id}/c", [b"b"]),
        (b"/a/%62", "/a/b", []),
        (b"/a/b/d/e", "/a/b/{other}/e", [b"d"]),
        (b"/a/b/d", None, []),
        (b"/a/", None, []),
        (b"/a//c", None, []),
        (b"/a/x/", None, []),
        (b"a", None, []),
        (b"", None, []),
        (b"*", None, []),
        (b"/" * 5000, None, []),
        (b"/a/x" * 5000, None, []),
        (b"/a/{id}", "/a/{id}", [b"{id}"]),
    ],
)
def test_a_path_leads_to_one_place(path: bytes, template: str | None, taken: list[bytes]):
    router = Router()
    paths = ("/a", "/a/b", "/a/{id}", "/a/{id}/c", "/a/b/{other}/e")
    router.add("", [declared(takes_body, path=one) for one in paths])
    found = router.find(path)
    assert (found and found[0].template) == template
    assert (found[1] if found else []) == taken


# The examples of RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("target", "change", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_rfc_7396(target: Any, change: Any, result: Any):
    before = msgspec.json.encode([target, change])
    assert merged(target, change) == result
    assert msgspec.json.encode([target, change]) == before


def test_a_patch_may_be_applied_again_and_changes_only_what_it_names():
    change = Patch(Validator(Thing), {"title": "new", "data": {"b": 2, "c": None}, "id": 9})
    assert change.names == {"title", "data", "id"}
    for owner in (1, 2):
        thing = Thing(title="old", owner=owner, data={"a": 1, "c": 3})
        assert change.apply(thing) == Thing(title="new", owner=owner, data={"a": 1, "b": 2})
        assert thing.title == "old"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("change", [[], None, 1, {"title": None}, {"x": 1}, {"data": deep(5000)}])
def test_a_patch_that_makes_nothing_acceptable_is_invalid(change: Any):
    with pytest.raises(Invalid):
        Patch(Validator(Thing), change).apply(Thing(title="old", owner=1))


class Inner(RequestBody, kw_only=True):
    read_only: ClassVar[tuple[str, ...]] = ("made",)

    size: int | None = 7


class Outer(RequestBody, kw_only=True):
    inner: Inner | None = None
    free: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


@pytest.mark.parametrize(
    ("change", "path"),
    [({"sise": None}, "$.sise"), ({"inner": {"sise": None}}, "$.inner.sise")],
)
def test_nobody_takes_away_what_cannot_be_there_at_any_depth(change: Any, path: str):
    with pytest.raises(Invalid) as refused:
        Patch(Validator(Outer), change).apply(Outer(inner=Inner(size=1)))
    assert [one for one, _ in refused.value.errors] == [path]


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"inner": {"size": None, "made": None}}, Outer(inner=Inner(), free={"a": 1})),
        ({"inner": None}, Outer(free={"a": 1})),
        ({"free": {"a": None, "b": None}}, Outer(inner=Inner(size=1))),
    ],
)
def test_what_may_be_there_may_be_taken_away(change: Any, result: Outer):
    assert Patch(Validator(Outer), change).apply(Outer(inner=Inner(size=1), free={"a": 1})) == result


def test_the_reader_of_a_query_without_any_field_takes_nothing():
    class Empty(RequestQuery, kw_only=True):
        pass

    assert QueryReader(Empty).read(b"") == Empty()
    with pytest.raises(Invalid):
        QueryReader(Empty).read(b"a=1")
