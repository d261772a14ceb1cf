"""Who is connected now, for those who lead."""

from __future__ import annotations

import msgspec

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import GROUP_MEMBERS_MAX, require
from hub.app.errors import NotFound
from hub.core.presence import Online
from hub.store import directory


class Present(msgspec.Struct):
    """One who is connected, with how many devices."""

    user_id: int
    display_name: str | None
    online: bool
    devices: int


class Presence(msgspec.Struct):
    """Who is connected, by id. `nodes` is how many nodes' devices are in it; not `is_complete`: others have not
    answered, or cannot be heard now."""

    items: list[Present]
    nodes: int
    is_complete: bool


async def read_presence(deps: Deps, caller: Caller, group: str | None) -> Presence:
    """Everyone of the tenant who is connected; of a group every member, connected or not.

    Raises:
        Forbidden: for a supervisor or an admin only.
        NotFound: there is no such group.
    """
    require(caller, ("supervisor", "admin"))
    online = Online({}, 0, False) if deps.presence is None else await deps.presence.read(caller.tenant_id)
    async with deps.database.transaction(caller.tenant_id) as tx:
        wanted = sorted(online.devices)
        if group is not None:
            wanted = await directory.read_members(tx, caller.tenant_id, group, GROUP_MEMBERS_MAX)
            if not wanted and await directory.read_group(tx, caller.tenant_id, group) is None:
                raise NotFound("There is no such group.")
        names = await directory.read_names(tx, caller.tenant_id, wanted)
    items = [
        Present(user_id, names.get(user_id), user_id in online.devices, online.devices.get(user_id, 0))
        for user_id in wanted
    ]
    return Presence(items, online.nodes, online.is_complete)
