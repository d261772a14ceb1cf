"""Lists in pages: `{"items": […], "next_cursor": …, "total": …?}`.

A cursor is the position of the last row of a page, so it stays true while rows
arrive. It is opaque, and sealed over the list's name and filters: one of another
list, one with other filters and one made up are refused alike. It is no secret and
proves nothing: what its holder may see is asked anew for every page.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, Final, Generic, Literal, NoReturn, TypeVar, cast

import msgspec
from msgspec import Meta

from api.faults import text_fault
from api.query import RequestQuery
from hub.app.errors import Invalid, Violation
from hub.core.wall_clock import instant_fault

T = TypeVar("T")

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
OFFSET_MAX: Final = 10_000
"""PostgreSQL reads and throws away every row before an offset: further in, a cursor is the way."""

_SEAL_BYTES: Final = 12
_BIGINT_END: Final = 2**63
_PAGING: Final = frozenset({"limit", "cursor", "offset", "include"})

Include = Literal["total"]


class PageQuery(RequestQuery, kw_only=True):
    """The query of every list. A list with filters is a subclass that adds them (and may widen `include`)."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    cursor: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    offset: Annotated[int, Meta(ge=0, le=OFFSET_MAX)] | None = None
    include: tuple[Include, ...] = ()

    def check(self) -> Iterator[Violation]:
        if self.cursor is not None and self.offset is not None:
            yield "offset", "Must not be given with `cursor`."


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page. `next_cursor` is null on the last; `total` is there where `?include=total` asked for it."""

    items: list[T]
    next_cursor: str | None
    total: int | msgspec.UnsetType = msgspec.UNSET


class Cursors(Generic[T]):
    """The cursors of one list. `name` tells it from all others, `position` is the type of a row's place in it.

    A place holds what the list is ordered by, and the id that makes it one: `tuple[datetime, int]`.
    `key` makes cursors of other hubs strangers; it must be one for all nodes.
    """

    def __init__(self, name: str, position: type[T], key: bytes = b"") -> None:
        self._name = name.encode()
        self._decoder = msgspec.msgpack.Decoder(position)
        self._key = blake2b(key, digest_size=32).digest()

    def position(self, query: PageQuery) -> T | None:
        """Where the page begins: after this place; None = at the beginning, or at `query.offset`.

        Raises:
            Invalid: the cursor is not one of this list with these filters.
        """
        if query.cursor is None:
            return None
        try:
            data = urlsafe_b64decode(query.cursor + "=" * (-len(query.cursor) % 4))
        except ValueError:
            refuse_cursor()
        seal, place = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        # Base64 has several spellings of one value: only our own is taken, so that nothing can be changed unseen.
        if seal != self._seal(query, place) or _text(data) != query.cursor:
            refuse_cursor()
        try:
            found = self._decoder.decode(place)
        except msgspec.DecodeError:
            # Sealed by a version of the hub that ordered this list by something else.
            refuse_cursor()
        if not _can_be_asked(found):
            refuse_cursor()
        return found

    def cursor(self, query: PageQuery, position: T) -> str:
        """The cursor of the page after `position`, with the filters of `query`."""
        place = msgspec.msgpack.encode(position)
        return _text(self._seal(query, place) + place)

    def page(
        self,
        query: PageQuery,
        rows: Sequence[Any],
        place: Callable[[Any], T],
        *,
        render: Callable[[Any], Any] | None = None,
        total: int | None = None,
    ) -> Listing[Any]:
        """One page of `rows`, of which there is one more than `query.limit` where another page follows."""
        shown = rows[: query.limit]
        following = self.cursor(query, place(shown[-1])) if len(rows) > query.limit else None
        items: Iterable[Any] = shown if render is None else map(render, shown)
        return Listing(list(items), following, msgspec.UNSET if total is None else total)

    def _seal(self, query: PageQuery, place: bytes) -> bytes:
        filters = {name: getattr(query, name) for name in query.__struct_fields__ if name not in _PAGING}
        said = msgspec.json.encode([msgspec.json.encode(filters, order="sorted").decode(), place])
        return blake2b(self._name + b"\0" + said, digest_size=_SEAL_BYTES, key=self._key).digest()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _can_be_asked(place: Any) -> bool:
    """Whether PostgreSQL takes it: whoever knows how a seal is made can seal what no row has."""
    match place:
        case bool():
            return True
        case int():
            return -_BIGINT_END <= place < _BIGINT_END
        case str():
            return text_fault(place) is None
        case datetime():
            return place.tzinfo is not None and instant_fault(place) is None
        case tuple():
            return all(map(_can_be_asked, cast("tuple[Any, ...]", place)))
        case _:
            return False


def refuse_cursor() -> NoReturn:
    """Raises `Invalid`: this cursor is none of this list."""
    raise Invalid([("query.cursor", "Must be the `next_cursor` of this list, with the same filters.")])
