"""A batch's wait is behind an e-mail once and for all, whatever holds it afterwards."""

from __future__ import annotations

from typing import Any

from hub.app import contacts
from hub.app.contacts import Contacts
from tests.app.world import ALL_DAY, World

NO_QUIET = {"quiet_hours_enabled": False}


async def email_of(world: World, notification_id: int) -> tuple[Any, ...]:
    rows = await world.sql(
        "SELECT status, reason, has_waited FROM notification_delivery WHERE notification_id = $1 AND channel = 'email'",
        notification_id,
    )
    return tuple(rows[0])


async def test_what_has_waited_for_a_batch_does_not_wait_for_another_after_quiet_hours(world: World, user: int):
    await contacts.put_contacts(world.deps, world.caller(user), Contacts(user_id=user, email="a@example.com"))
    await world.prefer(user, email_batch_frequency="weekly")
    sent = (await world.send(user)).id
    assert await email_of(world, sent) == ("held", "batch", False)

    await world.sql(
        "UPDATE notification_delivery SET not_before = now() - interval '1 s'"
        " WHERE notification_id = $1 AND channel = 'email'",
        sent,
    )
    await world.prefer(user, **ALL_DAY)
    status, reason, has_waited = await email_of(world, sent)
    assert (status, has_waited) == ("held", True)
    assert reason != "batch"

    await world.prefer(user, **NO_QUIET)
    assert await email_of(world, sent) == ("planned", None, True)
    # Judged once more before it is handed over: still no second batch.
    await world.prefer(user, timezone="Europe/Vienna")
    assert await email_of(world, sent) == ("planned", None, True)
