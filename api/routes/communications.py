"""The log of what was sent outside. Each reading of it is a row of the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from api.paging import Cursors, Listing, PageQuery
from api.query import RequestQuery
from api.route import ADMINS, Answer, Call, Route, route
from api.routes.calling import caller_of
from api.types import Id, Instant
from hub.app import communications
from hub.app.communications import Figures
from hub.app.deps import Deps
from hub.store.communications import Asked, LogStatus, Message, OutsideChannel

_LIST: Final = Cursors("communication-logs", tuple[datetime, int])


class LogsQuery(PageQuery, kw_only=True):
    """Several channels and statuses are separated by commas. `recipient` is a whole address."""

    channel: tuple[OutsideChannel, ...] | None = None
    status: tuple[LogStatus, ...] | None = None
    user_id: Id | None = None
    template_id: Id | None = None
    notification_id: Id | None = None
    recipient: Annotated[str, Meta(min_length=1, max_length=320)] | None = None
    since: Instant | None = None
    until: Instant | None = None


class FiguresQuery(RequestQuery, kw_only=True):
    """Of what was written when, on which channels; by default all."""

    channel: tuple[OutsideChannel, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None


@route("GET", "/communication-logs", summary="Every message sent outside", roles=ADMINS,
       responses={200: Listing[Message]}, position=False)  # fmt: skip
async def list_logs(call: Call[Deps, None, LogsQuery]) -> Answer:
    """Newest first."""
    query = call.query
    asked = Asked(
        channels=query.channel,
        statuses=query.status,
        user_id=query.user_id,
        template_id=query.template_id,
        notification_id=query.notification_id,
        recipient=query.recipient,
        since=query.since,
        until=query.until,
        after=_LIST.position(query),
        limit=query.limit + 1,
        offset=query.offset or 0,
    )
    page = await communications.read_logs(
        call.deps, caller_of(call), asked, query.limit, with_total="total" in query.include
    )
    return Answer(200, _LIST.page(query, page.items, lambda one: (one.created_at, one.id), total=page.total))


@route("GET", "/communication-logs/stats", summary="What became of it, by channel and template", roles=ADMINS,
       responses={200: Figures}, position=False)  # fmt: skip
async def read_figures(call: Call[Deps, None, FiguresQuery]) -> Answer:
    """Rates are shares from 0 to 1: delivered and bounced of what was sent, the rest of what was delivered."""
    query = call.query
    figures = await communications.read_figures(
        call.deps, caller_of(call), channels=query.channel, since=query.since, until=query.until
    )
    return Answer(200, figures)


@route("GET", "/communication-logs/{id}", summary="One message", roles=ADMINS, responses={200: Message}, errors=(404,),
       position=False)  # fmt: skip
async def read_log(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, await communications.read_log(call.deps, caller_of(call), call.id()))


COMMUNICATIONS: Final[list[Route]] = [list_logs, read_figures, read_log]
