"""Forgetting a person, and showing one what is known of them.

Forgetting is a row of transactions, each bounded and harmless to repeat. The first marks the person: from then on
their inbox reads as empty, for what is left of it is a part. Then they are taken out of what they share with others,
and what is their own goes. The last one finds nothing more, under the lock of their stream, and tells their devices;
what they were sent meanwhile is gone with the rest. Whatever dies in between is gone on with, by asking again or by
any node's worker.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import require
from hub.app.due import clock_of
from hub.app.unit import Outcome, Unit, perform
from hub.core.changes import ERASED
from hub.core.counts import Counts
from hub.core.task_changes import UPDATED as TASK_UPDATED
from hub.core.task_changes import BoardChange
from hub.core.topics import tasks_topic
from hub.store import erasure, streams
from hub.store.erasure import BEFORE_ALL, AnswerKey

TASKS_MAX: Final = 50
"""Tasks of one part, with the streams of all who are on them."""
USERS_MAX: Final = 200
"""Streams locked by one part."""
ROWS_MAX: Final = 2000
"""Rows of one part: a fraction of a second, of the five that a statement has."""
ANSWER_WITHIN_S: Final = 10.0
"""A caller waits no longer: what is left by then goes on by itself."""
IDLE_S: Final = 10.0
"""An erasing that did not go on for this long is taken over: longer than a part takes, and soon for who died."""
LATE_COMMIT_S: Final = 30.0
"""What was begun this long before is committed or undone by now: longer than the statements of a write may take."""
EXPORT_MAX: Final = 10_000
"""Rows of one section: an export is made in memory."""

_Step = Literal["more", "through", "over"]
"""What a part found: there is more of its kind, there is none, or the whole erasing has ended."""


class Export(msgspec.Struct, kw_only=True):
    """All that is known of a user, by section, the newest first. `truncated` names sections that have more rows."""

    user_id: int
    exported_at: datetime
    truncated: list[str]
    sections: dict[str, list[dict[str, Any]]]


async def erase_user(deps: Deps, caller: Caller, user_id: int) -> Outcome[bool]:
    """Delete a person's content, events, addresses; take them out of what they share with others.

    The number of their last event stays and goes on with `inbox.erased`, so that a device forgets them whenever it
    comes. The trail keeps the fact. Being addressed later begins anew. Idempotent: asked again while it goes on, it
    is helped along. True where it is done, False where it took longer than `ANSWER_WITHIN_S` and goes on by itself.

    Raises:
        Forbidden: for an admin only.
    """
    require(caller, ("admin",))
    give_up_at = deps.clock.monotonic() + ANSWER_WITHIN_S

    async def begin(unit: Unit) -> None:
        await unit.lock([user_id])
        if await erasure.begin(unit.tx, unit.tenant_id, user_id):
            unit.audit("user.erase", "user", user_id)

    await perform(deps, caller, begin)
    return await _Erasing(user_id).run(deps, caller, give_up_at)


async def resume_erasures(deps: Deps, tenant_id: str, user_ids: Sequence[int]) -> int:
    """Finish what was begun for these people and has not gone on for `IDLE_S`. Returns how many were finished.

    Raises what stopped one: it is the last to be asked for again, and the next of these the first.
    """
    done = 0
    clock = clock_of(tenant_id)
    for user_id in user_ids:

        async def take(unit: Unit, user_id: int = user_id) -> bool:
            return await erasure.take(unit.tx, unit.tenant_id, user_id, timedelta(seconds=IDLE_S))

        if (await perform(deps, clock, take)).result:
            await _Erasing(user_id).run(deps, clock, math.inf)
            done += 1
    return done


class _Erasing:
    """One node's way through the parts. What it remembers between them is only how far it has looked itself."""

    def __init__(self, user_id: int) -> None:
        self._user_id = user_id
        self._answers_after: AnswerKey | None = BEFORE_ALL
        self._answers_since: datetime | None = None

    async def run(self, deps: Deps, caller: Caller, give_up_at: float) -> Outcome[bool]:
        """Until it is done (True), by this one or another, or until an instant of the monotonic clock."""
        while True:
            for part in (self._leave_tasks, self._forget_author, self._blank_answers, self._erase):
                step: _Step | None = "more"
                while step == "more":
                    outcome = await perform(deps, caller, part)
                    step = outcome.result
                    if step == "over":
                        return Outcome(True, None, outcome.position)
                    if deps.clock.monotonic() >= give_up_at:
                        return Outcome(False, None, outcome.position)

    async def _lock(self, unit: Unit, others: Collection[int] = ()) -> datetime | None:
        await unit.lock({self._user_id, *others})
        return await erasure.go_on(unit.tx, unit.tenant_id, self._user_id)

    async def _leave_tasks(self, unit: Unit) -> _Step:
        """Whoever else is on a task is told of it."""
        user_id = self._user_id
        task_ids = await erasure.lock_tasks_of(unit.tx, unit.tenant_id, user_id, TASKS_MAX)
        if not task_ids:
            return "through"
        people = await erasure.read_people_on(unit.tx, unit.tenant_id, user_id, task_ids)
        if await self._lock(unit, {one for on_it in people.values() for one in on_it}) is None:
            return "over"
        facts = await unit.read_facts()
        tasks = await erasure.leave_tasks(unit.tx, unit.tenant_id, user_id, task_ids)
        board = [
            BoardChange(task.id, task.version, task.status, task.assigned_to, (task.group,), task.assigned_to is None)
            for task in tasks
        ]
        unit.said.append((tasks_topic(unit.tenant_id), msgspec.msgpack.encode(board)))
        for task in tasks:
            for one in people[task.id]:
                unit.changes.inboxes[one].append(TASK_UPDATED, task.priority, facts.now, task)
        unit.audit("task.leave", "user", user_id, ids=task_ids)
        return "more"

    async def _forget_author(self, unit: Unit) -> _Step:
        told = await erasure.find_told_by(unit.tx, unit.tenant_id, self._user_id, ROWS_MAX, USERS_MAX)
        if not told:
            return "through"
        if await self._lock(unit, told) is None:
            return "over"
        await erasure.forget_author(unit.tx, unit.tenant_id, self._user_id, told, ROWS_MAX)
        return "more"

    async def _blank_answers(self, unit: Unit) -> _Step:
        if self._answers_after is None:
            return "through"
        if (now := await self._lock(unit)) is None:
            return "over"
        if self._answers_since is None:
            self._answers_since = now - timedelta(seconds=LATE_COMMIT_S)
        self._answers_after = await erasure.blank_answers(unit.tx, unit.tenant_id, self._user_id, self._answers_after)
        return "through" if self._answers_after is None else "more"

    async def _erase(self, unit: Unit) -> _Step:
        """What is the person's own, and where they are named beside what is others'; where nothing is left, the end."""
        user_id = self._user_id
        if await self._lock(unit) is None:
            return "over"
        if await erasure.erase_part(unit.tx, unit.tenant_id, user_id, ROWS_MAX) >= ROWS_MAX:
            return "more"
        if await erasure.is_on_others(unit.tx, unit.tenant_id, user_id):
            # Given a task, or telling others, since that was looked for.
            return "through"
        assert self._answers_since is not None
        facts = await unit.read_facts()
        inbox = unit.changes.inboxes[user_id]
        await erasure.finish(
            unit.tx, unit.tenant_id, user_id, erased_seq=inbox.head + 1, answers_since=self._answers_since
        )
        inbox.append(ERASED, "normal", facts.now, {}, counts=Counts())
        unit.audit("user.erased", "user", user_id)
        return "over"


async def export_user(deps: Deps, caller: Caller, user_id: int) -> Export:
    """All that is known of a user, as of one instant; nothing where they are being erased.

    That it was asked for is in the trail before anything is read. Raises `Forbidden` but for an admin.
    """
    require(caller, ("admin",))

    async def asked(unit: Unit) -> datetime:
        unit.audit("user.export", "user", user_id)
        return (await unit.read_facts()).now

    exported_at = (await perform(deps, caller, asked)).result
    assert exported_at is not None
    async with deps.database.snapshot(caller.tenant_id) as tx:
        standing = await streams.read_standing(tx, caller.tenant_id, user_id)
        rows_max = 0 if standing.is_erasing else EXPORT_MAX + 1
        found = await erasure.export(tx, caller.tenant_id, user_id, rows_max)
    truncated = [name for name, rows in found.items() if len(rows) > EXPORT_MAX]
    sections = {name: rows[:EXPORT_MAX] for name, rows in found.items()}
    return Export(user_id=user_id, exported_at=exported_at, truncated=truncated, sections=sections)
