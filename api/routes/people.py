"""People and groups."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from msgspec import Meta

from api.query import RequestQuery
from api.route import ADMINS, PRODUCERS, SUPERVISORS, Answer, Call, PathText, Route, route
from api.routes.calling import answer_of, caller_of
from api.types import GroupName, Id
from api.validation import RequestBody
from hub.app import directory, erasure, presence
from hub.app.deps import Deps
from hub.app.directory import GROUP_MEMBERS_MAX, KEEPERS
from hub.app.erasure import Export
from hub.app.presence import Presence
from hub.core.preferences import Locale, Zone
from hub.store.directory import Group, Person


class PersonBody(RequestBody, kw_only=True):
    """What is known of a user. What is left out is null; the fields that only an answer has are ignored."""

    read_only: ClassVar[frozenset[str]] = frozenset({"user_id", "created_at", "updated_at"})

    display_name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    locale: Locale | None = None
    timezone: Zone | None = None
    external_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class PresenceQuery(RequestQuery, kw_only=True):
    """Of whom."""

    group: GroupName | None = None


class GroupBody(RequestBody, kw_only=True):
    """Who is in it. The fields that only an answer has are ignored."""

    read_only: ClassVar[frozenset[str]] = frozenset({"name", "names", "created_at", "updated_at"})

    members: Annotated[list[Id], Meta(max_length=GROUP_MEMBERS_MAX)]


@route("GET", "/users/{user_id}", summary="A user", roles=KEEPERS, responses={200: Person}, errors=(404,),
       position=False)  # fmt: skip
async def read_person(call: Call[Deps, None, None]) -> Answer:
    """Whoever has an entry, or an inbox."""
    return Answer(200, await directory.read_person(call.deps, caller_of(call), call.id("user_id")))


@route("PUT", "/users/{user_id}", summary="Name a user", roles=KEEPERS, responses={200: Person}, errors=(409,))
async def put_person(call: Call[Deps, PersonBody, None]) -> Answer:
    """Any id is accepted: the inbox begins with it. A name that is null is filled by the name in the user's token."""
    body = call.body
    person = Person(
        user_id=call.id("user_id"),
        display_name=body.display_name,
        locale=body.locale,
        timezone=body.timezone,
        external_id=body.external_id,
    )
    return answer_of(await directory.put_person(call.deps, caller_of(call), person))


@route("GET", "/groups/{name}", summary="A group", roles=PRODUCERS, responses={200: Group}, errors=(404,),
       parameters={"name": PathText}, position=False)  # fmt: skip
async def read_group(call: Call[Deps, None, None]) -> Answer:
    """`members` are ids, `names` those of them who have a name."""
    return Answer(200, await directory.read_group(call.deps, caller_of(call), call.text("name")))


@route("PUT", "/groups/{name}", summary="Make a group, or replace its members", roles=KEEPERS, responses={200: Group},
       parameters={"name": PathText})  # fmt: skip
async def put_group(call: Call[Deps, GroupBody, None]) -> Answer:
    return answer_of(await directory.put_group(call.deps, caller_of(call), call.text("name"), call.body.members))


@route("DELETE", "/groups/{name}", summary="Delete a group", roles=KEEPERS, responses={204: None}, errors=(404,),
       parameters={"name": PathText})  # fmt: skip
async def delete_group(call: Call[Deps, None, None]) -> Answer:
    """Its members stay people."""
    return answer_of(await directory.delete_group(call.deps, caller_of(call), call.text("name")), status=204)


@route("GET", "/presence", summary="Who is connected", roles=SUPERVISORS, responses={200: Presence}, errors=(404,),
       position=False)  # fmt: skip
async def read_presence(call: Call[Deps, None, PresenceQuery]) -> Answer:
    """By id. With `group`: each of its members, connected or not. `is_complete` is false where a node has not answered
    or, without Redis, only this node can tell."""
    return Answer(200, await presence.read_presence(call.deps, caller_of(call), call.query.group))


@route("DELETE", "/users/{user_id}", summary="Erase a person", roles=ADMINS, responses={202: None, 204: None})
async def erase_user(call: Call[Deps, None, None]) -> Answer:
    """Deletes their notifications, events, addresses, preferences and message bodies; what they share with others
    loses its author. Their devices hear `inbox.erased`; the trail keeps the fact. Idempotent. 202: there is so much
    that it takes longer than a request should; it goes on by itself, and asked again it answers 204 once it is done."""
    outcome = await erasure.erase_user(call.deps, caller_of(call), call.id("user_id"))
    if outcome.result:
        return answer_of(outcome, status=204)
    return Answer(202, position=None if outcome.position is None else str(outcome.position))


@route("GET", "/users/{user_id}/export", summary="All that is known of a person", roles=ADMINS,
       responses={200: Export}, position=False)  # fmt: skip
async def export_user(call: Call[Deps, None, None]) -> Answer:
    """By section, the newest first, as of one instant; of one who is being erased there is nothing. That it was asked
    for is in the trail."""
    return Answer(200, await erasure.export_user(call.deps, caller_of(call), call.id("user_id")))


PEOPLE_AND_GROUPS: Final[list[Route]] = [
    read_person,
    put_person,
    erase_user,
    export_user,
    read_group,
    put_group,
    delete_group,
    read_presence,
]
