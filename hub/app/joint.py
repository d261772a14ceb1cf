"""Writes that can share a transaction: what each wants locked and read, and its decision, which is plain code.

Owns the shape of such a write. `Unit`'s own path runs one alone
(`work_of`), `hub.app.group_commit` runs many: by the same decisions, on the same
changes, in turn, so that what comes of them does not depend on who shared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from hub.app.caller import Caller
from hub.app.errors import NotFound
from hub.app.lanes import Kind
from hub.app.unit import Unit, entry_of
from hub.core.changes import Changes
from hub.core.creation import Collapsing, Recipient
from hub.core.notification import Row
from hub.store import audit, notifications
from hub.store.streams import Facts

T = TypeVar("T")


class Locked:
    """What is under lock, what was read under it, and what has been decided so far, as one of the writes sees it.

    `ids` are this write's own fresh ones, ascending. `collapsing` and `changes` are shared by all of them.
    """

    __slots__ = ("_facts", "_rows", "audits", "caller", "changes", "collapsing", "ids")

    def __init__(
        self, caller: Caller, facts: Facts, changes: Changes, rows: dict[int, Row], collapsing: Collapsing
    ) -> None:
        self.caller = caller
        self.changes = changes
        self.collapsing = collapsing
        self.ids: Sequence[int] = facts.ids
        self.audits: list[audit.Entry] = []
        self._facts = facts
        self._rows = rows

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    def own_rows(self, user_id: int, ids: Iterable[int]) -> list[Row]:
        """Those of `ids` that are the user's, in that order, as they stand now.

        Raises:
            NotFound: none is.
        """
        changes = self.changes
        rows: list[Row] = []
        for notification_id in ids:
            row = self._rows.get(notification_id)
            if row is not None and row.user_id == user_id and notification_id not in changes.deleted:
                rows.append(changes.updated.get(notification_id, row))
        if not rows:
            raise NotFound("There is no such notification.")
        return rows

    @property
    def names(self) -> Mapping[int, str]:
        """Of authors who have one."""
        return self._facts.names

    def recipients(self, user_ids: Iterable[int]) -> dict[int, Recipient]:
        """What decides for each of the users whose preferences were asked for."""
        return self._facts.recipients(user_ids)

    def audit(self, action: str, entity: str, entity_id: int | str | None, **changed: Any) -> None:
        """As `Unit.audit`."""
        self.audits.append(entry_of(self.caller, action, entity, entity_id, changed))


class Joint(msgspec.Struct, Generic[T], kw_only=True, frozen=True):
    """A write that may share its transaction.

    It locks the streams of `user_ids`, and makes those that are missing where it is to write something new. Read for
    it: the rows of `own_ids`, and where `is_judging` the preferences, the addresses, and the older ones of `keys` of
    those users; it takes `fresh` ids. `decide` changes `Locked.changes`; it is quick and pure, and where it refuses,
    by an `AppError`, it has changed nothing.
    """

    user_ids: Collection[int]
    decide: Callable[[Locked], T]
    own_ids: Sequence[int] = ()
    is_judging: bool = False
    keys: Collection[str] = ()
    fresh: int = 0

    @property
    def kind(self) -> Kind:
        return "inbox"

    @property
    def size(self) -> int:
        return max(len(self.user_ids), len(self.own_ids), self.fresh)

    @property
    def chain(self) -> int:
        return min(self.user_ids, default=0)

    def work(self) -> Callable[[Unit], Awaitable[T]]:
        return work_of(self)

    @property
    def makes_streams(self) -> bool:
        """False where it only changes what is there."""
        return self.fresh > 0


def authors_of(wanted: Iterable[tuple[Caller, Joint[Any]]], rows: Iterable[Row]) -> set[int]:
    """Who made what is to be answered: of new ones their callers, and whoever made the rows that were read."""
    new = {caller.principal.user_id for caller, joint in wanted if joint.fresh}
    return {one for one in new.union(row.created_by for row in rows) if one is not None}


def work_of(joint: Joint[T]) -> Callable[[Unit], Awaitable[T]]:
    """The same write with a transaction of its own, for `perform`."""

    async def work(unit: Unit) -> T:
        await unit.lock(joint.user_ids)
        rows = await notifications.read_rows(unit.tx, unit.tenant_id, joint.user_ids, joint.own_ids)
        facts = await unit.read_facts(
            deciding=joint.user_ids if joint.is_judging else (),
            keys=joint.keys,
            fresh=joint.fresh,
            authors=authors_of([(unit.caller, joint)], rows),
        )
        locked = Locked(unit.caller, facts, unit.changes, {row.id: row for row in rows}, Collapsing(facts.unread))
        result = joint.decide(locked)
        unit.take_audits(locked.audits)
        return result

    return work
