"""Enters the sample people, so that a newcomer's first lists have names in them. The composition root asks."""

from __future__ import annotations

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import put_person
from hub.core.principal import Principal
from hub.core.sample import SAMPLE_PEOPLE, SAMPLE_TENANT
from hub.store import directory
from hub.store.directory import Person


async def make_sample_people(deps: Deps) -> None:
    """Enter those who are not there yet; whoever was renamed keeps the name. Idempotent.

    Raises:
        Unavailable, DatabaseUnavailable: not now; the hub works without them.
    """
    async with deps.database.transaction(SAMPLE_TENANT) as tx:
        known = await directory.read_names(tx, SAMPLE_TENANT, [person.user_id for person in SAMPLE_PEOPLE])
    caller = Caller(Principal(tenant_id=SAMPLE_TENANT, user_id=None, role="service"))
    for person in SAMPLE_PEOPLE:
        if person.user_id not in known:
            await put_person(deps, caller, Person(user_id=person.user_id, display_name=person.name))
