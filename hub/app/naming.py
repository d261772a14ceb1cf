"""Names that tokens bring: a person without a name is given the one in the token that they come with."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final, Protocol

from hub.app.deps import Deps
from hub.app.directory import fill_name
from hub.core.log import LogUnavailable
from hub.core.principal import Principal

_log = logging.getLogger(__name__)

REMEMBERED_MAX: Final = 20_000
"""People of whom this process knows that they have been seen; the oldest is asked about again."""
AGAIN_S: Final = 3600.0
"""Whoever was seen longer ago is looked at again: their name may have been taken away since."""


class Verifier(Protocol):
    async def verify(self, token: str) -> Principal: ...


class NamingVerifier:
    """Verifies by another, and fills an empty name. Never refuses for a name's sake."""

    def __init__(self, verifier: Verifier, deps: Deps) -> None:
        self._verifier = verifier
        self._deps = deps
        self._seen: OrderedDict[tuple[str, int, str], float] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """Raises what the other raises."""
        principal = await self._verifier.verify(token)
        if principal.name and principal.user_id is not None and principal.role != "service":
            await self._fill(principal, (principal.tenant_id, principal.user_id, principal.name))
        return principal

    async def _fill(self, principal: Principal, key: tuple[str, int, str]) -> None:
        now = self._deps.clock.monotonic()
        seen_at = self._seen.get(key)
        if seen_at is not None and now - seen_at < AGAIN_S:
            return
        self._seen[key] = now
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        try:
            await fill_name(self._deps, principal)
        except LogUnavailable as error:
            self._seen.pop(key, None)
            _log.info("a name waits for PostgreSQL: %s", error)
