"""People and groups: who is called what, and who belongs together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Conflict, Forbidden, Invalid, NotFound
from hub.app.unit import Outcome, Unit, perform
from hub.core.principal import Principal, Role
from hub.store import directory
from hub.store.directory import Group, Person

GROUP_MEMBERS_MAX: Final = 10_000
"""A group is written and answered whole."""

KEEPERS: Final[tuple[Role, ...]] = ("admin", "service")
_READERS: Final[tuple[Role, ...]] = ("supervisor", "admin", "service")


def require(caller: Caller, roles: Iterable[Role]) -> None:
    """Raises `Forbidden` unless the caller has one of the roles."""
    if caller.principal.role not in roles:
        raise Forbidden(f"This is for {' or '.join(roles)}.")


async def read_person(deps: Deps, caller: Caller, user_id: int) -> Person:
    """One who has an entry or an inbox. Raises `Forbidden`, `NotFound`."""
    require(caller, KEEPERS)
    async with deps.database.transaction(caller.tenant_id) as tx:
        person = await directory.read_person(tx, caller.tenant_id, user_id)
    if person is None:
        raise NotFound("There is no such user.")
    return person


async def put_person(deps: Deps, caller: Caller, person: Person) -> Outcome[Person]:
    """Keep the entry whole; the user's inbox begins with it.

    Raises:
        Forbidden: for an admin or a service only.
        Conflict: another user has this `external_id`.
    """
    require(caller, KEEPERS)

    async def work(unit: Unit) -> Person:
        await unit.lock([person.user_id])
        before = await directory.read_person(unit.tx, unit.tenant_id, person.user_id) or Person(user_id=person.user_id)
        try:
            after = await directory.save_person(unit.tx, unit.tenant_id, person)
        except asyncpg.UniqueViolationError:
            raise Conflict("Another user has this external_id.") from None
        fields = [
            name
            for name in ("display_name", "locale", "timezone", "external_id")
            if getattr(before, name) != getattr(after, name)
        ]
        unit.audit("user.update", "user", person.user_id, fields=fields)
        return after

    return await perform(deps, caller, work)


async def fill_name(deps: Deps, principal: Principal) -> None:
    """Give a person without a name the one that their token says. Raises `DatabaseUnavailable`."""
    if principal.user_id is None or not principal.name:
        return
    async with deps.database.transaction(principal.tenant_id) as tx:
        await directory.fill_name(tx, principal.tenant_id, principal.user_id, principal.name)


async def read_group(deps: Deps, caller: Caller, name: str) -> Group:
    """Raises `Forbidden` for an agent, `NotFound`."""
    require(caller, _READERS)
    async with deps.database.transaction(caller.tenant_id) as tx:
        return _found(await directory.read_group(tx, caller.tenant_id, name))


async def put_group(deps: Deps, caller: Caller, name: str, members: Sequence[int]) -> Outcome[Group]:
    """Make it, or replace its members. Anyone may be a member: an inbox may begin later. Raises `Forbidden`."""
    require(caller, KEEPERS)

    async def work(unit: Unit) -> Group:
        await directory.save_group(unit.tx, unit.tenant_id, name, members)
        unit.audit("group.update", "group", name, members=len(set(members)))
        return _found(await directory.read_group(unit.tx, unit.tenant_id, name))

    return await perform(deps, caller, work)


async def delete_group(deps: Deps, caller: Caller, name: str) -> Outcome[None]:
    """Its members stay people; tasks keep its name. Raises `Forbidden`, `NotFound`."""
    require(caller, KEEPERS)

    async def work(unit: Unit) -> None:
        if not await directory.delete_group(unit.tx, unit.tenant_id, name):
            raise NotFound("There is no such group.")
        unit.audit("group.delete", "group", name)

    return await perform(deps, caller, work)


async def members_of(unit: Unit, name: str, count_max: int) -> list[int]:
    """Whom a message to a group is for.

    Raises:
        Invalid: there is no such group, nobody is in it, or more than `count_max` are.
    """
    members = await directory.read_members(unit.tx, unit.tenant_id, name, count_max + 1)
    if not members:
        raise Invalid([("$.group", "There is no such group, or nobody is in it.")])
    if len(members) > count_max:
        raise Invalid([("$.group", f"Has more than {count_max} members: broadcast to it.")])
    return members


def _found(group: Group | None) -> Group:
    if group is None:
        raise NotFound("There is no such group.")
    return group
