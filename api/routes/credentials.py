"""Credentials: API keys of producers, and the revoking of a person's tokens."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api.route import ADMINS, Answer, Call, Route, route
from api.routes.bodies import ApiKeyBody
from api.routes.calling import answer_of, caller_of
from hub.app import credentials
from hub.app.credentials import NewApiKey, Revoked
from hub.app.deps import Deps
from hub.store.people import ApiKey


class ApiKeys(msgspec.Struct):
    """The newest first, without their secrets."""

    items: list[ApiKey]


@route("GET", "/api-keys", summary="The tenant's API keys", roles=ADMINS, responses={200: ApiKeys}, position=False)
async def list_api_keys(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, ApiKeys(await credentials.list_api_keys(call.deps, caller_of(call))))


@route("POST", "/api-keys", summary="Make an API key", roles=ADMINS, responses={201: NewApiKey}, idempotent=True)
async def create_api_key(call: Call[Deps, ApiKeyBody, None]) -> Answer:
    """`key` is shown this once: repeated with its `Idempotency-Key`, the answer has it empty, for it is not kept."""
    outcome = await credentials.create_api_key(
        call.deps, caller_of(call, status=201, render=_without_secret), call.body.name
    )
    if outcome.result is not None:
        outcome = msgspec.structs.replace(outcome, answer=None)
    return answer_of(outcome, status=201)


def _without_secret(made: NewApiKey) -> Any:
    return msgspec.structs.replace(made, key="")


@route("DELETE", "/api-keys/{id}", summary="Revoke an API key", roles=ADMINS, responses={204: None}, errors=(404,))
async def revoke_api_key(call: Call[Deps, None, None]) -> Answer:
    return answer_of(await credentials.revoke_api_key(call.deps, caller_of(call), call.id()), status=204)


@route("POST", "/users/{user_id}/revoke", summary="Refuse a user's tokens", roles=ADMINS, responses={200: Revoked},
       idempotent=True)  # fmt: skip
async def revoke_user(call: Call[Deps, None, None]) -> Answer:
    """Tokens issued before now are refused, and the user's sockets closed, within 5 s on all nodes."""
    return answer_of(await credentials.revoke_user(call.deps, caller_of(call), call.id("user_id")))


CREDENTIALS: Final[list[Route]] = [list_api_keys, create_api_key, revoke_api_key, revoke_user]
