"""One use case, one transaction, one announcement: the frame in which every write runs.

`perform` owns the order of things: claim the idempotency key, do the work, keep
the answer, commit, and only then tell the broker (law 3). A `Unit` collects what
the work changes and writes it set by set, so that a batch costs the round trips
of one. Does not own what is decided; that is `hub.core`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final, Generic, TypeVar

import asyncpg
import msgspec

from hub.app.announcing import News, announce_news, news_of
from hub.app.caller import Answer, Caller, Once
from hub.app.deps import Deps
from hub.app.errors import IdempotencyBusy, IdempotencyMismatch
from hub.core.changes import Changes, Inbox
from hub.store import audit, idempotency, streams
from hub.store.pool import Tx
from hub.store.streams import Facts
from hub.store.writing import write

T = TypeVar("T")

CLAIM_WAIT_S: Final = 3.0
"""One attempt's wait for a twin: below the statement timeout, so several attempts make up the whole wait."""


class Position(msgspec.Struct, frozen=True):
    """A place in the caller's own stream: what `Hub-Position` says."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The inverse of `str`."""
        epoch, _, seq = text.rpartition(":")
        return cls(epoch, int(seq))


class Outcome(msgspec.Struct, Generic[T], frozen=True):
    """What came of a use case.

    `answer` is set where the caller gave an idempotency key: the rendered answer, which is the first one's
    where the request was `repeated`; `result` is None then. `position` is None for a caller without a stream.
    """

    result: T | None
    answer: Answer | None
    position: Position | None
    repeated: bool = False


class Unit:
    """One open transaction of one tenant, and what it will write.

    Use: `lock`, then `read_facts`, then change `changes`; rows of the heart are written by `flush`.
    """

    def __init__(self, tx: Tx, caller: Caller) -> None:
        self.tx = tx
        self.caller = caller
        self.facts: Facts | None = None
        self._inboxes: list[Inbox] = []
        self._changes: Changes | None = None
        self._audits: list[audit.Entry] = []
        self.said: list[tuple[str, bytes]] = []
        """(topic, payload) of what others than the owners of streams hear of after the commit."""
        self.wake_release = False
        """Something is due now: set, the release worker does not wait for its next turn."""

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    @property
    def changes(self) -> Changes:
        """The inboxes under lock. `read_facts` comes before."""
        if self._changes is None:
            raise RuntimeError("read_facts comes before changes")
        return self._changes

    async def lock(self, user_ids: Iterable[int]) -> None:
        """Lock these users' streams, once a transaction and before anything that decides is read (law 2)."""
        self._inboxes = await streams.lock_streams(self.tx, self.tenant_id, sorted(set(user_ids)))

    async def read_facts(
        self,
        *,
        deciding: Collection[int] = (),
        keys: Collection[str] = (),
        fresh: int = 0,
        authors: Collection[int] = (),
        callers: Collection[int] | None = None,
    ) -> Facts:
        """Read what decides, in one statement, once the streams are locked; see `streams.read_facts`.

        `callers`: whose heads, where the unit serves others than its own caller.
        """
        if callers is None:
            callers = [] if (user_id := self.caller.principal.user_id) is None else [user_id]
        facts = await streams.read_facts(
            self.tx,
            self.tenant_id,
            callers=callers,
            deciding=deciding,
            keys=keys,
            fresh=fresh,
            authors=authors,
        )
        self.facts = facts
        self._changes = Changes(facts.now, self._inboxes)
        return facts

    def audit(self, action: str, entity: str, entity_id: int | str | None, **changed: Any) -> None:
        """One row of the trail for this transaction. `changed` names fields and ids, never content."""
        self._audits.append(entry_of(self.caller, action, entity, entity_id, changed))

    def take_audits(self, entries: Iterable[audit.Entry]) -> None:
        """The same for rows that are made already."""
        self._audits.extend(entries)

    async def flush(self) -> None:
        """Write what has been collected: rows and deliveries, events and heads, the trail."""
        await write(self.tx, self.tenant_id, self._changes, self._audits)

    async def position(self) -> Position | None:
        """The caller's place after this transaction."""
        user_id = stream_of(self.caller)
        if user_id is None:
            return None
        if self.facts is None or self._changes is None:
            epoch, head = await streams.read_position(self.tx, self.tenant_id, user_id)
            return Position(epoch, head)
        return position_in(self.facts, self._changes, user_id)

    def news(self) -> News | None:
        """What streams grew by, for after the commit."""
        if self.facts is None or self._changes is None:
            return None
        return news_of(self.tenant_id, self.facts.epoch, self._changes)


def entry_of(
    caller: Caller, action: str, entity: str, entity_id: int | str | None, changed: dict[str, Any]
) -> audit.Entry:
    """What the trail keeps of a caller's deed."""
    principal = caller.principal
    return audit.Entry(
        action=action,
        entity_type=entity,
        entity_id=None if entity_id is None else str(entity_id),
        actor_id=principal.user_id,
        actor_key_id=principal.api_key_id,
        actor_role=principal.role,
        request_id=caller.request_id,
        address=caller.address,
        changes=changed,
    )


def stream_of(caller: Caller) -> int | None:
    """The user whose stream `Hub-Position` speaks of; None for a caller without one."""
    return None if caller.principal.role == "service" else caller.principal.user_id


def position_in(facts: Facts, changes: Changes, user_id: int) -> Position:
    """Where a stream stands now, within a transaction that has read its head, or has it under lock."""
    inbox = changes.inboxes.get(user_id)
    return Position(facts.epoch, facts.heads.get(user_id, 0) if inbox is None else inbox.head)


async def perform(deps: Deps, caller: Caller, work: Callable[[Unit], Awaitable[T]]) -> Outcome[T]:
    """Run `work` in one transaction of the caller's tenant, once for each idempotency key.

    Cancelled before the commit, nothing has happened; cancelled while it commits, it may have; after it, only
    hints are lost, which the sweep covers.

    Raises:
        AppError: what `work` raises; nothing is written then.
        IdempotencyMismatch: the key was used with other bytes.
        IdempotencyBusy: the first request with this key still runs.
        DatabaseUnavailable: PostgreSQL cannot do this now; it may have happened.
    """
    give_up_at = deps.clock.monotonic() + deps.settings.idempotency_wait_s
    while True:
        wait_s = min(give_up_at - deps.clock.monotonic(), CLAIM_WAIT_S)
        try:
            return await _attempt(deps, caller, work, wait_s)
        except _StillRunning:
            if deps.clock.monotonic() >= give_up_at:
                raise IdempotencyBusy from None


async def _attempt(deps: Deps, caller: Caller, work: Callable[[Unit], Awaitable[T]], wait_s: float) -> Outcome[T]:
    once = caller.once
    answer: Answer | None = None
    async with deps.database.transaction(caller.tenant_id) as tx:
        unit = Unit(tx, caller)
        if once is not None:
            kept: Outcome[T] | None = await _claim(deps, tx, caller, once, wait_s)
            if kept is not None:
                return kept
        result = await work(unit)
        await unit.flush()
        position = await unit.position()
        if once is not None:
            answer = once.render(result)
            place = None if position is None else str(position)
            await idempotency.keep_answer(tx, key_of(caller, once), answer.status, answer.body, place)
    await announce(deps, unit)
    return Outcome(result, answer, position)


def key_of(caller: Caller, once: Once) -> idempotency.Key:
    """Whose key this is, and for what."""
    return idempotency.Key(caller.tenant_id, caller.key_owner, once.method, once.path, once.key)


async def _claim(deps: Deps, tx: Tx, caller: Caller, once: Once, wait_s: float) -> Outcome[Any] | None:
    """None where the key is ours now; else what came of the first request."""
    try:
        kept = await idempotency.claim_key(
            tx, key_of(caller, once), once.fingerprint, wait_s=wait_s, ttl_h=deps.settings.idempotency_ttl_h
        )
    except asyncpg.LockNotAvailableError as error:
        raise _StillRunning from error
    return None if kept is None else first_outcome(kept, once)


def first_outcome(kept: idempotency.Kept, once: Once) -> Outcome[Any]:
    """What was kept, for the same request once more: the answer, and the caller's place as of then.

    Raises:
        IdempotencyMismatch: it is another request.
    """
    if kept.fingerprint != once.fingerprint:
        raise IdempotencyMismatch
    position = None if kept.position is None else Position.parse(kept.position)
    return Outcome(None, Answer(kept.status, kept.answer), position, repeated=True)


class _StillRunning(Exception):
    """The key's first request has not ended within one attempt's wait."""


async def announce(deps: Deps, unit: Unit) -> None:
    """Tell the broker of a commit; of what is due soon, the workers. Never an error: the sweep covers."""
    if unit.wake_release:
        deps.wakes.release.set()
    await announce_news(deps, unit.news(), unit.said)
