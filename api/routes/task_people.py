"""Who is on a task, what is said on it, and who changed what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from api.paging import Cursors, Listing, PageQuery
from api.route import PEOPLE, Answer, Call, Route, route
from api.routes.calling import answer_of, caller_of
from api.routes.task_bodies import AssignBody, CommentBody
from hub.app import task_people, task_views
from hub.app.deps import Deps
from hub.app.names import NamedAssignment, NamedComment, NamedEntry

_COMMENTS: Final = Cursors("tasks/comments", tuple[datetime, int])
_HISTORY: Final = Cursors("tasks/history", tuple[int])


class Assignments(msgspec.Struct):
    """Everyone who is assigned, the longest first."""

    items: list[NamedAssignment]


@route("POST", "/tasks/{id}/comments", summary="Comment on a task", roles=PEOPLE, responses={201: NamedComment},
       errors=(403, 404), idempotent=True)  # fmt: skip
async def add_comment(call: Call[Deps, CommentBody, None]) -> Answer:
    """Those who are on the task, and supervisors."""
    body = call.body
    caller = caller_of(call, status=201)
    outcome = await task_people.add_comment(call.deps, caller, call.id(), body.comment, body.attachment_urls)
    return answer_of(outcome, status=201)


@route("GET", "/tasks/{id}/comments", summary="What was said on a task", roles=PEOPLE,
       responses={200: Listing[NamedComment]}, errors=(404,))  # fmt: skip
async def list_comments(call: Call[Deps, None, PageQuery]) -> Answer:
    """Oldest first."""
    query = call.query
    outcome = await task_views.list_comments(
        call.deps,
        caller_of(call),
        call.id(),
        _COMMENTS.position(query),
        query.limit + 1,
        query.offset or 0,
        with_total="total" in query.include,
    )

    def render(page: task_views.Page[NamedComment]) -> Any:
        return _COMMENTS.page(query, page.items, lambda one: (one.created_at, one.id), total=page.total)

    return answer_of(outcome, render=render)


@route("PUT", "/tasks/{id}/comments/{cid}", summary="Change what one has said", roles=PEOPLE,
       responses={200: NamedComment}, errors=(403, 404))  # fmt: skip
async def change_comment(call: Call[Deps, CommentBody, None]) -> Answer:
    """Its author only."""
    body = call.body
    outcome = await task_people.change_comment(
        call.deps, caller_of(call), call.id(), call.id("cid"), body.comment, body.attachment_urls
    )
    return answer_of(outcome)


@route("DELETE", "/tasks/{id}/comments/{cid}", summary="Delete a comment", roles=PEOPLE, responses={204: None},
       errors=(403, 404))  # fmt: skip
async def delete_comment(call: Call[Deps, None, None]) -> Answer:
    """Its author, or a supervisor."""
    outcome = await task_people.delete_comment(call.deps, caller_of(call), call.id(), call.id("cid"))
    return answer_of(outcome, status=204)


@route("POST", "/tasks/{id}/assign", summary="Put someone on a task", roles=PEOPLE, responses={201: NamedAssignment},
       errors=(403, 404), idempotent=True)  # fmt: skip
async def assign(call: Call[Deps, AssignBody, None]) -> Answer:
    """The first assignee of a task that nobody is assigned to becomes its `assigned_to`."""
    body = call.body
    outcome = await task_people.assign(
        call.deps, caller_of(call, status=201), call.id(), body.user_id, body.role, body.responsibility_percentage
    )
    return answer_of(outcome, status=201)


@route("GET", "/tasks/{id}/assignments", summary="Who is on a task", roles=PEOPLE, responses={200: Assignments},
       errors=(404,))  # fmt: skip
async def list_assignments(call: Call[Deps, None, None]) -> Answer:
    outcome = await task_views.list_assignments(call.deps, caller_of(call), call.id())
    return answer_of(outcome, render=Assignments)


@route("DELETE", "/tasks/{id}/assign/{user_id}", summary="Take someone off a task", roles=PEOPLE,
       responses={204: None}, errors=(403, 404))  # fmt: skip
async def unassign(call: Call[Deps, None, None]) -> Answer:
    """Where it was theirs, it waits to be claimed."""
    outcome = await task_people.unassign(call.deps, caller_of(call), call.id(), call.id("user_id"))
    return answer_of(outcome, status=204)


@route("POST", "/tasks/{id}/assign/accept", summary="Accept what one is assigned to", roles=PEOPLE,
       responses={200: NamedAssignment}, errors=(403, 404), idempotent=True)  # fmt: skip
async def accept(call: Call[Deps, None, None]) -> Answer:
    return answer_of(await task_people.take_step(call.deps, caller_of(call), call.id(), "accept"))


@route("POST", "/tasks/{id}/assign/decline", summary="Decline what one is assigned to", roles=PEOPLE,
       responses={200: NamedAssignment}, errors=(403, 404), idempotent=True)  # fmt: skip
async def decline(call: Call[Deps, None, None]) -> Answer:
    """Who assigned it is told, and decides."""
    return answer_of(await task_people.take_step(call.deps, caller_of(call), call.id(), "decline"))


@route("POST", "/tasks/{id}/assign/complete", summary="One's part of a task is done", roles=PEOPLE,
       responses={200: NamedAssignment}, errors=(403, 404), idempotent=True)  # fmt: skip
async def complete_part(call: Call[Deps, None, None]) -> Answer:
    return answer_of(await task_people.take_step(call.deps, caller_of(call), call.id(), "complete"))


@route("GET", "/tasks/{id}/history", summary="Who changed what of a task, and when", roles=PEOPLE,
       responses={200: Listing[NamedEntry]}, errors=(404,))  # fmt: skip
async def list_history(call: Call[Deps, None, PageQuery]) -> Answer:
    """Newest first."""
    query = call.query
    position = _HISTORY.position(query)
    outcome = await task_views.list_history(
        call.deps,
        caller_of(call),
        call.id(),
        None if position is None else position[0],
        query.limit + 1,
        query.offset or 0,
        with_total="total" in query.include,
    )

    def render(page: task_views.Page[NamedEntry]) -> Any:
        return _HISTORY.page(query, page.items, lambda one: (one.id,), total=page.total)

    return answer_of(outcome, render=render)


TASK_PEOPLE: Final[list[Route]] = [
    add_comment,
    list_comments,
    change_comment,
    delete_comment,
    assign,
    list_assignments,
    unassign,
    accept,
    decline,
    complete_part,
    list_history,
]
