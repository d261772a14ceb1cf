from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.paging import Cursors, Listing, PageQuery
from api.query import QueryReader
from api.types import Instant
from hub.app.errors import Invalid

Place = tuple[datetime, int]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class ThingList(PageQuery, kw_only=True):
    category: str | None = None
    since: Instant | None = None


CURSORS = Cursors("things", Place)


def refused(cursors: Cursors[Place], query: PageQuery) -> bool:
    with pytest.raises(Invalid) as caught:
        cursors.position(query)
    ((path, _),) = caught.value.errors
    return path == "query.cursor"


def after(query: PageQuery, cursor: str | None) -> PageQuery:
    return msgspec.structs.replace(query, cursor=cursor)


@pytest.mark.parametrize("query", [ThingList(), ThingList(category="a", since=NOON)])
def test_a_cursor_leads_back_to_its_place(query: ThingList):
    cursor = CURSORS.cursor(query, (NOON, 5))
    assert CURSORS.position(query) is None
    assert CURSORS.position(after(query, cursor)) == (NOON, 5)


def test_it_may_be_followed_with_another_limit_and_another_include():
    cursor = CURSORS.cursor(ThingList(), (NOON, 5))
    assert CURSORS.position(ThingList(cursor=cursor, limit=7, include=("total",))) == (NOON, 5)


def test_one_of_another_list_or_filter_or_hub_is_refused():
    query = ThingList(category="a")
    for other in (Cursors("tasks", Place), Cursors("things", Place, b"another key")):
        assert refused(CURSORS, after(query, other.cursor(query, (NOON, 5))))
    assert refused(CURSORS, after(ThingList(category="b"), CURSORS.cursor(query, (NOON, 5))))
    assert refused(CURSORS, after(ThingList(), CURSORS.cursor(query, (NOON, 5))))


def test_one_whose_list_is_now_ordered_by_something_else_is_refused():
    older = Cursors("things", int)
    assert refused(CURSORS, after(ThingList(), older.cursor(ThingList(), 5)))


@given(st.text(min_size=1, max_size=60) | st.binary(min_size=1, max_size=40).map(bytes.hex))
def test_whatever_is_made_up_is_refused(cursor: str):
    assert refused(CURSORS, ThingList(cursor=cursor))


@given(st.data())
def test_no_character_of_a_cursor_can_be_changed(data: st.DataObject):
    cursor = CURSORS.cursor(ThingList(), (NOON, 5))
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABab01-_=+/ \n\u00fc").filter(lambda one: one != cursor[at]))
    assert refused(CURSORS, ThingList(cursor=cursor[:at] + other + cursor[at + 1 :]))


@given(st.data())
def test_a_cursor_has_one_spelling(data: st.DataObject):
    cursor = CURSORS.cursor(ThingList(), (NOON, 5))
    at = data.draw(st.integers(0, len(cursor)))
    more = data.draw(st.sampled_from(["=", "\n", " ", ".", "=="]))
    assert refused(CURSORS, ThingList(cursor=cursor[:at] + more + cursor[at:]))


def test_pages_follow_one_another_to_the_last():
    rows = [(NOON, number) for number in range(5)]
    query: PageQuery = ThingList(limit=2)
    seen: list[Place] = []
    while True:
        place = CURSORS.position(query)
        begin = 0 if place is None else rows.index(place) + 1
        page = CURSORS.page(query, rows[begin : begin + query.limit + 1], lambda row: row)
        seen += page.items
        if page.next_cursor is None:
            break
        query = after(query, page.next_cursor)
    assert seen == rows


def test_an_exactly_full_page_is_the_last():
    rows = [(NOON, 1), (NOON, 2)]
    page = CURSORS.page(ThingList(limit=2), rows, lambda row: row, render=lambda row: row[1])
    assert page == Listing([1, 2], None)


def test_total_is_there_only_where_it_was_asked_for():
    assert msgspec.json.encode(CURSORS.page(ThingList(), [], lambda row: row)) == b'{"items":[],"next_cursor":null}'
    assert CURSORS.page(ThingList(), [], lambda row: row, total=0).total == 0


@pytest.mark.parametrize(
    ("query", "path"),
    [
        (b"limit=0", "query.limit"),
        (b"limit=201", "query.limit"),
        (b"offset=10001", "query.offset"),
        (b"offset=-1", "query.offset"),
        (b"cursor=", "query.cursor"),
        (b"cursor=a&offset=0", "query.offset"),
        (b"include=sum", "query.include[0]"),
    ],
)
def test_a_page_has_its_bounds(query: bytes, path: str):
    with pytest.raises(Invalid) as caught:
        QueryReader(ThingList).read(query)
    assert [where for where, _ in caught.value.errors] == [path]


def test_a_page_is_fifty_unless_said_otherwise():
    assert QueryReader(ThingList).read(b"") == ThingList(limit=50)
