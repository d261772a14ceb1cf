"""Who is on a task, and what is said on it: assignments and comments."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Forbidden, NotFound
from hub.app.group_commit import perform_joint
from hub.app.names import NamedAssignment, NamedComment, with_names
from hub.app.task_desk import audit, settle, take_one
from hub.app.task_group import Desk, TaskJoint
from hub.app.unit import Outcome, Unit, perform
from hub.core.task import Assignment, AssignmentRole, Comment
from hub.core.task_changes import Step
from hub.store import tasks


async def assign(
    deps: Deps, caller: Caller, task_id: int, user_id: int, role: AssignmentRole, percentage: int | None
) -> Outcome[NamedAssignment]:
    """Put someone on a task, or change what they are on it. The first assignee of a free one takes it.

    Raises:
        NotFound, Forbidden
    """

    def decide(desk: Desk) -> Assignment:
        held = desk.find(task_id)
        desk.viewer.require_work(held)
        assignment = desk.changes.assign(held, user_id, role, percentage)
        desk.audit("assign", task_id, user_id=user_id, role=role)
        return assignment

    return await perform_joint(deps, caller, TaskJoint(decide=decide, shown=NamedAssignment, task_id=task_id))


async def unassign(deps: Deps, caller: Caller, task_id: int, user_id: int) -> Outcome[None]:
    """Take someone off a task: themselves, or by who may change it. Where it was theirs, it is free then.

    Raises:
        NotFound: no such task, or they are not on it.
        Forbidden
    """

    def decide(desk: Desk) -> None:
        held = desk.find(task_id)
        if user_id != desk.viewer.user_id:
            desk.viewer.require_work(held)
        if user_id not in held.assignments:
            raise NotFound("Nobody of this id is assigned to the task.")
        desk.changes.unassign(held, user_id)
        desk.audit("unassign", task_id, user_id=user_id)

    return await perform_joint(deps, caller, TaskJoint(decide=decide, shown=type(None), task_id=task_id))


async def take_step(deps: Deps, caller: Caller, task_id: int, step: Step) -> Outcome[NamedAssignment]:
    """The caller accepts, declines, or has done their part; who assigned them is told. Idempotent.

    Raises:
        NotFound: no such task.
        Forbidden: the caller is not assigned to it.
    """

    def decide(desk: Desk) -> Assignment:
        held = desk.find(task_id)
        user_id = desk.viewer.user_id
        if user_id is None or user_id not in held.assignments:
            raise Forbidden("Only who is assigned to the task does this.")
        steps = desk.changes.steps
        assignment = desk.changes.step(held, user_id, step)
        if desk.changes.steps != steps:
            desk.audit(f"assign.{step}", task_id)
        return assignment

    return await perform_joint(deps, caller, TaskJoint(decide=decide, shown=NamedAssignment, task_id=task_id))


async def add_comment(
    deps: Deps, caller: Caller, task_id: int, text: str, attachment_urls: Sequence[str]
) -> Outcome[NamedComment]:
    """Say something on a task that one is on (an overseer: on any).

    Raises:
        NotFound, Forbidden
    """

    async def work(unit: Unit) -> NamedComment:
        viewer, changes, held = await take_one(unit, caller, task_id)
        if not viewer.is_overseer and viewer.user_id not in held.people:
            raise Forbidden("Only those on the task comment on it.")
        # A row of its own that nobody else can wait for: before the streams all the same, since its id is told.
        comment = await tasks.insert_comment(
            unit.tx, unit.tenant_id, task_id, viewer.user_id, text, attachment_urls, changes.now
        )
        changes.comment(held, comment, "create")
        await settle(unit, changes)
        audit(unit, "comment.create", [task_id], comment_id=comment.id)
        return (await with_names(unit.tx, unit.tenant_id, NamedComment, [comment]))[0]

    return await perform(deps, caller, work)


async def change_comment(
    deps: Deps, caller: Caller, task_id: int, comment_id: int, text: str, attachment_urls: Sequence[str]
) -> Outcome[NamedComment]:
    """Say it otherwise: its author only.

    Raises:
        NotFound, Forbidden
    """

    async def work(unit: Unit) -> NamedComment:
        viewer, changes, held = await take_one(unit, caller, task_id)
        before = await _comment(unit, task_id, comment_id)
        if before.user_id is None or before.user_id != viewer.user_id:
            raise Forbidden("Only its author changes a comment.")
        after = replace(before, comment=text, attachment_urls=list(attachment_urls), updated_at=changes.now)
        changes.comment(held, after, "update")
        await settle(unit, changes)
        await tasks.update_comment(unit.tx, unit.tenant_id, after)
        audit(unit, "comment.update", [task_id], comment_id=comment_id)
        return (await with_names(unit.tx, unit.tenant_id, NamedComment, [after]))[0]

    return await perform(deps, caller, work)


async def delete_comment(deps: Deps, caller: Caller, task_id: int, comment_id: int) -> Outcome[None]:
    """Take it back: its author, or an overseer.

    Raises:
        NotFound, Forbidden
    """

    async def work(unit: Unit) -> None:
        viewer, changes, held = await take_one(unit, caller, task_id)
        comment = await _comment(unit, task_id, comment_id)
        if not viewer.is_overseer and comment.user_id != viewer.user_id:
            raise Forbidden("Only its author, or a supervisor, deletes a comment.")
        changes.comment(held, comment, "delete")
        await settle(unit, changes)
        await tasks.delete_comment(unit.tx, unit.tenant_id, comment_id)
        audit(unit, "comment.delete", [task_id], comment_id=comment_id)

    return await perform(deps, caller, work)


async def _comment(unit: Unit, task_id: int, comment_id: int) -> Comment:
    comment = await tasks.read_comment(unit.tx, unit.tenant_id, task_id, comment_id)
    if comment is None:
        raise NotFound("There is no such comment.")
    return comment
