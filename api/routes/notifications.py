"""Notifications: making them, taking them back, and looking."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from api.paging import Cursors, Listing, PageQuery
from api.route import ADMINS, EVERYONE, PEOPLE, PRODUCERS, Answer, Call, Route, route
from api.routes.bodies import (
    CleanupBody,
    ExplainBody,
    HistoryQuery,
    NewNotification,
    NewNotifications,
    UserQuery,
    Withdrawal,
    drafts_of,
)
from api.routes.calling import answer_of, caller_of
from hub.app import inbox, withdraw
from hub.app.create import Created, create
from hub.app.deps import Deps
from hub.app.errors import Forbidden
from hub.app.inbox import Explanation, Figures, Page
from hub.app.names import Signed
from hub.app.unit import Outcome
from hub.app.withdraw import Count
from hub.core.notification import Draft, State
from hub.store.deliveries import Delivered
from hub.store.inbox_lists import Asked
from hub.store.notifications import Withdrawn

_HISTORY: Final = Cursors("notifications", tuple[datetime, int])
_UNREAD: Final = Cursors("notifications/unread", tuple[datetime, int])


class CreatedItems(msgspec.Struct):
    """In the order of the request, one a recipient."""

    items: list[Created]


class Deliveries(msgspec.Struct):
    """Every channel of one notification."""

    items: list[Delivered]


@route("POST", "/notifications", summary="Create a notification, for one user or for many", roles=EVERYONE,
       responses={201: Created | CreatedItems}, errors=(403,), idempotent=True)  # fmt: skip
async def create_notification(call: Call[Deps, NewNotification, None]) -> Answer:
    """An agent notifies only themselves."""
    render = _single if call.body.user_id is not None else CreatedItems
    caller = caller_of(call, status=201, render=render)
    drafts = drafts_of([call.body], call.principal, "$")
    return answer_of(await create(call.deps, caller, drafts), status=201, render=render)


@route("POST", "/notifications/bulk", summary="Create up to 1,000 different ones in one transaction", roles=EVERYONE,
       responses={201: CreatedItems}, errors=(403,), idempotent=True, bulk=True)  # fmt: skip
async def create_notifications(call: Call[Deps, NewNotifications, None]) -> Answer:
    caller = caller_of(call, status=201, render=CreatedItems)
    drafts = drafts_of(call.body.items, call.principal, "$.items[{}]")
    return answer_of(await create(call.deps, caller, drafts), status=201, render=CreatedItems)


def _single(created: list[Created]) -> Created:
    return created[0]


@route("POST", "/notifications/withdraw", summary="Take back what the caller created", roles=PRODUCERS,
       responses={200: Count}, errors=(403,), idempotent=True)  # fmt: skip
async def withdraw_notifications(call: Call[Deps, Withdrawal, None]) -> Answer:
    """Deleted on every device, cancelled where it has not left."""
    body, principal = call.body, call.principal
    related = None
    if body.related_entity_type is not None and body.related_entity_id is not None:
        related = (body.related_entity_type, body.related_entity_id)
    asked = Withdrawn(
        created_by=principal.user_id,
        created_by_key=principal.api_key_id,
        broadcast_id=body.broadcast_id,
        collapse_key=body.collapse_key,
        related=related,
    )
    return answer_of(await withdraw.withdraw(call.deps, caller_of(call), asked))


@route("POST", "/notifications/cleanup", summary="Delete what is old and done with", roles=ADMINS,
       responses={200: Count}, idempotent=True)  # fmt: skip
async def clean_up(call: Call[Deps, CleanupBody, None]) -> Answer:
    """What was created more than `days` days ago and is read, archived or expired; never what is held."""
    body = call.body
    return answer_of(await withdraw.clean_up(call.deps, caller_of(call), body.days, include_unread=body.include_unread))


@route("POST", "/notifications/explain", summary="Why something would be told, held or dropped", roles=EVERYONE,
       responses={200: Explanation}, errors=(403,), position=False)  # fmt: skip
async def explain(call: Call[Deps, ExplainBody, None]) -> Answer:
    """Nothing is sent. Every rule in its order, by the very function that delivery uses."""
    body = call.body
    user_id = body.user_id or call.principal.user_id
    if user_id is None:
        raise Forbidden("A service names the user whom it asks about.")
    draft = Draft(
        user_id=user_id,
        type=body.type,
        title="",
        message="",
        category=body.category,
        priority=body.priority,
        deliver_at=body.deliver_at,
        expires_at=body.expires_at,
    )
    return Answer(200, await inbox.explain_for(call.deps, caller_of(call), draft, body.channel, body.at))


@route("GET", "/notifications", summary="One's own history", roles=PEOPLE, responses={200: Listing[Signed]})
async def list_notifications(call: Call[Deps, None, HistoryQuery]) -> Answer:
    """Newest first. `held=true`: what waits, with `held_until`. `include=muted`, `expired`: what is kept for the
    record, too."""
    query = call.query
    asked = Asked(
        states=_states(query),
        types=query.type,
        categories=query.category,
        priorities=query.priority,
        is_read=query.is_read,
        is_archived=query.is_archived,
        since=query.since,
        until=query.until,
        text=query.q,
        after=_HISTORY.position(query),
        # One more than a page tells whether another follows.
        limit=query.limit + 1,
        offset=query.offset or 0,
    )
    outcome = await inbox.list_notifications(call.deps, caller_of(call), asked, with_total="total" in query.include)
    return _listing(_HISTORY, query, outcome)


@route("GET", "/notifications/unread", summary="One's own unread", roles=PEOPLE,
       responses={200: Listing[Signed]})  # fmt: skip
async def list_unread(call: Call[Deps, None, PageQuery]) -> Answer:
    """Newest first: what the badge counts."""
    query = call.query
    asked = Asked(
        is_read=False,
        is_archived=False,
        after=_UNREAD.position(query),
        limit=query.limit + 1,
        offset=query.offset or 0,
    )
    outcome = await inbox.list_unread(call.deps, caller_of(call), asked, with_total="total" in query.include)
    return _listing(_UNREAD, query, outcome)


def _states(query: HistoryQuery) -> tuple[State, ...]:
    if query.held:
        return ("held",)
    return ("live", *(state for state in ("muted", "expired") if state in query.include))


def _listing(cursors: Cursors[tuple[datetime, int]], query: PageQuery, outcome: Outcome[Page]) -> Answer:
    def render(page: Page) -> Any:
        return cursors.page(query, page.items, lambda one: (one.created_at, one.id), total=page.total)

    return answer_of(outcome, render=render)


@route("GET", "/notifications/stats", summary="An inbox in figures", roles=PEOPLE, responses={200: Figures})
async def read_stats(call: Call[Deps, None, UserQuery]) -> Answer:
    """`user_id` is for supervisors."""
    return answer_of(await inbox.read_figures(call.deps, caller_of(call), call.query.user_id))


@route("GET", "/notifications/{id}", summary="One notification", roles=EVERYONE, responses={200: Signed},
       errors=(404,))  # fmt: skip
async def read_notification(call: Call[Deps, None, None]) -> Answer:
    """One's own, or one that the caller created."""
    return answer_of(await inbox.read_notification(call.deps, caller_of(call), call.id()))


@route("GET", "/notifications/{id}/delivery", summary="Every channel's attempts and outcome", roles=EVERYONE,
       responses={200: Deliveries}, errors=(404,), position=False)  # fmt: skip
async def read_delivery(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, Deliveries(await inbox.read_delivery(call.deps, caller_of(call), call.id())))


NOTIFICATIONS: Final[list[Route]] = [
    create_notification,
    create_notifications,
    withdraw_notifications,
    clean_up,
    explain,
    list_notifications,
    list_unread,
    read_stats,
    read_notification,
    read_delivery,
]
