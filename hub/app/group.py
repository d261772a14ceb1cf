"""One transaction of several writes: who is in it, what repeats another, and what each is answered.

Owns what all kinds of groups have in common. What is locked, read and decided is
a subclass's (`hub.app.inbox_group`, `hub.app.task_group`); when one begins, and what becomes of those whose
transaction PostgreSQL undid, is `hub.app.group_commit`'s.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hub.app.announcing import News
from hub.app.caller import Answer
from hub.app.deps import Deps
from hub.app.errors import AppError
from hub.app.lanes import Job, take_group
from hub.app.unit import Outcome, Position, first_outcome
from hub.store import idempotency
from hub.store.pool import Tx

GROUP_LOCK_S: Final = 0.5
"""What a group waits for a lock, before each goes by itself and only those who need that lock wait on."""


class Broken(Exception):
    """A decision failed otherwise than by refusing, or refused after it had changed something."""


class Group(abc.ABC):
    """One transaction of several, and what is told after it: `answers` to those who wait, `news` and `said` to the
    broker."""

    def __init__(self, deps: Deps, tenant_id: str, lane: deque[Job]) -> None:
        self.tenant_id = tenant_id
        self.jobs: list[Job] = []
        self.answers: list[tuple[Job, Outcome[Any] | AppError]] = []
        self.news: News | None = None
        self.said: list[tuple[str, bytes]] = []
        self._deps = deps
        self._lane = lane
        self._ttl_h = deps.settings.idempotency_ttl_h
        self._kept: dict[idempotency.Key, idempotency.Kept] = {}

    async def commit(self) -> None:
        """Do all in one transaction. Raises what the database does, or `Broken`, and then nothing has happened."""
        async with self._deps.database.transaction(self.tenant_id, lock_timeout_s=GROUP_LOCK_S) as tx:
            # Only now: whoever came while it began goes with it.
            if self.take():
                await self._write(tx)
                if self._kept and not await idempotency.keep_whole(tx, self.tenant_id, self._kept, ttl_h=self._ttl_h):
                    raise Broken

    def take(self) -> list[Job]:
        """Those of this group; from the first call on they are out of the lane."""
        if not self.jobs:
            self.jobs = take_group(self._lane)
        return self.jobs

    @abc.abstractmethod
    async def _write(self, tx: Tx) -> None:
        """Lock, read, decide each in turn, and write all; `_refuse` or `_answer` each that is not a repetition."""

    async def _but_repeated(self, tx: Tx) -> Sequence[Job]:
        """Those that are to be done; what repeats another is given its answer.

        Asked under the locks: a twin of one of these, on another node, locks the same.
        """
        keys = [job.key for job in self.jobs if job.key is not None]
        kept = await idempotency.read_keys(tx, self.tenant_id, keys, ttl_h=self._ttl_h) if keys else None
        if not kept:
            return self.jobs
        fresh: list[Job] = []
        for job in self.jobs:
            once = job.caller.once
            first = None if job.key is None else kept.get(job.key)
            if once is None or first is None:
                fresh.append(job)
                continue
            try:
                self.answers.append((job, first_outcome(first, once)))
            except AppError as refused:
                self._refuse(job, refused)
        return fresh

    def _refuse(self, job: Job, refused: AppError) -> None:
        self.answers.append((job, refused))

    def _answer(self, job: Job, result: Any, position: Position | None) -> None:
        answer: Answer | None = None
        if job.key is not None and (once := job.caller.once) is not None:
            answer = once.render(result)
            place = None if position is None else str(position)
            self._kept[job.key] = idempotency.Kept(once.fingerprint, answer.status, answer.body, place)
        self.answers.append((job, Outcome(result, answer, position)))


def union(sets: Iterable[Iterable[int]]) -> list[int]:
    """All of them, ascending, each once."""
    return sorted({one for own in sets for one in own})
