"""Names beside ids: what an answer says of the people it names. Events carry ids alone, and stay true when a name
changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from hub.core.notification import Notification, Row
from hub.core.task import Assignment, Comment, Task
from hub.store import directory
from hub.store.pool import Tx
from hub.store.tasks import Entry

T = TypeVar("T")


class Signed(Notification, kw_only=True):
    """A notification with the name of who created it, where that is a person with a name."""

    created_by_name: str | UnsetType = UNSET


class NamedTask(Task, kw_only=True):
    """A task with the names of its people, where they have one."""

    assigned_to_name: str | UnsetType = UNSET
    created_by_name: str | UnsetType = UNSET


class NamedAssignment(Assignment, kw_only=True):
    """Who is on a task, by name, where they have one."""

    user_name: str | UnsetType = UNSET
    assigned_by_name: str | UnsetType = UNSET


class NamedComment(Comment, kw_only=True):
    """What was said, with its author's name."""

    user_name: str | UnsetType = UNSET


class NamedEntry(Entry, kw_only=True):
    """Who changed what, by name."""

    actor_name: str | UnsetType = UNSET


_NAMES: Final = {
    "assigned_to": "assigned_to_name",
    "created_by": "created_by_name",
    "user_id": "user_name",
    "assigned_by": "assigned_by_name",
    "actor_id": "actor_name",
}


async def with_names(tx: Tx, tenant_id: str, kind: type[T], things: Sequence[Any]) -> list[T]:
    """The same things with the names of those whom they name, by one read for all of them."""
    made = [msgspec.convert(one, kind, from_attributes=True) for one in things]
    await sign(tx, tenant_id, made)
    return made


async def sign(tx: Tx, tenant_id: str, things: Sequence[Any]) -> None:
    """Put the names into things of the kinds above, by one read for all of them."""
    places = [(one, field, name) for one in things for field, name in _places_of(type(one))]
    names = await directory.read_names(tx, tenant_id, (getattr(one, field) for one, field, _ in places))
    for one, field, name in places if names else ():
        if (found := names.get(getattr(one, field) or 0)) is not None:
            setattr(one, name, found)


@cache
def _places_of(kind: type[Any]) -> list[tuple[str, str]]:
    fields: tuple[str, ...] = kind.__struct_fields__
    return [(field, name) for field, name in _NAMES.items() if name in fields]


def signed(row: Row, names: Mapping[int, str]) -> Signed:
    """A notification with the name of its author, of those that are known."""
    one = msgspec.convert(row, Signed, from_attributes=True)
    one.created_by_name = names.get(row.created_by or 0, UNSET)
    return one
