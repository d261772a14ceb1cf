"""Writes that wait to share a transaction: a lane a tenant, so that none waits behind another's.

Owns who goes together: the oldest that wait, within the bounds. Does not own the
transaction (`hub.app.group_commit`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from hub.app.caller import Caller
    from hub.app.joint import Joint
    from hub.app.unit import Outcome
    from hub.store.idempotency import Key

GROUP_MAX: Final = 256
"""Writes in one transaction: past this a larger group costs each of them more waiting than it saves."""
STREAMS_MAX: Final = 1000
"""Streams that one transaction locks, as for a bulk: more would make their people wait."""


class Job:
    """One write that waits, and who waits for it. `key` is its idempotency key, if it has one."""

    __slots__ = ("caller", "joint", "key", "outcome")

    def __init__(
        self, caller: Caller, joint: Joint[Any], key: Key | None, outcome: asyncio.Future[Outcome[Any]]
    ) -> None:
        self.caller = caller
        self.joint = joint
        self.key = key
        self.outcome = outcome

    @property
    def is_awaited(self) -> bool:
        """False once it is settled, or whoever asked has gone."""
        return not self.outcome.done()

    def settle(self, outcome: Outcome[Any] | BaseException) -> None:
        """Tell who waits, if anyone still does."""
        if self.outcome.done():
            return
        if isinstance(outcome, BaseException):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


class LaneFigures(msgspec.Struct):
    """What was done together: `writes` were committed in `groups` transactions; `undone` groups were done again one by
    one."""

    groups: int = 0
    writes: int = 0
    undone: int = 0


class Lanes:
    """What waits in one process, the tasks that see to it, and figures of what was done together."""

    def __init__(self) -> None:
        self.by_tenant: dict[str, deque[Job]] = {}
        self.runners: set[asyncio.Task[None]] = set()
        self.figures = LaneFigures()

    async def drain(self) -> None:
        """Return when nothing waits and nothing runs."""
        while self.runners:
            await asyncio.wait(self.runners)


def take_group(lane: deque[Job]) -> list[Job]:
    """Take the next group out of its lane: the oldest, no idempotency key twice. Empty where nobody waits."""
    jobs: list[Job] = []
    keys: set[Key] = set()
    streams_count = 0
    while lane and len(jobs) < GROUP_MAX:
        job = lane[0]
        if job.is_awaited:
            streams_count += len(job.joint.user_ids)
            if jobs and streams_count > STREAMS_MAX:
                break
            if job.key is not None:
                if job.key in keys:
                    # Its twin goes first, and this one finds the answer.
                    break
                keys.add(job.key)
            jobs.append(job)
        lane.popleft()
    return jobs
