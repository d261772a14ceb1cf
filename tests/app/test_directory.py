"""People, groups, addresses, settings and the trail, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from msgspec.structs import replace

from hub.app import contacts, directory, tenant
from hub.app.contacts import SUBSCRIPTIONS_MAX, Contacts
from hub.app.create import RECIPIENTS_MAX, ToGroup, create
from hub.app.errors import Conflict, Forbidden, Invalid, NotFound
from hub.app.naming import AGAIN_S, NamingVerifier
from hub.auth.sealing import Sealer, Unreadable
from hub.core.principal import Principal
from hub.core.tenant import TenantSettings
from hub.store.directory import Person
from hub.store.tenants import TrailAsked
from tests.app.world import ALL_DAY, TENANT, World, draft


async def put(world: World, user_id: int, **fields: Any) -> Person:
    outcome = await directory.put_person(world.deps, world.producer, Person(user_id=user_id, **fields))
    assert outcome.result is not None
    return outcome.result


async def read(world: World, user_id: int) -> Person:
    return await directory.read_person(world.deps, world.producer, user_id)


# -- people ------------------------------------------------------------------------------------------------------------


async def test_an_entry_is_kept_whole_and_begins_an_inbox(world: World, user: int):
    with pytest.raises(NotFound):
        await read(world, user)
    await put(world, user, display_name="Ana", locale="de", timezone="Europe/Berlin", external_id=f"x{user}")
    assert (await read(world, user)).display_name == "Ana"
    await put(world, user, locale="en")
    found = await read(world, user)
    assert (found.display_name, found.locale, found.external_id) == (None, "en", None)
    assert await world.sql("SELECT FROM user_streams WHERE user_id = $1", user)


async def test_one_with_an_inbox_alone_is_known_by_nothing_but_the_id(world: World, user: int):
    await world.send(user)
    assert await read(world, user) == Person(user_id=user)


async def test_an_external_id_is_one_users(world: World, user: int):
    await put(world, user, external_id=f"x{user}")
    with pytest.raises(Conflict):
        await put(world, user + 1, external_id=f"x{user}")


async def test_agents_and_supervisors_do_not_keep_the_directory(world: World, user: int):
    for role in ("agent", "supervisor"):
        with pytest.raises(Forbidden):
            await directory.put_person(world.deps, world.caller(user, role), Person(user_id=user))  # pyright: ignore[reportArgumentType]
        with pytest.raises(Forbidden):
            await directory.put_group(world.deps, world.caller(user, role), "g", [])  # pyright: ignore[reportArgumentType]


class Tokens:
    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    async def verify(self, token: str) -> Principal:
        return self.principal


async def test_a_tokens_name_fills_an_empty_one_and_no_other(world: World, user: int):
    await put(world, user, locale="de")
    for name in ("Ana", "Another"):
        verifier = NamingVerifier(
            Tokens(Principal(tenant_id=TENANT, user_id=user, role="agent", name=name)), world.deps
        )
        await verifier.verify("")
    found = await read(world, user)
    assert (found.display_name, found.locale) == ("Ana", "de")


async def test_a_name_is_looked_at_again_after_a_while(world: World, user: int):
    class Clock:
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    world.deps.clock = clock = Clock()  # pyright: ignore[reportAttributeAccessIssue]
    verifier = NamingVerifier(Tokens(Principal(tenant_id=TENANT, user_id=user, role="agent", name="A")), world.deps)
    await verifier.verify("")
    await world.sql("UPDATE people SET display_name = NULL WHERE user_id = $1", user)
    await verifier.verify("")
    assert (await world.sql("SELECT display_name FROM people WHERE user_id = $1", user))[0][0] is None
    clock.at = AGAIN_S
    await verifier.verify("")
    assert (await world.sql("SELECT display_name FROM people WHERE user_id = $1", user))[0][0] == "A"


# -- groups ------------------------------------------------------------------------------------------------------------


async def test_members_are_replaced_and_named(world: World, user: int):
    await put(world, user, display_name="Ana")
    await directory.put_group(world.deps, world.producer, f"g{user}", [user + 1, user, user])
    found = await directory.read_group(world.deps, world.producer, f"g{user}")
    assert (found.members, found.names) == ([user, user + 1], {user: "Ana"})
    await directory.put_group(world.deps, world.producer, f"g{user}", [user + 2])
    assert (await directory.read_group(world.deps, world.producer, f"g{user}")).members == [user + 2]
    await directory.delete_group(world.deps, world.producer, f"g{user}")
    with pytest.raises(NotFound):
        await directory.read_group(world.deps, world.producer, f"g{user}")
    with pytest.raises(NotFound):
        await directory.delete_group(world.deps, world.producer, f"g{user}")


async def test_a_notification_to_a_group_is_one_for_each_member(world: World, user: int):
    await directory.put_group(world.deps, world.producer, f"g{user}", [user + 1, user])
    made = await create(world.deps, world.producer, [ToGroup(f"g{user}", draft(0))])
    assert made.result is not None
    assert [one.user_id for one in made.result] == [user, user + 1]
    assert [await world.head(one) for one in (user, user + 1)] == [1, 1]


async def test_a_group_that_is_unknown_or_too_large_is_refused(world: World, user: int):
    await directory.put_group(world.deps, world.producer, f"g{user}", range(10**6, 10**6 + RECIPIENTS_MAX + 1))
    for name in ("nobody", f"g{user}"):
        with pytest.raises(Invalid) as refused:
            await create(world.deps, world.producer, [ToGroup(name, draft(0))])
        assert refused.value.errors[0][0] == "$.group"
    with pytest.raises(Forbidden):
        await create(world.deps, world.caller(user), [ToGroup("nobody", draft(0))])


# -- addresses ---------------------------------------------------------------------------------------------------------


async def test_addresses_are_replaced_whole_and_what_stays_stays_unsubscribed(world: World, user: int):
    agent = world.caller(user)
    both = Contacts(user_id=user, email="ana@example.org", phone="+4915112345678")
    await contacts.put_contacts(world.deps, agent, both)
    await world.sql("UPDATE contacts SET unsubscribed_at = now() WHERE user_id = $1", user)
    again = (await contacts.put_contacts(world.deps, agent, replace(both, phone="+4915112345679"))).result
    assert again is not None
    assert (again.email, again.phone, again.unsubscribed) == ("ana@example.org", "+4915112345679", ["email"])
    alone = (await contacts.put_contacts(world.deps, agent, Contacts(user_id=user, slack="@ana"))).result
    assert alone == Contacts(user_id=user, slack="@ana")


async def test_what_a_person_is_reached_by_decides_what_is_planned(world: World, user: int):
    await contacts.put_contacts(world.deps, world.caller(user), Contacts(user_id=user, email="ana@example.org"))
    sent = await world.send(user)
    assert set(await world.channels(sent.id)) == {"in_app", "email"}


async def test_addresses_of_others_are_for_admins_and_services(world: World, user: int):
    for role in ("agent", "supervisor"):
        caller = world.caller(user, role)  # pyright: ignore[reportArgumentType]
        with pytest.raises(Forbidden):
            await contacts.read_contacts(world.deps, caller, user + 1)
        with pytest.raises(Forbidden):
            await contacts.put_contacts(world.deps, caller, Contacts(user_id=user + 1))
    await contacts.put_contacts(world.deps, world.producer, Contacts(user_id=user, slack="@ana"))
    assert (await contacts.read_contacts(world.deps, world.producer, user)).slack == "@ana"


async def test_a_browser_is_one_persons_and_the_oldest_go(world: World, user: int):
    async def subscribe(who: int, endpoint: str) -> int:
        made = await contacts.subscribe(world.deps, world.caller(who), endpoint, "p", "a")
        assert made.result is not None
        return made.result.id

    first = await subscribe(user, f"https://push/{user}")
    assert await subscribe(user + 1, f"https://push/{user}") == first
    assert await contacts.list_subscriptions(world.deps, world.caller(user)) == []
    ids = [await subscribe(user, f"https://push/{user}/{n}") for n in range(SUBSCRIPTIONS_MAX + 1)]
    found = await contacts.list_subscriptions(world.deps, world.caller(user))
    assert [one.id for one in found] == ids[:0:-1]
    with pytest.raises(NotFound):
        await contacts.unsubscribe(world.deps, world.caller(user), first)
    await contacts.unsubscribe(world.deps, world.caller(user), ids[1])
    assert len(await contacts.list_subscriptions(world.deps, world.caller(user))) == SUBSCRIPTIONS_MAX - 1


async def test_the_push_keys_are_made_once_however_many_ask_and_kept_encrypted(world: World):
    sealer = Sealer("a secret of this hub")
    world.deps._sealer = sealer
    found = await asyncio.gather(*(contacts.read_push_key(world.deps, world.caller(n)) for n in range(1, 7)))
    assert len(set(found)) == 1
    point = urlsafe_b64decode(found[0].public_key + "=")
    assert (len(point), point[0]) == (65, 4)
    secret = (await world.sql("SELECT secrets FROM channel_senders WHERE channel = 'push'"))[0][0]
    assert load_der_private_key(sealer.open(secret), None)
    with pytest.raises(ValueError, match="Could not deserialize"):
        load_der_private_key(secret, None)
    with pytest.raises(Unreadable):
        Sealer("another").open(secret)


# -- settings and the trail --------------------------------------------------------------------------------------------


async def settle(world: World, **fields: Any) -> TenantSettings:
    outcome = await tenant.change_settings(
        world.deps, world.caller(1, "admin", tenant="settled"), lambda now: replace(now, **fields)
    )
    assert outcome.result is not None
    return outcome.result


async def test_settings_begin_with_the_defaults_and_change_field_by_field(world: World):
    admin = world.caller(1, "admin", tenant="settled")
    assert await tenant.read_settings(world.deps, admin) == TenantSettings()
    for n in range(10):
        # From the second round on there is a row, and nothing but its lock keeps the two apart.
        await asyncio.gather(
            settle(world, reminder_minutes=n),
            settle(world, locale=f"x{chr(97 + n)}"),
            settle(world, tracking=n % 2 == 0),
        )
        found = await tenant.read_settings(world.deps, admin)
        assert (found.reminder_minutes, found.locale, found.tracking) == (n, f"x{chr(97 + n)}", n % 2 == 0)
    with pytest.raises(Forbidden):
        await tenant.read_settings(world.deps, world.caller(1, "supervisor", tenant="settled"))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"locked": ("enable_telepathy",)}, "$.locked[0]"),
        ({"preferences": {"enable_telepathy": True}}, "$.preferences"),
        ({"preferences": {"quiet_hours_enabled": True}}, "$.preferences.quiet_hours_start"),
        ({"preferences": {"timezone": "Mars/Olympus"}}, "$.preferences.timezone"),
        ({"preferences": {"quiet_hours_start": "25:61"}}, "$.preferences.quiet_hours_start"),
    ],
)
async def test_defaults_that_nobody_could_choose_are_refused(world: World, fields: dict[str, Any], path: str):
    with pytest.raises(Invalid) as refused:
        await settle(world, **fields)
    assert path in [where for where, _ in refused.value.errors]


async def test_a_tenants_quiet_holds_who_chose_nothing_and_its_end_releases_them(world: World, user: int):
    admin = world.caller(1, "admin")

    async def quiet(preferences: dict[str, Any]) -> None:
        await tenant.change_settings(world.deps, admin, lambda now: replace(now, preferences=preferences))

    await quiet(ALL_DAY)
    try:
        sent = await world.send(user)
        assert sent.outcome == "held"
    finally:
        world.deps.wakes.release.clear()
        await quiet({})
    assert world.deps.wakes.release.is_set()
    assert await world.release(user) == 1
    assert await world.kinds(user) == ["quiet_hours.ended", "notification.created"]
    await world.check(user)


async def test_the_trail_is_read_by_what_and_by_whom_in_pages(world: World, user: int):
    admin = world.caller(user, "admin")
    for n in range(3):
        await directory.put_group(world.deps, admin, f"g{user}-{n}", [])

    async def trail(**asked: Any) -> list[str | None]:
        page = await tenant.read_trail(world.deps, admin, TrailAsked(**asked), with_total=True)
        return [deed.entity_id for deed in page.items]

    every = await trail(actor_id=user)
    assert every == [f"g{user}-2", f"g{user}-1", f"g{user}-0"]
    page = await tenant.read_trail(world.deps, admin, TrailAsked(actor_id=user, limit=1), with_total=True)
    assert (len(page.items), page.total) == (1, 3)
    assert await trail(actor_id=user, after=(page.items[0].at, page.items[0].id)) == every[1:]
    assert await trail(actor_id=user, offset=2) == every[2:]
    assert await trail(entity_type="group", entity_id=f"g{user}-1") == [f"g{user}-1"]
    assert await trail(entity_type="group", entity_id=f"g{user}-1", actor_id=user + 1) == []
    assert await trail(entity_type="user", actor_id=user) == []
    assert (await trail(action="group.update"))[:3] == every
    assert (await trail(entity_id=f"g{user}-0")) == every[2:]
    assert await trail(actor_id=user, action="group.delete") == []
    assert await trail(actor_id=user, since=page.items[0].at) == every[:1]
    assert await trail(actor_id=user, until=page.items[0].at) == every[1:]
    assert (page.items[0].address, page.items[0].request_id) == ("192.0.2.1", "r-1")
    with pytest.raises(Forbidden):
        await tenant.read_trail(world.deps, world.caller(user, "supervisor"), TrailAsked(), with_total=False)
