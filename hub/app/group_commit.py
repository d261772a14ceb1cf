"""Commits in groups: whatever waited while the last commit ran goes together, with no timer.

Owns who shares a transaction, and that a fault stays with the one that caused it.
Each tenant has a lane of its own, so none waits behind another's. In a lane the
writes of one kind are decided in the order in which they came, in one transaction. What a write refuses is its own
answer. What PostgreSQL refuses (a bad row, a lock that is not to be had) undoes
the group, and each of it is done again by itself, where the fault shows whose it
is. Does not own what is
locked and decided: that is each `Group`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import asyncpg

from hub.app.announcing import announce_news
from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.group import Broken, Group
from hub.app.inbox_group import InboxGroup
from hub.app.lanes import Job, Kind, Shareable
from hub.app.task_group import TaskGroup
from hub.app.unit import Outcome, key_of, perform
from hub.store.errors import Conflicted, DatabaseUnavailable, LockTimedOut

GROUPS: Final[dict[Kind, type[Group]]] = {"inbox": InboxGroup, "tasks": TaskGroup}
JOINT_ROWS_MAX: Final = 16
"""A write to more people or rows than this goes alone: those who would share with it would wait for its size."""
WAITING_MAX: Final = 10_000
"""Writes that wait in one lane; past this PostgreSQL is too slow for what comes, and a 503 is the truth."""
ALONE_AT_ONCE: Final = 4
"""Of an undone group so many are done again side by side: a few connections, not the pool."""


async def perform_joint(deps: Deps, caller: Caller, joint: Shareable) -> Outcome[Any]:
    """Do one write, with whatever else of its kind waits. What it means, and raises, is as for `unit.perform`.

    Cancelled while it waits, it does not happen; cancelled later, it does.
    """
    if joint.size > JOINT_ROWS_MAX:
        return await perform(deps, caller, joint.work())
    place = (caller.tenant_id, joint.kind)
    lane = deps.lanes.by_tenant.get(place)
    if lane is None:
        lane = deps.lanes.by_tenant[place] = deque()
        # It begins in the next turn of the loop: what comes in this one goes together.
        _spawn(deps, _run(deps, *place, lane))
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


async def _run(deps: Deps, tenant_id: str, kind: Kind, lane: deque[Job]) -> None:
    try:
        while lane:
            await _commit(deps, GROUPS[kind](deps, tenant_id, lane))
    finally:
        del deps.lanes.by_tenant[tenant_id, kind]
        for job in lane:
            job.settle(_ending())


async def _commit(deps: Deps, group: Group) -> None:
    try:
        await group.commit()
    except (LockTimedOut, Conflicted, asyncpg.PostgresError, asyncpg.InterfaceError, Broken):
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
        _spawn(deps, announce_news(deps, group.news, group.said))
        deps.lanes.figures.groups += 1
        deps.lanes.figures.writes += len(group.jobs)
        for job, answer in group.answers:
            job.settle(answer)


def _do_alone(deps: Deps, jobs: Sequence[Job]) -> None:
    """Each by itself; those of one person, or of one task, in their order. The lane goes on meanwhile."""
    deps.lanes.figures.undone += 1
    chains: dict[int, list[Job]] = {}
    for job in jobs:
        chains.setdefault(job.joint.chain, []).append(job)
    gate = asyncio.Semaphore(ALONE_AT_ONCE)
    for chain in chains.values():
        _spawn(deps, _do_chain(deps, chain, gate))


async def _do_chain(deps: Deps, chain: Sequence[Job], gate: asyncio.Semaphore) -> None:
    for job in chain:
        try:
            async with gate:
                if job.is_awaited:
                    job.settle(await perform(deps, job.caller, job.joint.work()))
        except Exception as error:
            job.settle(error)
        except BaseException:
            for left in chain:
                left.settle(_ending())
            raise


def _ending() -> DatabaseUnavailable:
    return DatabaseUnavailable("the hub ends", maybe_committed=True)
