"""Who gets what: every route, tried by every kind of caller, from one table.

In a row: what each caller is answered. Of one tenant: the agent who owns the row, one who only watches the task, a
colleague who is not on it, a supervisor, an admin, a service; of another tenant, under the same user ids: agent,
supervisor, admin, service; then no token, and a bad one. `{…}` in a path or a body is a row of the first tenant,
made by `Scene`; a word after `#` tells two rows of one route apart, and names its body.

A new route needs its row here, and its body in `BODIES` where it has one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import asyncpg
import httpx
import pytest

from tests.acceptance.rest import ABSENT, BASE, Caller, ahead, note, problem
from tests.api.scene import INSIDE, MARK, NAME, OUTSIDE, Scene, filled
from tests.api.whole import DOCUMENT, Whole, whole_hub
from tests.conftest import Databases
from tests.store.catalog import tenant_tables

TABLE: Final = """
#                                                  own wat col sup adm svc   agt sup adm svc   no  bad
GET    /healthz                                    200 200 200 200 200 200 | 200 200 200 200 | 200 200
GET    /readyz                                     200 200 200 200 200 200 | 200 200 200 200 | 200 200
GET    /metrics                                    403 403 403 403 200 200 | 403 403 200 200 | 401 401
POST   /notifications                              201 403 403 201 201 201 | 201 201 201 201 | 401 401
POST   /notifications#group                        403 403 403 201 201 201 | 403 422 422 422 | 401 401
GET    /notifications                              200 200 200 200 200 403 | 200 200 200 403 | 401 401
POST   /notifications/bulk                         201 403 403 201 201 201 | 201 201 201 201 | 401 401
POST   /notifications/withdraw                     403 403 403 200 200 200 | 403 200 200 200 | 401 401
POST   /notifications/withdraw#broadcast           403 403 403 200 200 200 | 403 200 200 200 | 401 401
POST   /notifications/cleanup                      403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /notifications/explain                      200 403 403 200 200 200 | 200 200 200 200 | 401 401
GET    /notifications/unread                       200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/stats                        200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/stats?user_id={owner}        200 403 403 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/{notification}               200 404 404 404 404 200 | 404 404 404 404 | 401 401
DELETE /notifications/{notification}               204 404 404 404 404 403 | 404 404 404 403 | 401 401
GET    /notifications/{notification}/delivery      200 404 404 404 404 200 | 404 404 404 404 | 401 401
PUT    /notifications/{notification}/read          200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/unread        200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/archive       200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/unarchive     200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/snooze        200 404 404 404 404 403 | 404 404 404 403 | 401 401
PUT    /notifications/{notification}/unsnooze      200 404 404 404 404 403 | 404 404 404 403 | 401 401
DELETE /notifications/{scheduled}/schedule         204 404 404 404 404 204 | 404 404 404 404 | 401 401
POST   /notifications/actions                      200 404 404 404 404 403 | 404 404 404 403 | 401 401
POST   /notifications/read-all                     200 200 200 200 200 403 | 200 200 200 403 | 401 401
POST   /notifications/read-all#before              200 404 404 404 404 403 | 404 404 404 403 | 401 401
POST   /notifications/seen                         200 200 200 200 200 403 | 200 200 200 403 | 401 401
POST   /notifications/seen#before                  200 404 404 404 404 403 | 404 404 404 403 | 401 401
GET    /notifications/preferences                  200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /notifications/preferences?user_id={owner}  200 403 403 403 200 200 | 200 403 200 200 | 401 401
PUT    /notifications/preferences                  200 200 200 200 200 403 | 200 200 200 403 | 401 401
PUT    /notifications/preferences?user_id={owner}  200 403 403 403 200 200 | 200 403 200 200 | 401 401
PATCH  /notifications/preferences                  200 200 200 200 200 403 | 200 200 200 403 | 401 401
PATCH  /notifications/preferences?user_id={owner}  200 403 403 403 200 200 | 200 403 200 200 | 401 401
PUT    /users/{owner}/quiet                        403 403 403 403 200 200 | 403 403 200 200 | 401 401
GET    /api-keys                                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /api-keys                                   403 403 403 403 201 403 | 403 403 201 403 | 401 401
DELETE /api-keys/{key}                             403 403 403 403 204 403 | 403 403 404 403 | 401 401
POST   /users/{owner}/revoke                       403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /users/{owner}                              403 403 403 403 200 200 | 403 403 404 404 | 401 401
PUT    /users/{owner}                              403 403 403 403 200 200 | 403 403 200 200 | 401 401
DELETE /users/{owner}                              403 403 403 403 204 403 | 403 403 204 403 | 401 401
GET    /users/{owner}/export                       403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /groups/{group}                             403 403 403 200 200 200 | 403 404 404 404 | 401 401
PUT    /groups/{group}                             403 403 403 403 200 200 | 403 403 200 200 | 401 401
DELETE /groups/{group}                             403 403 403 403 204 204 | 403 403 404 404 | 401 401
GET    /presence                                   403 403 403 200 200 403 | 403 200 200 403 | 401 401
GET    /presence?group={group}                     403 403 403 200 200 403 | 403 404 404 403 | 401 401
POST   /notifications/broadcast                    403 403 403 403 202 403 | 403 403 202 403 | 401 401
POST   /notifications/broadcast#group              403 403 403 403 202 403 | 403 403 422 403 | 401 401
GET    /broadcasts/{broadcast}                     403 403 403 403 200 403 | 403 403 404 403 | 401 401
GET    /broadcasts/{broadcast}?unread=true         403 403 403 403 200 403 | 403 403 404 403 | 401 401
GET    /contacts                                   200 200 200 200 200 403 | 200 200 200 403 | 401 401
PUT    /contacts                                   200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /users/{owner}/contacts                     403 403 403 403 200 200 | 403 403 200 200 | 401 401
PUT    /users/{owner}/contacts                     403 403 403 403 200 200 | 403 403 200 200 | 401 401
POST   /push-subscriptions                         201 201 201 201 201 403 | 201 201 201 403 | 401 401
GET    /push-subscriptions                         200 200 200 200 200 403 | 200 200 200 403 | 401 401
DELETE /push-subscriptions/{browser}               204 404 404 404 404 403 | 404 404 404 403 | 401 401
GET    /push-subscriptions/key                     200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /settings                                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
PATCH  /settings                                   403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /audit                                      403 403 403 403 200 403 | 403 403 200 403 | 401 401
GET    /audit?actor_id={owner}                     403 403 403 403 200 403 | 403 403 200 403 | 401 401
POST   /tasks                                      201 201 201 201 201 201 | 201 201 201 201 | 401 401
POST   /tasks#below                                201 201 422 201 201 201 | 422 422 422 422 | 401 401
GET    /tasks                                      200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks?group={group}                        200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks?lead_id={lead}                       200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks?assigned_to={owner}                  200 403 403 200 200 403 | 200 200 200 403 | 401 401
POST   /tasks/bulk                                 201 201 201 201 201 201 | 201 201 201 201 | 401 401
POST   /tasks/bulk#patch                           200 403 404 200 200 403 | 404 404 404 403 | 401 401
GET    /tasks/lead/{lead}                          200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/overdue                              200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/stats                                200 200 200 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/stats?user_id={owner}                200 403 403 200 200 403 | 200 200 200 403 | 401 401
GET    /tasks/{task}                               200 200 404 200 200 403 | 404 404 404 403 | 401 401
GET    /tasks/{free}                               200 404 404 200 200 403 | 404 404 404 403 | 401 401
PUT    /tasks/{task}                               200 403 404 200 200 403 | 404 404 404 403 | 401 401
PATCH  /tasks/{task}                               200 403 404 200 200 403 | 404 404 404 403 | 401 401
DELETE /tasks/{task}                               403 403 404 204 204 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/subtasks                      200 200 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/start                         200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/complete                      200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/cancel                        200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{closed}/reopen                      200 403 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{free}/claim                         200 404 404 200 200 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/comments                      201 201 404 201 201 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/comments                      200 200 404 200 200 403 | 404 404 404 403 | 401 401
PUT    /tasks/{task}/comments/{comment}            200 403 404 403 403 403 | 404 404 404 403 | 401 401
DELETE /tasks/{task}/comments/{comment}            204 403 404 204 204 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign                        201 403 404 201 201 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/assignments                   200 200 404 200 200 403 | 404 404 404 403 | 401 401
DELETE /tasks/{task}/assign/{watcher}              204 204 404 204 204 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign/accept                 200 200 404 403 403 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign/decline                200 200 404 403 403 403 | 404 404 404 403 | 401 401
POST   /tasks/{task}/assign/complete               200 200 404 403 403 403 | 404 404 404 403 | 401 401
GET    /tasks/{task}/history                       200 200 404 200 200 403 | 404 404 404 403 | 401 401
"""

MISSING: Final = 2**53 - 1

BODIES: Final[dict[str, Any]] = {
    "POST /notifications": note(user_id="{owner}"),
    "POST /notifications#group": note(group="{group}"),
    "POST /notifications/bulk": {"items": [note(user_id="{owner}")]},
    "POST /notifications/withdraw": {"collapse_key": "{collapse}"},
    "POST /notifications/withdraw#broadcast": {"broadcast_id": "{broadcast}"},
    "POST /notifications/cleanup": {"days": 1},
    "POST /notifications/explain": {"user_id": "{owner}"},
    "PUT /notifications/{notification}/snooze": {"until": ahead(hours=1)},
    "POST /notifications/actions": {"ids": ["{notification}"], "action": "delete"},
    "POST /notifications/read-all#before": {"before": "{notification}"},
    "POST /notifications/seen#before": {"before": "{notification}"},
    "PUT /notifications/preferences": {},
    "PUT /notifications/preferences?user_id={owner}": {},
    "PATCH /notifications/preferences": {},
    "PATCH /notifications/preferences?user_id={owner}": {"timezone": "Asia/Kolkata"},
    "PUT /users/{owner}/quiet": {"quiet_until": None},
    "POST /api-keys": {"name": "dialler"},
    "PUT /users/{owner}": {"display_name": "Ana"},
    "PUT /groups/{group}": {"members": [9]},
    "POST /notifications/broadcast": note(),
    "POST /notifications/broadcast#group": note(group="{group}"),
    "PUT /contacts": {"email": "ana@example.org"},
    "PUT /users/{owner}/contacts": {"email": "ana@example.org"},
    "POST /push-subscriptions": {"endpoint": "https://push.example/2", "keys": {"p256dh": "B" * 87, "auth": "a" * 22}},
    "PATCH /settings": {"reminder_minutes": 5},
    "POST /tasks": {"title": "A task"},
    "POST /tasks#below": {"title": "A task", "parent_task_id": "{task}"},
    "POST /tasks/bulk": {"items": [{"title": "A task"}]},
    "POST /tasks/bulk#patch": {"items": [{"id": "{task}", "title": "Another"}]},
    "PUT /tasks/{task}": {"title": "Another"},
    "PATCH /tasks/{task}": {"title": "Another"},
    "POST /tasks/{task}/comments": {"comment": "Well"},
    "PUT /tasks/{task}/comments/{comment}": {"comment": "Well"},
    "POST /tasks/{task}/assign": {"user_id": 9},
}  # fmt: skip


class Row:
    """One line of the table."""

    def __init__(self, line: str) -> None:
        self.method, self.path, *statuses = line.replace("|", " ").split()
        self.inside = [int(one) for one in statuses[:6]]
        self.outside = [int(one) for one in statuses[6:10]]
        self.unknown = [int(one) for one in statuses[10:]]
        self.name = f"{self.method} {self.path}"
        self.body = BODIES.get(self.name, ABSENT)
        self.path, _, _ = self.path.partition("#")

    @property
    def route(self) -> str:
        path = self.path.partition("?")[0]
        base = "" if path in ("/healthz", "/readyz", "/metrics") else BASE
        return f"{self.method} {base}{_shape(path)}"

    @property
    def kinds(self) -> set[str]:
        """What it names."""
        return set(NAME.findall(f"{self.path} {self.body}"))


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


ROWS: Final = [Row(line) for line in TABLE.strip().splitlines() if not line.startswith("#")]


async def _ask(row: Row, caller: Caller, made: dict[str, Any]) -> httpx.Response:
    body = ABSENT if row.body is ABSENT else filled(row.body, made)
    return await caller(row.method, filled(row.path, made), body)


@pytest.fixture(scope="module")
def url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture
async def hub(url: str) -> AsyncIterator[Whole]:
    async with whole_hub(url) as hub:
        yield hub


async def _picture(url: str, tenant: str) -> dict[str, str]:
    """Everything that a tenant has, in brief, by table: what nobody may change is the same afterwards.

    But for streams in which nothing stands yet: one may begin with whoever calls, and says nothing.
    """
    connection = await asyncpg.connect(url)
    try:
        return {
            table: await connection.fetchval(
                f"SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM {table} t"
                f" WHERE tenant_id = $1{' AND head > 0' if table == 'user_streams' else ''}",
                tenant,
            )
            for table in await tenant_tables(connection)
        }
    finally:
        await connection.close()


def _checked(answer: httpx.Response, status: int, who: str) -> None:
    assert answer.status_code == status, f"{who}: {answer.status_code}, not {status}: {answer.text[:300]}"
    if status >= 400:
        problem(answer, status)


def test_every_route_of_the_document_is_in_the_table_and_no_other():
    told = {f"{m.upper()} {_shape(path)}" for path, methods in DOCUMENT["paths"].items() for m in methods}
    assert {row.route for row in ROWS} == told
    assert set(BODIES) <= {row.name for row in ROWS}
    assert all((len(row.inside), len(row.outside), len(row.unknown)) == (6, 4, 2) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_each_caller_gets_what_the_table_says(hub: Whole, url: str, row: Row):
    place = ROWS.index(row)
    scene = Scene(hub, f"t{place}")
    made = await scene.make(row.kinds)
    before = await _picture(url, scene.tenant)

    for (role, user), status in zip(OUTSIDE, row.outside, strict=True):
        # A tenant of their own for each, with nothing in it: nothing that one does decides what the next is told.
        stranger = hub.caller(f"o{place}-{role}", role, user)
        answer = await _ask(row, stranger, made)
        _checked(answer, status, f"a stranger who is {role}")
        assert MARK not in _without_echo(answer, made)
    for bearer, status in zip((None, "nonsense"), row.unknown, strict=True):
        _checked(await _ask(row, Caller(hub.client, bearer), made), status, f"the token {bearer}")
    told = dict(zip(INSIDE, row.inside, strict=True))
    for (role, user), status in told.items():
        if status >= 400:
            _checked(await _ask(row, hub.caller(scene.tenant, role, user), made), status, f"{role} {user}")
    assert await _picture(url, scene.tenant) == before

    for (role, user), status in told.items():
        if status < 400:
            if row.method != "GET":
                made = await scene.make(row.kinds)
            _checked(await _ask(row, hub.caller(scene.tenant, role, user), made), status, f"{role} {user}")


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
        there = await _ask(row, hub.caller(f"p{place}-{role}", role, other), made)
        not_there = await _ask(row, hub.caller(f"q{place}-{role}", role, other), missing)
        assert _plain(there, made) == _plain(not_there, missing)
    for (role, user), status in zip(INSIDE, row.inside, strict=True):
        if status in (404, 422):
            caller = hub.caller(scene.tenant, role, user)
            assert _plain(await _ask(row, caller, made), made) == _plain(await _ask(row, caller, missing), missing)


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
