"""Whether this node lives, and whether it should be sent work.

A probe must not take every node away at once: without Redis the hub is slower,
not away, so that is still 200. Readiness is asked of what the node already knows
(its pool, its background canary), and is answered within `READY_TIMEOUT_S`.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, Protocol

import msgspec

from api.route import Answer, Call, Route, route

READY_TIMEOUT_S: Final = 2.0
"""Probes commonly give up after one to five seconds."""

Status = Literal["ok", "degraded", "unavailable"]


class Readiness(msgspec.Struct, frozen=True):
    """`degraded`: works, but slower (no Redis). `unavailable`: no database, no schema, or draining.

    `checks` says in one word each what was looked at: `{"database": "ok", "redis": "away"}`.
    """

    status: Status
    checks: dict[str, str] = {}


class Alive(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Probe(Protocol):
    """What knows of this node. `ready` never raises for a failure; one that hangs counts as unavailable."""

    async def ready(self) -> Readiness: ...


def health_routes(probe: Probe) -> list[Route]:
    """`/healthz` and `/readyz`, open to all."""

    @route("GET", "/healthz", summary="Alive", roles=None, responses={200: Alive})
    async def healthz(call: Call[object, None, None]) -> Answer:
        return Answer(200, Alive())

    @route("GET", "/readyz", summary="Ready to be sent work", roles=None, responses={200: Readiness, 503: Readiness})
    async def readyz(call: Call[object, None, None]) -> Answer:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                readiness = await probe.ready()
        except TimeoutError:
            readiness = Readiness("unavailable", {"probe": "timeout"})
        if readiness.status == "unavailable":
            return Answer(503, readiness, (("retry-after", "1"),))
        return Answer(200, readiness)

    return [healthz, readyz]
