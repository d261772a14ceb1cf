"""Which tasks beside their own somebody may watch."""

from __future__ import annotations

from typing import Literal

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.errors import Forbidden
from hub.app.own import inbox_owner
from hub.app.task_desk import OVERSEERS
from hub.store import tasks

Scope = Literal["unassigned", "group", "tenant"]


class Scoped(msgspec.Struct, frozen=True):
    """What may be watched. `groups` None = whatever the group; a task without one is in `unassigned` for everyone."""

    scope: Scope
    groups: list[str] | None


async def scope_of(deps: Deps, caller: Caller, scope: Scope) -> Scoped:
    """The free ones (an agent's: of their groups), those of the caller's groups, or all of the tenant.

    Raises:
        Forbidden: the last two are for supervisors; a service watches nothing.
    """
    user_id = inbox_owner(caller)
    is_overseer = caller.principal.role in OVERSEERS
    if scope != "unassigned" and not is_overseer:
        raise Forbidden("Only a supervisor watches more than the tasks that nobody is assigned to.")
    if scope == "tenant" or (scope == "unassigned" and is_overseer):
        return Scoped(scope, None)
    async with deps.database.transaction(caller.tenant_id) as tx:
        return Scoped(scope, await tasks.read_groups(tx, caller.tenant_id, user_id))
