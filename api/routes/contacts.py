"""Where people can be reached outside: addresses, and browsers that may be pushed to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from api.route import PEOPLE, Answer, Call, Route, route
from api.routes.calling import answer_of, caller_of
from api.types import AttachmentUrl
from api.validation import RequestBody
from hub.app import contacts
from hub.app.contacts import Contacts, PushKey
from hub.app.deps import Deps
from hub.app.directory import KEEPERS
from hub.core.address import Email, Phone, Slack
from hub.store.directory import PushSubscription

Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_=-]{16,128}(?![\s\S])", extra={"message": "Must be base64url."})]


class ContactsBody(RequestBody, kw_only=True):
    """All addresses: what is left out is taken away. The fields that only an answer has are ignored."""

    read_only: ClassVar[frozenset[str]] = frozenset({"user_id", "unsubscribed"})

    email: Email | None = None
    phone: Phone | None = None
    whatsapp: Phone | None = None
    slack: Slack | None = None


class PushKeys(RequestBody, kw_only=True):
    """With what a browser's messages are encrypted."""

    p256dh: Key
    auth: Key


class PushBody(RequestBody, kw_only=True):
    """A browser's `PushSubscription`, as `toJSON()` gives it."""

    endpoint: AttachmentUrl
    keys: PushKeys
    expirationTime: float | None = None  # noqa: N815 -- the browser's own name; a subscription that expires says so when it is used


class PushSubscriptions(msgspec.Struct):
    """The newest first."""

    items: list[PushSubscription]


@route("GET", "/contacts", summary="One's own addresses", roles=PEOPLE, responses={200: Contacts}, position=False)
async def read_contacts(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, await contacts.read_contacts(call.deps, caller_of(call)))


@route("PUT", "/contacts", summary="Replace one's own addresses", roles=PEOPLE, responses={200: Contacts})
async def put_contacts(call: Call[Deps, ContactsBody, None]) -> Answer:
    """An address that stays the same stays unsubscribed, where it was."""
    owner = contacts.whose(caller_of(call), None)
    return answer_of(await contacts.put_contacts(call.deps, caller_of(call), _wanted(call.body, owner)))


@route("GET", "/users/{user_id}/contacts", summary="A user's addresses", roles=KEEPERS, responses={200: Contacts},
       position=False)  # fmt: skip
async def read_contacts_of(call: Call[Deps, None, None]) -> Answer:
    """Any id is accepted: someone unknown has none."""
    return Answer(200, await contacts.read_contacts(call.deps, caller_of(call), call.id("user_id")))


@route("PUT", "/users/{user_id}/contacts", summary="Replace a user's addresses", roles=KEEPERS,
       responses={200: Contacts})  # fmt: skip
async def put_contacts_of(call: Call[Deps, ContactsBody, None]) -> Answer:
    """An address that stays the same stays unsubscribed, where it was."""
    wanted = _wanted(call.body, call.id("user_id"))
    return answer_of(await contacts.put_contacts(call.deps, caller_of(call), wanted))


def _wanted(body: ContactsBody, user_id: int) -> Contacts:
    return Contacts(user_id=user_id, email=body.email, phone=body.phone, whatsapp=body.whatsapp, slack=body.slack)


@route("POST", "/push-subscriptions", summary="Push to this browser", roles=PEOPLE, responses={201: PushSubscription},
       idempotent=True)  # fmt: skip
async def subscribe(call: Call[Deps, PushBody, None]) -> Answer:
    """A browser that subscribes again replaces its row. Of one person the newest 20 stay."""
    body = call.body
    caller = caller_of(call, status=201)
    made = await contacts.subscribe(call.deps, caller, body.endpoint, body.keys.p256dh, body.keys.auth)
    return answer_of(made, status=201)


@route("GET", "/push-subscriptions", summary="One's own browsers", roles=PEOPLE, responses={200: PushSubscriptions},
       position=False)  # fmt: skip
async def list_subscriptions(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, PushSubscriptions(await contacts.list_subscriptions(call.deps, caller_of(call))))


@route("DELETE", "/push-subscriptions/{id}", summary="Push to a browser no more", roles=PEOPLE, responses={204: None},
       errors=(404,))  # fmt: skip
async def unsubscribe(call: Call[Deps, None, None]) -> Answer:
    return answer_of(await contacts.unsubscribe(call.deps, caller_of(call), call.id()), status=204)


@route("GET", "/push-subscriptions/key", summary="The key that browsers subscribe with", roles=PEOPLE,
       responses={200: PushKey}, position=False)  # fmt: skip
async def read_push_key(call: Call[Deps, None, None]) -> Answer:
    """For `applicationServerKey` (VAPID, RFC 8292). One pair a tenant, made once."""
    return Answer(200, await contacts.read_push_key(call.deps, caller_of(call)))


CONTACTS: Final[list[Route]] = [
    read_contacts,
    put_contacts,
    read_contacts_of,
    put_contacts_of,
    subscribe,
    list_subscriptions,
    unsubscribe,
    read_push_key,
]
