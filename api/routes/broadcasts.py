"""Broadcasts: one text for everyone, or for a group."""

from __future__ import annotations

from typing import Final

import msgspec

from api.paging import Cursors, Listing, PageQuery
from api.route import ADMINS, Answer, Call, Route, route
from api.routes.bodies import NewBroadcast, draft_of
from api.routes.calling import answer_of, caller_of
from hub.app import broadcasts
from hub.app.broadcasts import Accepted
from hub.app.deps import Deps
from hub.store.broadcasts import Figures, Reader

_UNREAD: Final = Cursors("broadcasts/unread", int)


class BroadcastQuery(PageQuery, kw_only=True):
    """`unread=true`: with a page of those who have not read it."""

    unread: bool = False


class BroadcastProgress(Figures, kw_only=True):
    """`unread` are those who have not read it, by id, where that was asked for."""

    unread: Listing[Reader] | msgspec.UnsetType = msgspec.UNSET


@route("POST", "/notifications/broadcast", summary="Tell everyone, or a group", roles=ADMINS,
       responses={202: Accepted}, idempotent=True)  # fmt: skip
async def create_broadcast(call: Call[Deps, NewBroadcast, None]) -> Answer:
    """Everyone of the tenant who has an inbox, or the members of `group`. Answered once it is committed with its
    audience; each recipient's part follows, once, whatever dies meanwhile."""
    draft = draft_of(call.body, call.body.title, call.body.message, call.principal)
    caller = caller_of(call, status=202)
    return answer_of(await broadcasts.broadcast(call.deps, caller, draft, call.body.group), status=202)


@route("GET", "/broadcasts/{id}", summary="How far a broadcast has come", roles=ADMINS,
       responses={200: BroadcastProgress}, errors=(404,), position=False)  # fmt: skip
async def read_broadcast(call: Call[Deps, None, BroadcastQuery]) -> Answer:
    query = call.query
    if not query.unread:
        figures = await broadcasts.read_figures(call.deps, caller_of(call), call.id())
        return Answer(200, BroadcastProgress(**msgspec.structs.asdict(figures)))
    figures, page = await broadcasts.read_unread(
        call.deps,
        caller_of(call),
        call.id(),
        after=_UNREAD.position(query) or 0,
        limit=query.limit + 1,
        offset=query.offset or 0,
        with_total="total" in query.include,
    )
    unread = _UNREAD.page(query, page.items, lambda reader: reader.user_id, total=page.total)
    return Answer(200, BroadcastProgress(**msgspec.structs.asdict(figures), unread=unread))


BROADCASTS: Final[list[Route]] = [create_broadcast, read_broadcast]
