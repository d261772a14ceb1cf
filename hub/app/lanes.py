"""Writes that wait to share a transaction: a lane a tenant and kind, so that none waits behind another's.

Owns who goes together: the oldest that wait, within the bounds. Does not own the
transaction (`hub.app.group_commit`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hub.app.caller import Caller
    from hub.app.unit import Outcome, Unit
    from hub.store.idempotency import Key

Kind = Literal["inbox", "tasks"]
"""Writes of one kind lock the same things in the same order, so these share a lane."""

GROUP_MAX: Final = 256
"""Writes in one transaction: past this a larger group costs each of them more waiting than it saves."""
ROWS_MAX: Final = 1000
"""Streams, or tasks, that one transaction locks, as for a bulk: more would make their people wait."""


class Shareable(Protocol):
    """A write that may share its transaction with others of its kind."""

    @property
    def kind(self) -> Kind: ...

    @property
    def size(self) -> int:
        """The rows or streams that it locks, roughly."""
        ...

    @property
    def chain(self) -> int:
        """Writes with the same number are done in their order, alone or not."""
        ...

    def work(self) -> Callable[[Unit], Awaitable[Any]]:
        """The same with a transaction of its own, for `perform`."""
        ...


class Job:
    """One write that waits, and who waits for it. `key` is its idempotency key, if it has one."""

    __slots__ = ("caller", "joint", "key", "outcome")

    def __init__(
        self, caller: Caller, joint: Shareable, key: Key | None, outcome: asyncio.Future[Outcome[Any]]
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
        self.by_tenant: dict[tuple[str, Kind], deque[Job]] = {}
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
    rows_count = 0
    while lane and len(jobs) < GROUP_MAX:
        job = lane[0]
        if job.is_awaited:
            rows_count += job.joint.size
            if jobs and rows_count > ROWS_MAX:
                break
            if job.key is not None:
                if job.key in keys:
                    # Its twin goes first, and this one finds the answer.
                    break
                keys.add(job.key)
            jobs.append(job)
        lane.popleft()
    return jobs
