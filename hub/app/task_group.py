"""Changes of single tasks that share a transaction: each decided in turn on the same tasks, settled together.

Owns what such a change wants locked and read, and in which order: the tree, the tasks ascending, then the streams of
all who are told. A change alone takes the same steps. Does not own what a change is: that is `hub.app.tasks` and
`hub.app.task_people`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, cast

import msgspec

from hub.app.caller import Caller
from hub.app.due import clock_of
from hub.app.errors import AppError, Forbidden
from hub.app.group import Broken, Group, union
from hub.app.lanes import Job, Kind
from hub.app.names import sign
from hub.app.task_desk import OVERSEERS, Viewer, has_open, settle
from hub.app.unit import Unit, entry_of, position_in, stream_of
from hub.core.task import Status
from hub.core.task_changes import TaskChanges
from hub.core.task_news import Held
from hub.store import audit, tasks
from hub.store.pool import Tx

T = TypeVar("T")
_STREAMS_OF_ONE = 8
"""A task has its maker, its assignees and watchers: a hundred tasks of a group touch about as many streams."""


class Desk:
    """One change's view of what is under lock: `changes` and the tasks are shared by all of a group."""

    __slots__ = ("_below", "_found", "audits", "changes", "ids", "viewer")

    def __init__(
        self,
        viewer: Viewer,
        changes: TaskChanges,
        found: dict[int, Held],
        below: dict[int, list[tuple[int, Status]]],
        ids: Sequence[int],
    ) -> None:
        self.viewer = viewer
        self.changes = changes
        self.ids = ids
        self.audits: list[audit.Entry] = []
        self._found = found
        self._below = below

    def held(self, task_id: int) -> Held | None:
        """A task under lock, whether the viewer may know of it or not."""
        return self._found.get(task_id)

    def find(self, task_id: int) -> Held:
        """Raises `NotFound` where there is none that the viewer may know of."""
        return self.viewer.find(self._found, task_id)

    def has_open_below(self, task_id: int) -> bool:
        """Whether anything below it is open, as it is after the changes so far. Only for one that was to be closed."""
        return has_open(self._below.get(task_id, ()), self._found)

    def audit(self, action: str, task_id: int, **changed: Any) -> None:
        """One row of the trail, with ids and names of fields."""
        changed = {"ids": [task_id], **changed}
        self.audits.append(entry_of(self.viewer.caller, f"task.{action}", "task", task_id, changed))


class TaskJoint(msgspec.Struct, Generic[T], kw_only=True, frozen=True):
    """A change of one task, or the making of one (`task_id` None), that may share its transaction.

    `closes`: it may close the task, so what is below it is read. `decide` is quick and pure; where it refuses, by an
    `AppError`, it has changed nothing. What it returns is answered as `shown`, with the names of its people.
    """

    decide: Callable[[Desk], Any]
    shown: type[T]
    task_id: int | None = None
    closes: bool = False

    @property
    def kind(self) -> Kind:
        return "tasks"

    @property
    def size(self) -> int:
        return _STREAMS_OF_ONE

    @property
    def chain(self) -> int:
        return self.task_id or 0

    @property
    def fresh(self) -> int:
        """How many ids it needs."""
        return 1 if self.task_id is None else 0

    def answer_of(self, result: Any) -> Any:
        """What is answered, without names so far."""
        return None if result is None else msgspec.convert(result, self.shown, from_attributes=True)

    def work(self) -> Callable[[Unit], Awaitable[T]]:
        """The same change with a transaction of its own."""

        async def work(unit: Unit) -> T:
            changes, desks = await _open(unit, [(unit.caller, self)])
            desk = desks[0]
            changes.act_for(unit.caller.principal)
            result = self.answer_of(_admitted(desk, self).decide(desk))
            await settle(unit, changes)
            unit.take_audits(desk.audits)
            if result is not None:
                await sign(unit.tx, unit.tenant_id, [result])
            return cast(T, result)

        return work


class TaskGroup(Group):
    """A group of `TaskJoint`s."""

    async def _write(self, tx: Tx) -> None:
        unit = Unit(tx, clock_of(self.tenant_id))
        changes, desks = await _open(unit, [(job.caller, _joint_of(job)) for job in self.jobs])
        of_job = dict(zip(self.jobs, desks, strict=True))
        done: list[tuple[Job, Any]] = []
        for job in await self._but_repeated(tx):
            desk, joint = of_job[job], _joint_of(job)
            changes.act_for(job.caller.principal)
            steps = changes.steps
            try:
                result = _admitted(desk, joint).decide(desk)
            except AppError as refused:
                if changes.steps != steps:
                    raise Broken from refused
                self._refuse(job, refused)
                continue
            except Exception as error:
                raise Broken from error
            unit.take_audits(desk.audits)
            done.append((job, joint.answer_of(result)))
        callers = union([user_id] for job, _ in done if (user_id := stream_of(job.caller)) is not None)
        try:
            facts = await settle(unit, changes, callers=callers)
        except AppError as refused:
            # Together they are too many, or one of them alone is.
            raise Broken from refused
        await unit.flush()
        await sign(tx, self.tenant_id, [result for _, result in done if result is not None])
        for job, result in done:
            user_id = stream_of(job.caller)
            self._answer(job, result, None if user_id is None else position_in(facts, unit.changes, user_id))
        self.news, self.said = unit.news(), unit.said


async def _open(unit: Unit, wanted: Sequence[tuple[Caller, TaskJoint[Any]]]) -> tuple[TaskChanges, list[Desk]]:
    """Lock the tree and the tasks, ascending, and read what decides; a desk for each."""
    tx, tenant_id = unit.tx, unit.tenant_id
    agents = {caller.principal.user_id for caller, _ in wanted if caller.principal.role == "agent"}
    groups = await tasks.read_groups_of(tx, tenant_id, [one for one in agents if one is not None]) if agents else {}
    closing = [joint.task_id for _, joint in wanted if joint.closes and joint.task_id is not None]
    if closing:
        await tasks.lock_tree(tx, tenant_id, shared=True)
    ids = union([joint.task_id] for _, joint in wanted if joint.task_id is not None)
    if ids:
        await tasks.lock_tasks(tx, tenant_id, ids)
    taken = await tasks.read_held(tx, tenant_id, ids, sum(joint.fresh for _, joint in wanted))
    below = await tasks.read_below(tx, tenant_id, closing, ids) if closing else {}
    changes, found = TaskChanges(taken.now, None, taken.reminder_minutes), taken.held()
    fresh = iter(taken.ids)
    return changes, [
        Desk(_viewer_of(caller, groups), changes, found, below, list(islice(fresh, joint.fresh)))
        for caller, joint in wanted
    ]


def _viewer_of(caller: Caller, groups: dict[int, frozenset[str]]) -> Viewer:
    principal = caller.principal
    own = frozenset[str]() if principal.role in OVERSEERS else groups.get(principal.user_id or 0, frozenset())
    return Viewer(caller, own)


def _admitted(desk: Desk, joint: TaskJoint[T]) -> TaskJoint[T]:
    principal = desk.viewer.caller.principal
    if joint.task_id is not None and (principal.role == "service" or principal.user_id is None):
        raise Forbidden("A service makes tasks; it does not work on them.")
    return joint


def _joint_of(job: Job) -> TaskJoint[Any]:
    return cast("TaskJoint[Any]", job.joint)
