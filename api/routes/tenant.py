"""A tenant's settings and its audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from api.merge import Patch
from api.paging import Cursors, Listing, PageQuery
from api.route import ADMINS, Answer, Call, Route, route
from api.routes.calling import answer_of, caller_of
from api.types import Id, Instant
from hub.app import tenant
from hub.app.deps import Deps
from hub.core.tenant import TenantSettings
from hub.store.tenants import Deed, TrailAsked

_TRAIL: Final = Cursors("audit", tuple[datetime, int])

Name = Annotated[str, Meta(min_length=1, max_length=128)]


class TrailQuery(PageQuery, kw_only=True):
    """Which rows of the trail."""

    actor_id: Id | None = None
    action: Name | None = None
    entity_type: Name | None = None
    entity_id: Name | None = None
    since: Instant | None = None
    until: Instant | None = None


@route("GET", "/settings", summary="The tenant's settings", roles=ADMINS, responses={200: TenantSettings},
       position=False)  # fmt: skip
async def read_settings(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, await tenant.read_settings(call.deps, caller_of(call)))


@route("PATCH", "/settings", summary="Change the tenant's settings", roles=ADMINS, responses={200: TenantSettings})
async def patch_settings(call: Call[Deps, Patch[TenantSettings], None]) -> Answer:
    """RFC 7396; null takes a field back to its default. What waits for quiet hours is judged anew, at once."""
    return answer_of(await tenant.change_settings(call.deps, caller_of(call), call.body.apply))


@route("GET", "/audit", summary="Who did what", roles=ADMINS, responses={200: Listing[Deed]}, position=False)
async def read_trail(call: Call[Deps, None, TrailQuery]) -> Answer:
    """Newest first. `changes` has names of fields, counts and ids, never content."""
    query = call.query
    asked = TrailAsked(
        actor_id=query.actor_id,
        action=query.action,
        entity_type=query.entity_type,
        entity_id=query.entity_id,
        since=query.since,
        until=query.until,
        after=_TRAIL.position(query),
        limit=query.limit + 1,
        offset=query.offset or 0,
    )
    page = await tenant.read_trail(call.deps, caller_of(call), asked, with_total="total" in query.include)
    return Answer(200, _TRAIL.page(query, page.items, lambda deed: (deed.at, deed.id), total=page.total))


TENANT: Final[list[Route]] = [read_settings, patch_settings, read_trail]
