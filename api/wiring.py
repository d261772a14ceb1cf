"""Adapters between rooms that do not know each other: the gateway's ports, filled by auth and app."""

from __future__ import annotations

from typing import Any

from api.problems import problem_of
from hub.app.caller import Caller
from hub.app.calls import SocketCalls
from hub.app.errors import AppError
from hub.app.naming import Verifier
from hub.app.sign_ins import RefusedSignIns
from hub.auth import InvalidToken, KeysUnavailable
from hub.core.log import LogUnavailable
from hub.core.principal import Principal
from hub.gateway.ports import CallFailed, TokenRefused


class GatewayVerifier:
    """The gateway's `Verifier`; what is refused there is in the trail too."""

    def __init__(self, verifier: Verifier, refusals: RefusedSignIns) -> None:
        self._verifier = verifier
        self._refusals = refusals

    async def verify(self, token: str) -> Principal:
        try:
            return await self._verifier.verify(token)
        except InvalidToken as refusal:
            await self._refusals.record(refusal)
            raise TokenRefused(f"the token is refused: {refusal.reason.replace('_', ' ')}") from None
        except KeysUnavailable as error:
            raise LogUnavailable(str(error)) from error


class GatewayCalls:
    """The gateway's `Calls`: the same use cases as REST, and the same problems."""

    def __init__(self, calls: SocketCalls) -> None:
        self._calls = calls

    async def call(self, principal: Principal, method: str, params: dict[str, Any]) -> Any:
        try:
            return await self._calls.perform(Caller(principal), method, params)
        except (AppError, LogUnavailable) as error:
            raise CallFailed(problem_of(error, instance=method, request_id="")) from error
