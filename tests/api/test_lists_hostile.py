"""Lists against who would read more of them: wildcards in a search, and cursors of elsewhere, of others, made up."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, get_args

import msgspec
import pytest

from api.app import BASE
from api.paging import Cursors
from api.route import Route
from api.routes import api_routes
from hub.store.task_lists import Sort
from tests.acceptance.rest import Caller, note, paths
from tests.api.callers_table import ROWS
from tests.api.scene import ADMIN, MARK, OWNER, Scene, filled
from tests.api.whole import Whole

NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)


def routes_with(name: str) -> list[Route]:
    return [one for one in api_routes() if one.query is not None and name in one.query.kind.__struct_fields__]


def caller_of(hub: Whole, tenant: str, route: Route) -> Caller:
    return hub.caller(tenant, *(("agent", OWNER) if "agent" in (route.roles or ()) else ("admin", ADMIN)))


# -- what is searched for ---------------------------------------------------------------------------------------------

WRITERS: Final = (("service", None), ("admin", ADMIN))
TITLES: Final = ("100% sure", "100 sure", "a_b", "axb", "c\\d", "cd", "It's", "Its", "[x]", "x", "(y", "ÄPFEL", "*")
SEARCHED: Final = {
    "%": ["100% sure"],
    "_": ["a_b"],
    "\\": ["c\\d"],
    "\\%": [],
    "%%": [],
    "a%b": [],
    "'": ["It's"],
    "''": [],
    "[x]": ["[x]"],
    "(y": ["(y"],
    "*": ["*"],
    ".": [],
    "äpfel": ["ÄPFEL"],
    "100": ["100% sure", "100 sure"],
}


@pytest.mark.parametrize("route", routes_with("q"), ids=lambda route: route.path)
async def test_a_search_finds_what_has_the_very_text(hub: Whole, route: Route):
    tenant = f"q{route.path}".replace("/", "-")
    me, service, boss = (caller_of(hub, tenant, route), *(hub.caller(tenant, *one) for one in WRITERS))
    for title in TITLES:
        await service.post("/notifications", note(user_id=OWNER, title=title, message="-"))
        await boss.post("/tasks", {"title": title})
        await boss.post("/templates", {"name": title, "channel": "sms", "body": "-"})
    found = {text: (await me.get(route.path, q=text))["items"] for text in SEARCHED}
    assert {text: {one.get("title") or one["name"] for one in items} for text, items in found.items()} == {
        text: set(titles) for text, titles in SEARCHED.items()
    }


# -- cursors ----------------------------------------------------------------------------------------------------------


def every_cursors() -> list[Cursors[Any]]:
    """Every list's, from the modules of its routes."""
    found = {
        id(value): value
        for route in api_routes()
        for value in route.handler.__globals__.values()
        if isinstance(value, Cursors)
    }
    return list(found.values())


FORGED: Final[list[Any]] = [
    (NOON, 1), (NOON, 0), (NOON, -1), (NOON, 2**53), (NOON, 2**63 - 1), (NOON, 2**63), (NOON, 2**64 - 1),
    (NOON, -(2**63)), (datetime.min, 1), (datetime.max, 1), (datetime.min.replace(tzinfo=UTC), 1),
    (datetime.max.replace(tzinfo=UTC), 1), (NOON,), (NOON, 1, 1), (NOON, None), (None, 1), (True, 1),
    ("", 1), ("'", 1), ("x", 1), ("\0", 1), ("infinity", 1), ("-infinity", 1), ("2026-11-22 12:00:00+00", 1),
    ("2026-11-22 12:00:00+00", 2**63), ("294277-01-01", 1), ("4714-01-01 BC", 1), ("1", 1), ("2", 2**64 - 1),
    ("99999999999999", 1), ("1.5", 1), ("now", 1), ("x" * 500, 1), (1,), (2**63,), (2**64 - 1,), (-1,), 1, -1, 2**63,
    2**64 - 1, -(2**63), "1", None, [], {}, {"a": 1}, b"\xff", ("a", "sms", "en"), ("'", "'", "'"), ("\0", "", ""),
]  # fmt: skip


@pytest.mark.parametrize("route", routes_with("cursor"), ids=lambda route: route.path)
async def test_a_forged_cursor_is_refused_or_shows_ones_own(hub: Whole, route: Route):
    """Whoever has read this code can seal any place: it may lead anywhere in what one sees, and nowhere else."""
    mine, path = await _mine(hub, route)
    assert route.query is not None
    orders = get_args(Sort) if "sort" in route.query.kind.__struct_fields__ else (None,)
    assert len(every_cursors()) >= 8
    for cursors in every_cursors():
        for place in FORGED:
            for order in orders:
                asked = {} if order is None else {"sort": order}
                cursor = cursors.cursor(route.query.kind(**_unread(route), **asked), place)
                answer = await mine("GET", path, query={**_unread(route), **asked, "cursor": cursor})
                said = (place, order, answer.status_code, answer.text[:200])
                assert answer.status_code in (200, 422), said
                assert MARK not in answer.text, said


def _unread(route: Route) -> dict[str, Any]:
    """What asks for the list, where a route answers one only then."""
    assert route.query is not None
    return {"unread": True} if "unread" in route.query.kind.__struct_fields__ else {}


async def _mine(hub: Whole, route: Route) -> tuple[Caller, str]:
    """Whoever asks, with rows of their own beside those of another tenant and of a colleague; and where."""
    await Scene(hub, "victim").make({"notification", "task", "comment", "template", "log"})
    row = next(one for one in ROWS if one.route == f"GET {BASE}" + re.sub(r"\{\w+\}", "{}", route.path))
    tenant = f"c{route.path}".replace("/", "-").replace("{", "").replace("}", "")[:64]
    made = await Scene(hub, tenant, "Plain").make(row.kinds | {"notification", "task", "comment", "template", "log"})
    return caller_of(hub, tenant, route), filled(row.path.partition("?")[0], made)


@pytest.mark.parametrize("route", routes_with("cursor"), ids=lambda route: route.path)
async def test_a_cursor_is_of_its_list_and_whole(hub: Whole, route: Route):
    mine, path = await _mine(hub, route)
    assert route.query is not None
    query = route.query.kind(**_unread(route))
    taken: list[str] = []
    for cursors in every_cursors():
        for place in ((NOON, 5), ("2026-11-22 12:00:00+00", 5), (5,), 5, ("a", "sms", "en")):
            cursor = cursors.cursor(query, place)
            if (await mine("GET", path, query={**_unread(route), "cursor": cursor})).status_code == 200:
                taken.append(cursor)
    # One list of all has made it, in one shape of a place.
    assert len(taken) == 1
    whole = taken[0]
    for cursor in (
        whole[:-1],
        whole[1:],
        whole[: len(whole) // 2],
        whole + "A",
        whole + "=",
        whole.swapcase(),
        whole * 2,
    ):
        refused = await mine("GET", path, query={**_unread(route), "cursor": cursor})
        assert paths(refused) == {"query.cursor"}, cursor


@pytest.mark.parametrize("path", ["/notifications", "/tasks", "/notifications/unread"])
async def test_a_cursor_of_another_user_or_tenant_shows_ones_own_rows(hub: Whole, path: str):
    tenant = f"u{path}".replace("/", "-")
    for name in (tenant, f"{tenant}-2"):
        service, boss = hub.caller(name, "service", None), hub.caller(name, "supervisor", 9)
        for user in (1, 2):
            for number in range(3):
                title = f"{name} {user} {number}"
                if path == "/tasks":
                    await boss.post("/tasks", {"title": title, "assigned_to": user})
                else:
                    await service.post("/notifications", note(user_id=user, title=title))
    page = await hub.caller(f"{tenant}-2", "agent", 2).get(path, limit=1)
    me = hub.caller(tenant, "agent", 1)
    mine = {one["id"] for one in (await me.get(path))["items"]}
    rest = (await me.get(path, cursor=page["next_cursor"]))["items"]
    # All of theirs came later, so that this is after none of one's own.
    assert {one["id"] for one in rest} == mine
    assert {one["title"].rpartition(" ")[0] for one in rest} == {f"{tenant} 1"}


def test_a_position_is_what_its_list_is_ordered_by():
    """The forging above is the hub's own sealing, else every answer would be the refusal of a bad seal."""
    (cursors,) = [one for one in every_cursors() if one._name == b"notifications"]
    kind = next(one for one in routes_with("cursor") if one.path == "/notifications").query
    assert kind is not None
    cursor = cursors.cursor(kind.kind(), (NOON, 5))
    assert cursors.position(msgspec.structs.replace(kind.kind(), cursor=cursor)) == (NOON, 5)


@pytest.mark.parametrize("order", get_args(Sort))
async def test_the_cursors_of_every_order_lead_through_all_of_it(hub: Whole, order: str):
    """What is refused of a place in a list is never what the list itself has given."""
    boss = hub.caller(f"order{order}", "supervisor", 9)
    for due in (None, "2030-01-01T00:00:00.5Z", None, "2030-01-01T00:00:00.123456+05:30", "1970-01-01T00:00:00Z"):
        await boss.post("/tasks", {"title": "x", "due_date": due, "priority": "low" if due else "critical"})
    whole = [one["id"] for one in (await boss.get("/tasks", sort=order))["items"]]
    found: list[int] = []
    page = await boss.get("/tasks", sort=order, limit=1)
    while True:
        found += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        page = await boss.get("/tasks", sort=order, limit=1, cursor=page["next_cursor"])
    assert (len(found), found) == (5, whole)
