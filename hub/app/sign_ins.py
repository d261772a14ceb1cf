"""Sign-ins that were refused: a row of the trail each, where it is known whose they were.

A credential that is not known to be one of ours names nobody, and is only counted: or anyone could write into a
tenant's trail. What one bearer repeats is bounded, and counted beyond that.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

import msgspec

from hub.app.deps import Deps
from hub.auth.refusal import Bearer, InvalidToken
from hub.core.log import LogUnavailable
from hub.store import audit
from hub.store.writing import write_trail

_log = logging.getLogger(__name__)

PER_MINUTE: Final = 10
"""Rows of one bearer: enough to see that it goes on, too few to fill a disk by asking in a loop."""
BEARERS_MAX: Final = 10_000
"""Bearers whose rows are counted; the one that was refused longest ago is forgotten."""


class RefusedFigures(msgspec.Struct):
    """Since the start: how many were refused, of which so many are in the trail; `unknown` named nobody."""

    refused: int = 0
    recorded: int = 0
    unknown: int = 0


class RefusedSignIns:
    """One a process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._minutes: OrderedDict[Bearer, tuple[float, int]] = OrderedDict()
        self.figures = RefusedFigures()

    async def record(self, refusal: InvalidToken, *, address: str | None = None, request_id: str | None = None) -> None:
        """Add a row, in a transaction of its own. Never raises for a database that is away: the refusal stands."""
        self.figures.refused += 1
        bearer = refusal.bearer
        if bearer is None:
            self.figures.unknown += 1
            return
        if not self._is_room(bearer):
            return
        entry = audit.Entry(
            action="sign_in.refused",
            entity_type="sign_in",
            entity_id=None,
            actor_id=bearer.user_id,
            actor_key_id=bearer.api_key_id,
            actor_role=audit.NO_ROLE,
            request_id=request_id,
            address=address,
            changes={"reason": refusal.reason},
        )
        try:
            async with self._deps.database.transaction(bearer.tenant_id) as tx:
                await write_trail(tx, bearer.tenant_id, [entry])
        except LogUnavailable as error:
            _log.warning("a refused sign-in is not in the trail: %s", error)
        else:
            self.figures.recorded += 1

    def _is_room(self, bearer: Bearer) -> bool:
        now = self._deps.clock.monotonic()
        began_at, count = self._minutes.get(bearer, (now, 0))
        if now - began_at >= 60:
            began_at, count = now, 0
        self._minutes[bearer] = (began_at, count + 1)
        self._minutes.move_to_end(bearer)
        if len(self._minutes) > BEARERS_MAX:
            self._minutes.popitem(last=False)
        return count < PER_MINUTE
