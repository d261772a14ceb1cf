"""Tasks: making them, changing them, and looking."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api.merge import Patch
from api.paging import Cursors, Listing, refuse_cursor
from api.route import EVERYONE, PEOPLE, Answer, Call, Route, route
from api.routes.calling import answer_of, caller_of
from api.routes.task_bodies import (
    BulkBody,
    CascadeQuery,
    NewTask,
    TaskBody,
    TaskPageQuery,
    TasksQuery,
    UserQuery,
    fields_of,
    patching,
    replacing,
    writes_of,
)
from hub.app import task_views, tasks
from hub.app.deps import Deps
from hub.app.names import NamedTask
from hub.app.task_views import Figures, ListedTask, Page, TaskTree, TaskView
from hub.app.tasks import Write
from hub.app.unit import Outcome
from hub.core.task import Status
from hub.store.task_lists import Asked, is_key

_LIST: Final = Cursors("tasks", tuple[str, int])
_BY_LEAD: Final = Cursors("tasks/lead", tuple[str, int])
_OVERDUE: Final = Cursors("tasks/overdue", tuple[str, int])


class Tasks(msgspec.Struct):
    """In the order of the request."""

    items: list[NamedTask]


class Tree(msgspec.Struct):
    """Subtasks, each with its own."""

    items: list[TaskTree]


def _tagged(answer: Answer, outcome: Outcome[Any]) -> Answer:
    """With the version as its entity tag."""
    if outcome.result is None:
        return answer
    return msgspec.structs.replace(answer, headers=(("etag", f'"{outcome.result.version}"'),))


@route("POST", "/tasks", summary="Create a task", roles=EVERYONE, responses={201: NamedTask}, errors=(409,),
       idempotent=True)  # fmt: skip
async def create_task(call: Call[Deps, NewTask, None]) -> Answer:
    """`assigned_to` is told; without it the task waits to be claimed, by its group where it has one."""
    fields = fields_of(call.body)
    outcome = await tasks.write_one(call.deps, caller_of(call, status=201), Write(None, lambda _: fields))
    return _tagged(answer_of(outcome, status=201), outcome)


@route("POST", "/tasks/bulk", summary="Create and patch up to 1,000 tasks in one transaction", roles=EVERYONE,
       responses={200: Tasks, 201: Tasks}, errors=(404, 409, 412), idempotent=True, bulk=True)  # fmt: skip
async def write_tasks(call: Call[Deps, BulkBody, None]) -> Answer:
    """An item with an `id` is a merge patch of that task, any other is a new one. 201 where all are new."""
    writes = writes_of(call.body)
    status = 201 if all(one.task_id is None for one in writes) else 200
    caller = caller_of(call, status=status, render=Tasks)
    return answer_of(await tasks.write(call.deps, caller, writes), status=status, render=Tasks)


@route("GET", "/tasks", summary="The tasks that the caller may see", roles=PEOPLE, responses={200: Listing[NamedTask]})
async def list_tasks(call: Call[Deps, None, TasksQuery]) -> Answer:
    """An agent: those they are on, and those that nobody is assigned to, of their groups. A supervisor: all."""
    query = call.query
    asked = Asked(
        unassigned=query.unassigned,
        groups=query.group,
        statuses=query.status,
        priorities=query.priority,
        task_types=query.task_type,
        lead_id=query.lead_id,
        assigned_to=query.assigned_to,
        due_before=query.due_before,
        due_after=query.due_after,
        text=query.q,
    )
    return await _list(call, _LIST, asked)


@route("GET", "/tasks/lead/{lead_id}", summary="The tasks of a lead", roles=PEOPLE, responses={200: Listing[NamedTask]})
async def list_tasks_of_lead(call: Call[Deps, None, TaskPageQuery]) -> Answer:
    """Of what the role may see."""
    return await _list(call, _BY_LEAD, Asked(lead_id=call.id("lead_id")))


@route("GET", "/tasks/overdue", summary="Open tasks past their due date", roles=PEOPLE,
       responses={200: Listing[NamedTask]})  # fmt: skip
async def list_overdue(call: Call[Deps, None, TaskPageQuery]) -> Answer:
    """Of what the role may see."""
    return await _list(call, _OVERDUE, Asked(past_due=True))


async def _list(call: Call[Deps, None, Any], cursors: Cursors[tuple[str, int]], asked: Asked) -> Answer:
    query: TaskPageQuery = call.query
    place = cursors.position(query)
    if place is not None and not is_key(query.sort, place[0]):
        refuse_cursor()
    asked = msgspec.structs.replace(
        asked,
        sort=query.sort,
        after=place,
        # One more than a page tells whether another follows.
        limit=query.limit + 1,
        offset=query.offset or 0,
    )

    def render(page: Page[ListedTask]) -> Any:
        return cursors.page(
            query, page.items, lambda one: (one.key, one.task.id), render=lambda one: one.task, total=page.total
        )

    outcome = await task_views.list_tasks(call.deps, caller_of(call), asked, with_total="total" in query.include)
    return answer_of(outcome, render=render)


@route("GET", "/tasks/stats", summary="Tasks in figures", roles=PEOPLE, responses={200: Figures})
async def read_task_stats(call: Call[Deps, None, UserQuery]) -> Answer:
    """An agent's own; a supervisor's are the tenant's, or those of `user_id`."""
    return answer_of(await task_views.read_figures(call.deps, caller_of(call), call.query.user_id))


@route("GET", "/tasks/{id}", summary="One task, its subtasks and comments counted", roles=PEOPLE,
       responses={200: TaskView}, errors=(404,))  # fmt: skip
async def read_task(call: Call[Deps, None, None]) -> Answer:
    outcome = await task_views.read_task(call.deps, caller_of(call), call.id())
    return _tagged(answer_of(outcome), outcome)


@route("GET", "/tasks/{id}/subtasks", summary="The tree below a task", roles=PEOPLE, responses={200: Tree},
       errors=(404, 409))  # fmt: skip
async def read_subtasks(call: Call[Deps, None, None]) -> Answer:
    return answer_of(await task_views.read_subtasks(call.deps, caller_of(call), call.id()), render=Tree)


@route("PUT", "/tasks/{id}", summary="Replace a task", roles=PEOPLE, responses={200: NamedTask},
       errors=(403, 404, 409, 412))  # fmt: skip
async def replace_task(call: Call[Deps, TaskBody, None]) -> Answer:
    """What is left out takes its default; a `status` left out stays. `If-Match` is honoured."""
    change = Write(call.id(), replacing(call.body), call.if_match)
    outcome = await tasks.write_one(call.deps, caller_of(call), change)
    return _tagged(answer_of(outcome), outcome)


@route("PATCH", "/tasks/{id}", summary="Change a task by a merge patch", roles=PEOPLE, responses={200: NamedTask},
       errors=(403, 404, 409, 412))  # fmt: skip
async def patch_task(call: Call[Deps, Patch[TaskBody], None]) -> Answer:
    """RFC 7396. Another `status` obeys the same table as start, complete, cancel and reopen."""
    change = Write(call.id(), patching(call.body), call.if_match)
    outcome = await tasks.write_one(call.deps, caller_of(call), change)
    return _tagged(answer_of(outcome), outcome)


@route("DELETE", "/tasks/{id}", summary="Delete a task", roles=PEOPLE, responses={204: None},
       errors=(403, 404, 409, 412))  # fmt: skip
async def delete_task(call: Call[Deps, None, CascadeQuery]) -> Answer:
    """Its subtasks only with `?cascade=true`."""
    outcome = await tasks.delete(
        call.deps, caller_of(call), call.id(), cascade=call.query.cascade, versions=call.if_match
    )
    return answer_of(outcome, status=204)


async def _move(call: Call[Deps, None, Any], wanted: Status, *, cascade: bool = False) -> Answer:
    outcome = await tasks.change_status(
        call.deps, caller_of(call), call.id(), wanted, cascade=cascade, versions=call.if_match
    )
    return _tagged(answer_of(outcome), outcome)


@route("POST", "/tasks/{id}/start", summary="Begin to work on a task", roles=PEOPLE, responses={200: NamedTask},
       errors=(403, 404, 409, 412), idempotent=True)  # fmt: skip
async def start_task(call: Call[Deps, None, None]) -> Answer:
    return await _move(call, "in_progress")


@route("POST", "/tasks/{id}/complete", summary="Complete a task", roles=PEOPLE, responses={200: NamedTask},
       errors=(403, 404, 409, 412), idempotent=True)  # fmt: skip
async def complete_task(call: Call[Deps, None, CascadeQuery]) -> Answer:
    """With `?cascade=true` open subtasks follow."""
    return await _move(call, "completed", cascade=call.query.cascade)


@route("POST", "/tasks/{id}/cancel", summary="Cancel a task", roles=PEOPLE, responses={200: NamedTask},
       errors=(403, 404, 409, 412), idempotent=True)  # fmt: skip
async def cancel_task(call: Call[Deps, None, CascadeQuery]) -> Answer:
    """With `?cascade=true` open subtasks follow."""
    return await _move(call, "cancelled", cascade=call.query.cascade)


@route("POST", "/tasks/{id}/reopen", summary="Open a task again", roles=PEOPLE, responses={200: NamedTask},
       errors=(403, 404, 409, 412), idempotent=True)  # fmt: skip
async def reopen_task(call: Call[Deps, None, None]) -> Answer:
    return await _move(call, "pending")


@route("POST", "/tasks/{id}/claim", summary="Take a task that nobody is assigned to", roles=PEOPLE,
       responses={200: NamedTask}, errors=(404, 409), idempotent=True)  # fmt: skip
async def claim_task(call: Call[Deps, None, None]) -> Answer:
    """One wins, however many claim at once; for the rest it is 409, with `winner`."""
    outcome = await tasks.claim(call.deps, caller_of(call), call.id())
    return _tagged(answer_of(outcome), outcome)


TASKS: Final[list[Route]] = [
    create_task,
    write_tasks,
    list_tasks,
    list_tasks_of_lead,
    list_overdue,
    read_task_stats,
    read_task,
    read_subtasks,
    replace_task,
    patch_task,
    delete_task,
    start_task,
    complete_task,
    cancel_task,
    reopen_task,
    claim_task,
]
