"""What callers say stays what they say: every place of every route that takes text, tried with text that means
something to somebody: to SQL, JSON, a template, a header, a path, a format, a terminal.

The places are read from the OpenAPI document, so that a new one is tried without being named here.
"""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from tests.acceptance.rest import ABSENT, problem
from tests.api.callers_table import ROWS, Row, shape
from tests.api.scene import ADMIN, MARK, NAME, OWNER, Scene, filled, picture
from tests.api.whole import DOCUMENT, Whole

EVIL: Final = (
    "'", "\\", "' OR '1'='1", "'; DROP TABLE notifications; --", "1); DELETE FROM tasks; --", "$1", "'::regclass", "%",
    "\\'; SELECT pg_sleep(60); --", "'||(SELECT current_user)||'", "_", "{0.__class__}", "%s%n%x", "{{7*7}}",
    "{% raw %}", "<script>alert(1)</script>", "$.a ? (@ > 1)", '{"$gt": ""}', "infinity", "NaN", "1e999", "a\0b",
    "\ud800", "\u202ea\u200bb\ufeff", "a\r\nSet-Cookie: x=1", "\x1b[31m", "../../etc/passwd", "=cmd|' /C calc'!A0",
    "😀" * 3, "x" * 20_000,
)  # fmt: skip

PLAIN: Final = "Plain"
"""In the texts of whoever asks; nothing evil is part of it."""

Place = tuple[str | int, ...]


def places(schema: Any, at: Place = ()) -> Iterator[Place]:
    """Where a body that this schema describes holds a single value."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from places(one, at)
    elif schema.get("type") == "array":
        yield from places(schema.get("items", {}), (*at, 0))
    elif schema.get("type") == "object":
        for name, one in schema.get("properties", {}).items():
            if not one.get("readOnly"):
                yield from places(one, (*at, name))
        if more := schema.get("additionalProperties", "properties" not in schema):
            yield from places(more if isinstance(more, dict) else {}, (*at, "any"))
    elif schema.get("type") not in ("null", "boolean"):
        yield at


def put(value: Any, place: Place, text: str) -> Any:
    """A copy with `text` at one place, and on the way what is not there."""
    if not place:
        return text
    step, rest = place[0], place[1:]
    if isinstance(step, int):
        return [put(value[0] if isinstance(value, list) and value else None, rest, text)]
    held = copy.copy(value) if isinstance(value, dict) else {}
    held[step] = put(held.get(step), rest, text)
    return held


def at(value: Any, place: Place) -> Any:
    """What stands at a place, None where there is no such place."""
    for step in place:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def escaped(text: str) -> str:
    """One segment, or one value, of a URL. A dot is escaped too, lest it be a step up for whoever sends it."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="").replace(".", "%2E")


class Tried:
    """One route, and whoever may call it, with rows of their own."""

    def __init__(self, hub: Whole, row: Row, scene: Scene, made: dict[str, Any]) -> None:
        path = next(one for one in DOCUMENT["paths"] if shape(one) == row.route.partition(" ")[2])
        self.operation = DOCUMENT["paths"][path][row.method.lower()]
        self.row, self.made = row, made
        self.body = ABSENT if row.body is ABSENT else filled(row.body, made)
        is_for_agents = "agent" in self.operation.get("x-roles", ["agent"])
        self.caller = hub.caller(scene.tenant, *(("agent", OWNER) if is_for_agents else ("admin", ADMIN)))

    def parameters(self, place: str) -> list[str]:
        return [one["name"] for one in self.operation.get("parameters", []) if one["in"] == place]

    @property
    def schema(self) -> Any:
        content = self.operation.get("requestBody", {}).get("content", {})
        return content["application/json"]["schema"] if content else {"type": "null"}

    async def ask(self, path: str | None = None, body: Any = ABSENT, **headers: Any) -> httpx.Response:
        answer = await self.caller(
            self.row.method,
            filled(self.row.path, self.made) if path is None else path,
            self.body if body is ABSENT else body,
            **headers,
        )
        said = f"{self.row.name} {path} {body} {headers}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500, said
        assert str(answer.status_code) in self.operation["responses"], said
        assert MARK not in answer.text, said
        assert answer.headers["x-request-id"].isprintable()
        assert "set-cookie" not in answer.headers
        if answer.status_code >= 400:
            problem(answer, answer.status_code)
        return answer


ROUTES: Final = [row for row in ROWS if not re.search("[?#]", row.name.partition(" ")[2])]


@pytest.fixture
async def victim(hub: Whole, url: str) -> AsyncIterator[Scene]:
    """Another tenant, in which nothing has changed when the test is over."""
    scene = Scene(hub, "victim")
    if not await hub.world.sql("SELECT FROM tasks LIMIT 1", tenant="victim"):
        await scene.make(
            {"notification", "scheduled", "broadcast", "task", "closed", "free", "comment", "key", "browser"}
        )
    before = await picture(url, "victim")
    yield scene
    assert await picture(url, "victim") == before


@pytest.fixture
async def tried(hub: Whole, victim: Scene, row: Row) -> Tried:
    scene = Scene(hub, f"t{ROWS.index(row)}", PLAIN)
    kinds = {"notification", "task", "free", "comment", "template", "log"} if row.method == "GET" else set[str]()
    return Tried(hub, row, scene, await scene.make(row.kinds | kinds))


@pytest.mark.parametrize("row", ROUTES, ids=[row.name for row in ROUTES])
async def test_names_in_a_path_and_headers_are_only_names(tried: Tried, row: Row):
    named = sorted(set(NAME.findall(row.path)))
    for text in EVIL:
        raw = text.encode("utf-8", "surrogatepass")
        for name in named:
            path = filled(row.path, {**tried.made, name: escaped(text)})
            answer = await tried.ask(path, x_request_id=raw)
            assert answer.status_code in (403, 404, 422) or name == "group", (path, answer.text)
        for header in tried.parameters("header") or ["X-Request-Id"]:
            await tried.ask(**{header: raw})


@pytest.mark.parametrize("text", EVIL, ids=ascii)
async def test_a_token_is_proven_or_refused(hub: Whole, text: str):
    good = hub.caller("t", "agent", OWNER)
    for forged in (text, f"{good.bearer}{text}", f"{text}{good.bearer}"):
        raw = b"Bearer " + forged.encode("utf-8", "surrogatepass")
        # White space around a token is none of it (RFC 9110, 5.5).
        if forged.strip() != good.bearer:
            problem(await good("GET", "/notifications", authorization=raw), 401)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("row", [row for row in ROUTES if row.method == "GET"], ids=lambda row: row.path)
async def test_no_text_of_a_query_finds_more_than_it_says(tried: Tried, row: Row):
    whole = (await tried.ask()).json() if tried.parameters("query") else {}
    assert whole.get("items", [True]), "a list without rows would be found empty by any text"
    for name in tried.parameters("query"):
        for text in EVIL:
            answer = await tried.ask(f"{filled(row.path, tried.made)}?{name}={escaped(text)}")
            if answer.status_code not in (404, 422):
                # Where no list was asked for, a place in it says nothing.
                assert answer.json().get("items", name == "cursor" or None) in ([], True), (name, text)


IGNORED: Final = {("PUT /groups/{group}", ("name",))}
"""What only an answer has, and a request may carry so that get, change, put works."""

WRITING: Final = [row for row in ROUTES if row.method != "GET"]


@pytest.mark.parametrize("row", WRITING, ids=[row.name for row in WRITING])
async def test_text_in_a_body_is_refused_or_kept_as_it_is(tried: Tried, row: Row):
    path = filled(row.path, tried.made)
    for name in tried.parameters("query"):
        for text in EVIL:
            assert (await tried.ask(f"{path}?{name}={escaped(text)}")).status_code in (404, 422)
    for place in sorted(set(places(tried.schema)), key=str):
        for text in EVIL:
            body = put({} if tried.body is ABSENT else tried.body, place, text)
            answer = await tried.ask(body=body)
            if answer.status_code >= 300 or not answer.content:
                continue
            if (row.name, place) in IGNORED:
                continue
            assert at(answer.json(), place) in (None, text), (place, text)
            if at(answer.json(), place) is not None:
                assert await _read_back(tried, path, answer, place) in (None, text), (place, text)


async def _read_back(tried: Tried, path: str, answer: httpx.Response, place: Place) -> Any:
    """What a GET finds there, None where the route has none."""
    there = path if tried.row.method in ("PUT", "PATCH") else f"{path}/{answer.json().get('id')}"
    found = await tried.caller("GET", there)
    return at(found.json(), place) if found.status_code == 200 else None


def test_there_are_places_of_every_kind():
    """The enumeration itself: that it found what is known to be there."""
    task = DOCUMENT["paths"]["/api/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {("title",), ("tags", 0), ("due_date",), ("priority",)} <= set(places(task))
    note_ = DOCUMENT["paths"]["/api/v1/notifications/bulk"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert {("items", 0, "title"), ("items", 0, "data", "any")} <= set(places(note_))
    patch = DOCUMENT["paths"]["/api/v1/settings"]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    assert ("timezone",) in set(places(patch))
