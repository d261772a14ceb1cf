"""Commits in groups: whatever waited while the last commit ran goes together, with no timer.

Owns who shares a transaction, and that a fault stays with the one that caused it.
Each tenant has a lane of its own, so none waits behind another's. In a lane the
writes are decided in the order in which they came, in one transaction: one round
trip locks for all, one reads, one writes. What a write refuses is its own
answer. What PostgreSQL refuses (a bad row, a lock that is not to be had) undoes
the group, and each of it is done again by itself, where the fault shows whose it
is. Does not own what is decided: that is each `Joint`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import asyncpg

from hub.app.announcing import News, announce_news, news_of
from hub.app.caller import Answer, Caller
from hub.app.deps import Deps
from hub.app.errors import AppError
from hub.app.joint import Joint, Locked, authors_of, work_of
from hub.app.lanes import Job, take_group
from hub.app.unit import (
    Outcome,
    first_outcome,
    key_of,
    perform,
    position_in,
    stream_of,
)
from hub.core.changes import Changes
from hub.core.creation import Collapsing
from hub.core.notification import Row
from hub.store import audit, idempotency, notifications, streams
from hub.store.errors import Conflicted, DatabaseUnavailable, LockTimedOut
from hub.store.pool import Tx
from hub.store.streams import Facts
from hub.store.writing import write

T = TypeVar("T")

JOINT_ROWS_MAX: Final = 16
"""A write to more people or rows than this goes alone: those who would share with it would wait for its size."""
WAITING_MAX: Final = 10_000
"""Writes that wait in one lane; past this PostgreSQL is too slow for what comes, and a 503 is the truth."""
GROUP_LOCK_S: Final = 0.5
"""What a group waits for a lock, before each goes by itself and only those who need that lock wait on."""
ALONE_AT_ONCE: Final = 4
"""Of an undone group so many are done again side by side: a few connections, not the pool."""


async def perform_joint(deps: Deps, caller: Caller, joint: Joint[T]) -> Outcome[T]:
    """Do one write, with whatever else waits. What it means, and raises, is as for `unit.perform`.

    Cancelled while it waits, it does not happen; cancelled later, it does.
    """
    if max(len(joint.user_ids), len(joint.own_ids), joint.fresh) > JOINT_ROWS_MAX:
        return await perform(deps, caller, work_of(joint))
    lanes = deps.lanes
    lane = lanes.by_tenant.get(caller.tenant_id)
    if lane is None:
        lane = lanes.by_tenant[caller.tenant_id] = deque()
        # It begins in the next turn of the loop: what comes in this one goes together.
        _spawn(deps, _run(deps, caller.tenant_id, lane))
    elif len(lane) >= WAITING_MAX:
        raise DatabaseUnavailable("too many writes wait already")
    key = None if caller.once is None else key_of(caller, caller.once)
    job = Job(caller, joint, key, asyncio.get_running_loop().create_future())
    lane.append(job)
    return await job.outcome


def _spawn(deps: Deps, work: Coroutine[Any, Any, None]) -> None:
    runner = asyncio.create_task(work, name="group-commit")
    deps.lanes.runners.add(runner)
    runner.add_done_callback(deps.lanes.runners.discard)


async def _run(deps: Deps, tenant_id: str, lane: deque[Job]) -> None:
    try:
        while lane:
            await _commit(deps, _Group(deps, tenant_id, lane))
    finally:
        del deps.lanes.by_tenant[tenant_id]
        for job in lane:
            job.settle(_ending())


async def _commit(deps: Deps, group: _Group) -> None:
    try:
        await group.commit()
    except (LockTimedOut, Conflicted, asyncpg.PostgresError, asyncpg.InterfaceError, _Broken):
        _do_alone(deps, group.take())
    except DatabaseUnavailable as error:
        # Each raises one of its own: a shared one would gather all their tracebacks.
        for job in group.take():
            job.settle(type(error)(str(error), maybe_committed=error.maybe_committed))
    except Exception as error:
        for job in group.take():
            job.settle(error)
    except BaseException:
        for job in group.take():
            job.settle(_ending())
        raise
    else:
        # Begun before anyone is answered, and not waited for; what is told goes out in the order of the calls.
        _spawn(deps, announce_news(deps, group.news))
        deps.lanes.figures.groups += 1
        deps.lanes.figures.writes += len(group.jobs)
        for job, answer in group.answers:
            job.settle(answer)


def _do_alone(deps: Deps, jobs: Sequence[Job]) -> None:
    """Each by itself; those that begin with the same person in their order. The lane goes on meanwhile."""
    deps.lanes.figures.undone += 1
    chains: dict[int, list[Job]] = {}
    for job in jobs:
        chains.setdefault(min(job.joint.user_ids, default=0), []).append(job)
    gate = asyncio.Semaphore(ALONE_AT_ONCE)
    for chain in chains.values():
        _spawn(deps, _do_chain(deps, chain, gate))


async def _do_chain(deps: Deps, chain: Sequence[Job], gate: asyncio.Semaphore) -> None:
    for job in chain:
        try:
            async with gate:
                if job.is_awaited:
                    job.settle(await perform(deps, job.caller, work_of(job.joint)))
        except Exception as error:
            job.settle(error)
        except BaseException:
            for left in chain:
                left.settle(_ending())
            raise


def _ending() -> DatabaseUnavailable:
    return DatabaseUnavailable("the hub ends", maybe_committed=True)


class _Broken(Exception):
    """A decision failed otherwise than by refusing, or refused after it had changed something."""


class _Group:
    """One transaction of several, and what is told after it: `answers` to those who wait, `news` to the broker."""

    def __init__(self, deps: Deps, tenant_id: str, lane: deque[Job]) -> None:
        self._deps = deps
        self._tenant_id = tenant_id
        self._lane = lane
        self.jobs: list[Job] = []
        self._ttl_h = deps.settings.idempotency_ttl_h
        self.answers: list[tuple[Job, Outcome[Any] | AppError]] = []
        self._audits: list[audit.Entry] = []
        self._kept: dict[idempotency.Key, idempotency.Kept] = {}
        self.news: News | None = None

    async def commit(self) -> None:
        """Do all in one transaction. Raises what the database does, and then nothing has happened."""
        async with self._deps.database.transaction(self._tenant_id, lock_timeout_s=GROUP_LOCK_S) as tx:
            # Only now: whoever came while it began goes with it.
            if self.take():
                await self._write(tx)

    def take(self) -> list[Job]:
        """Those of this group; from the first call on they are out of the lane."""
        if not self.jobs:
            self.jobs = take_group(self._lane)
        return self.jobs

    async def _write(self, tx: Tx) -> None:
        tenant_id = self._tenant_id
        wanted = [job.joint for job in self.jobs]
        inboxes = await streams.lock_streams(
            tx,
            tenant_id,
            _union(joint.user_ids for joint in wanted if joint.makes_streams),
            # Who only acts on what they have is refused where they have nothing, and must not begin to have an inbox.
            _union(joint.user_ids for joint in wanted if not joint.makes_streams),
        )
        # Under the locks: a twin of one of these, on another node, locks the same streams.
        jobs = await self._but_repeated(tx)
        joints = [job.joint for job in jobs]
        reading = [joint for joint in joints if joint.own_ids]
        found = await notifications.read_rows(
            tx,
            tenant_id,
            _union(joint.user_ids for joint in reading),
            _union(joint.own_ids for joint in reading),
        )
        facts = await streams.read_facts(
            tx,
            tenant_id,
            callers=_union([user_id] for job in jobs if (user_id := stream_of(job.caller)) is not None),
            deciding=_union(joint.user_ids for joint in joints if joint.is_judging),
            keys=list({key for joint in joints for key in joint.keys}),
            fresh=sum(joint.fresh for joint in joints),
            authors=authors_of(((job.caller, job.joint) for job in jobs), found),
        )
        changes = Changes(facts.now, inboxes)
        self._decide(jobs, facts, changes, {row.id: row for row in found})
        await write(tx, tenant_id, changes, self._audits)
        if self._kept and not await idempotency.keep_whole(tx, tenant_id, self._kept, ttl_h=self._ttl_h):
            raise _Broken
        self.news = news_of(tenant_id, facts.epoch, changes)

    async def _but_repeated(self, tx: Tx) -> Sequence[Job]:
        """Those that are to be done; what repeats another is given its answer."""
        keys = [job.key for job in self.jobs if job.key is not None]
        kept = await idempotency.read_keys(tx, self._tenant_id, keys, ttl_h=self._ttl_h) if keys else None
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
                self.answers.append((job, refused))
        return fresh

    def _decide(self, jobs: Sequence[Job], facts: Facts, changes: Changes, rows: dict[int, Row]) -> None:
        collapsing = Collapsing(facts.unread)
        ids = iter(facts.ids)
        for job in jobs:
            locked = Locked(job.caller, facts, changes, rows, collapsing)
            locked.ids = list(islice(ids, job.joint.fresh))
            steps = changes.steps
            try:
                result = job.joint.decide(locked)
            except AppError as refused:
                if changes.steps != steps:
                    raise _Broken from refused
                self.answers.append((job, refused))
                continue
            except Exception as error:
                raise _Broken from error
            self._audits += locked.audits
            user_id = stream_of(job.caller)
            position = None if user_id is None else position_in(facts, changes, user_id)
            answer: Answer | None = None
            if job.key is not None and (once := job.caller.once) is not None:
                answer = once.render(result)
                place = None if position is None else str(position)
                self._kept[job.key] = idempotency.Kept(once.fingerprint, answer.status, answer.body, place)
            self.answers.append((job, Outcome(result, answer, position)))


def _union(sets: Iterable[Iterable[int]]) -> list[int]:
    return sorted({one for own in sets for one in own})
