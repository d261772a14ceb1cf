"""Where a person can be reached outside: addresses, and the browsers that may be pushed to."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hub.app.caller import Caller
from hub.app.deps import Deps
from hub.app.directory import KEEPERS, require
from hub.app.errors import NotFound
from hub.app.own import inbox_owner
from hub.app.unit import Outcome, Unit, perform
from hub.store import directory
from hub.store.directory import Contact, ContactChannel, PushSubscription
from hub.store.pool import Tx

SUBSCRIPTIONS_MAX: Final = 20
"""As many browsers of one person as there may be sockets; the oldest goes."""

AddressName = Literal["email", "phone", "whatsapp", "slack"]
_CHANNELS: Final[dict[AddressName, ContactChannel]] = {
    "email": "email",
    "phone": "sms",
    "whatsapp": "whatsapp",
    "slack": "slack",
}


class Contacts(msgspec.Struct, kw_only=True):
    """One person's addresses. `unsubscribed` names those to which nothing is sent any more, until they change."""

    user_id: int
    email: str | None = None
    phone: str | None = None
    whatsapp: str | None = None
    slack: str | None = None
    unsubscribed: list[AddressName] = msgspec.field(default_factory=list[AddressName])


class PushKey(msgspec.Struct, frozen=True):
    """What a browser is given as `applicationServerKey`: an uncompressed P-256 point, base64url without padding."""

    public_key: str


def whose(caller: Caller, user_id: int | None) -> int:
    """Whose addresses are meant: one's own, or anyone's for an admin or a service. Raises `Forbidden`."""
    if user_id is None:
        return inbox_owner(caller)
    require(caller, KEEPERS)
    return user_id


async def read_contacts(deps: Deps, caller: Caller, user_id: int | None = None) -> Contacts:
    """Raises `Forbidden`."""
    owner = whose(caller, user_id)
    async with deps.database.transaction(caller.tenant_id) as tx:
        return await _read(tx, caller.tenant_id, owner)


async def put_contacts(deps: Deps, caller: Caller, wanted: Contacts) -> Outcome[Contacts]:
    """Keep these addresses of `wanted.user_id` and no others.

    One that stays the same stays unsubscribed, where it was. What is planned already goes to the address of the
    moment at which it is sent.

    Raises:
        Forbidden: someone else's, but for an admin or a service.
    """
    if wanted.user_id != caller.principal.user_id or caller.principal.role == "service":
        require(caller, KEEPERS)

    async def work(unit: Unit) -> Contacts:
        await unit.lock([wanted.user_id])
        before = await _read(unit.tx, unit.tenant_id, wanted.user_id)
        addresses: dict[ContactChannel, str] = {}
        for name, channel in _CHANNELS.items():
            if (text := getattr(wanted, name)) is not None:
                addresses[channel] = text
        await directory.replace_contacts(unit.tx, unit.tenant_id, wanted.user_id, addresses)
        fields = [name for name in _CHANNELS if getattr(before, name) != getattr(wanted, name)]
        unit.audit("contacts.update", "contacts", wanted.user_id, fields=fields)
        return await _read(unit.tx, unit.tenant_id, wanted.user_id)

    return await perform(deps, caller, work)


async def _read(tx: Tx, tenant_id: str, user_id: int) -> Contacts:
    by_channel: dict[ContactChannel, Contact] = {
        contact.channel: contact for contact in await directory.read_contacts(tx, tenant_id, user_id)
    }
    found = Contacts(user_id=user_id)
    for name, channel in _CHANNELS.items():
        contact = by_channel.get(channel)
        if contact is not None:
            setattr(found, name, contact.address)
            if contact.unsubscribed_at is not None:
                found.unsubscribed.append(name)
    return found


async def subscribe(deps: Deps, caller: Caller, endpoint: str, p256dh: str, auth: str) -> Outcome[PushSubscription]:
    """This browser may be pushed to, for its person. Raises `Forbidden` for a service."""
    owner = inbox_owner(caller)

    async def work(unit: Unit) -> PushSubscription:
        await unit.lock([owner])
        made = await directory.save_push_subscription(
            unit.tx, unit.tenant_id, owner, endpoint, (p256dh, auth), SUBSCRIPTIONS_MAX
        )
        unit.audit("push_subscription.create", "push_subscription", made.id)
        return made

    return await perform(deps, caller, work)


async def list_subscriptions(deps: Deps, caller: Caller) -> list[PushSubscription]:
    """One's own, the newest first. Raises `Forbidden` for a service."""
    owner = inbox_owner(caller)
    async with deps.database.transaction(caller.tenant_id) as tx:
        return await directory.read_push_subscriptions(tx, caller.tenant_id, owner, SUBSCRIPTIONS_MAX)


async def unsubscribe(deps: Deps, caller: Caller, subscription_id: int) -> Outcome[None]:
    """One of one's own. Raises `Forbidden`, `NotFound`."""
    owner = inbox_owner(caller)

    async def work(unit: Unit) -> None:
        if not await directory.delete_push_subscription(unit.tx, unit.tenant_id, owner, subscription_id):
            raise NotFound("There is no such subscription.")
        unit.audit("push_subscription.delete", "push_subscription", subscription_id)

    return await perform(deps, caller, work)


async def read_push_key(deps: Deps, caller: Caller) -> PushKey:
    """The tenant's public VAPID key. The pair is made on first use, and stays; the private one is kept encrypted."""
    tenant_id = caller.tenant_id
    async with deps.database.transaction(tenant_id) as tx:
        kept = await directory.read_push_keys(tx, tenant_id)
    if kept is None:
        public_key, private_key = _new_pair()
        sealed = deps.sealer.seal(private_key)

        async def work(unit: Unit) -> str:
            await directory.keep_push_keys(unit.tx, tenant_id, public_key, sealed)
            won = await directory.read_push_keys(unit.tx, tenant_id)
            assert won is not None
            if won[0] == public_key:
                unit.audit("channel.create", "channel", "push", fields=["public_key"])
            return won[0]

        made = (await perform(deps, caller, work)).result
        assert made is not None
        return PushKey(made)
    return PushKey(kept[0])


def _new_pair() -> tuple[str, bytes]:
    """A new pair on P-256, as RFC 8292 has it: the public point as text, the private key in PKCS 8."""
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return urlsafe_b64encode(point).rstrip(b"=").decode(), secret
