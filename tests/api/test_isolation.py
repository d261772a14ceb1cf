"""Who gets what: every route, tried by every kind of caller, as the table in `callers_table` has it."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
import pytest

from tests.acceptance.rest import Caller, problem
from tests.api.callers_table import BODIES, ROWS, Row, ask, shape
from tests.api.scene import INSIDE, MARK, OUTSIDE, Scene, picture
from tests.api.whole import DOCUMENT, Whole

MISSING: Final = 2**53 - 1


def _checked(answer: httpx.Response, status: int, who: str) -> None:
    assert answer.status_code == status, f"{who}: {answer.status_code}, not {status}: {answer.text[:300]}"
    if status >= 400:
        problem(answer, status)


def test_every_route_of_the_document_is_in_the_table_and_no_other():
    told = {f"{m.upper()} {shape(path)}" for path, methods in DOCUMENT["paths"].items() for m in methods}
    assert {row.route for row in ROWS} == told
    assert set(BODIES) <= {row.name for row in ROWS}
    assert all((len(row.inside), len(row.outside), len(row.unknown)) == (6, 4, 2) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_each_caller_gets_what_the_table_says(hub: Whole, url: str, row: Row):
    place = ROWS.index(row)
    scene = Scene(hub, f"t{place}")
    made = await scene.make(row.kinds)
    before = await picture(url, scene.tenant)

    for (role, user), status in zip(OUTSIDE, row.outside, strict=True):
        # A tenant of their own for each, with nothing in it: nothing that one does decides what the next is told.
        stranger = hub.caller(f"o{place}-{role}", role, user)
        answer = await ask(row, stranger, made)
        _checked(answer, status, f"a stranger who is {role}")
        assert MARK not in _without_echo(answer, made)
    for bearer, status in zip((None, "nonsense"), row.unknown, strict=True):
        _checked(await ask(row, Caller(hub.client, bearer), made), status, f"the token {bearer}")
    told = dict(zip(INSIDE, row.inside, strict=True))
    for (role, user), status in told.items():
        if status >= 400:
            _checked(await ask(row, hub.caller(scene.tenant, role, user), made), status, f"{role} {user}")
    assert await picture(url, scene.tenant) == before

    for (role, user), status in told.items():
        if status < 400:
            if row.method != "GET":
                made = await scene.make(row.kinds)
            _checked(await ask(row, hub.caller(scene.tenant, role, user), made), status, f"{role} {user}")


def _without_echo(answer: httpx.Response, made: dict[str, Any]) -> str:
    """The answer without what the caller said themselves."""
    said = answer.text
    for value in made.values():
        if isinstance(value, str):
            said = said.replace(value, "")
    return said


NAMING: Final = [row for row in ROWS if row.kinds]


@pytest.mark.parametrize("row", NAMING, ids=[row.name for row in NAMING])
async def test_a_row_that_one_may_not_know_of_is_answered_like_one_that_is_not_there(hub: Whole, row: Row):
    place = ROWS.index(row)
    scene = Scene(hub, f"s{place}")
    made = await scene.make(row.kinds)
    missing = {name: f"{MARK}-0" if isinstance(value, str) else MISSING for name, value in made.items()}
    for role, user in OUTSIDE:
        # Of an id of their own, so that neither row is about themselves.
        other = None if user is None else user + 10
        there = await ask(row, hub.caller(f"p{place}-{role}", role, other), made)
        not_there = await ask(row, hub.caller(f"q{place}-{role}", role, other), missing)
        assert _plain(there, made) == _plain(not_there, missing)
    for (role, user), status in zip(INSIDE, row.inside, strict=True):
        if status in (404, 422):
            caller = hub.caller(scene.tenant, role, user)
            assert _plain(await ask(row, caller, made), made) == _plain(await ask(row, caller, missing), missing)


def _plain(answer: httpx.Response, made: dict[str, Any]) -> Any:
    """An answer without what differs from one call to the next: the ids that were asked for, numbers, instants."""
    said = re.sub(r"\d{4}-\d\d-\d\dT[^\"]+|[pq]\d+-", "", answer.text)
    for value in made.values():
        said = re.sub(rf"(?<!\w){re.escape(str(value))}(?!\w)", "ID", said)
    said = re.sub(r'"(id|broadcast_id|key|public_key)":("[^"]*"|\d+)', r'"\1":0', said)
    return (
        answer.status_code,
        re.sub(r'"request_id":"[^"]*"', "", said),
        sorted(set(answer.headers) - {"content-length"}),
    )
