"""The hub as REST shows it, in this process: every route that the document has, real tokens, real PostgreSQL."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry

from api.app import BASE, build_app
from api.health import Readiness, health_routes
from api.metrics import RequestMetrics, metrics_route
from api.openapi import openapi_document
from api.routes import api_routes
from hub import clock
from hub.auth import verifier_of
from hub.auth.sealing import Sealer
from hub.core.presence import Online
from hub.settings import Settings
from hub.store.pool import Database
from tests.acceptance.processes import SECRET, token
from tests.acceptance.rest import Caller
from tests.api.conformity import Conformity
from tests.app.world import World

NOBODY_THERE: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here speaks TLS: to load the world's authorities would cost more than a test."""


class Fine:
    """Probe and presence of a node that is well, and where the first user of each tenant is."""

    async def ready(self) -> Readiness:
        return Readiness("ok")

    async def read(self, tenant_id: str) -> Online:
        return Online({1: 1}, 1, is_complete=True)


def mounts() -> dict[str, Any]:
    """The routes of a hub that others can reach: there, figures are not for everyone."""
    metrics = metrics_route(CollectorRegistry(), roles=("admin", "service"))
    return {"": [*health_routes(Fine()), metrics], BASE: api_routes()}


DOCUMENT: Final = openapi_document(mounts())


CONFORMITY: Final = Conformity(DOCUMENT)
"""Whatever a test asks for, the answer is held to the document."""


class Whole:
    """`caller` makes whoever is needed; `world` looks at what is really there."""

    def __init__(self, database: Database, client: httpx.AsyncClient, world: World) -> None:
        self.database, self.client, self.world = database, client, world

    def caller(self, tenant: str, role: str, user: int | None) -> Caller:
        return Caller(self.client, token(user, tenant=tenant, role=role))


@asynccontextmanager
async def whole_hub(database_url: str) -> AsyncGenerator[Whole]:
    settings = Settings(jwt_secret=SECRET)
    database = await Database.connect(database_url, pool_max=6)
    world = World(database)
    world.deps._sealer = Sealer(SECRET)
    world.deps.presence = Fine()
    verifier = verifier_of(settings, clock=clock, new_secret=clock.token)
    app = build_app(
        mounts(), world.deps, authenticator=verifier, clock=clock, metrics=RequestMetrics(CollectorRegistry())
    )
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://hub",
            verify=NOBODY_THERE,
            event_hooks={"response": [CONFORMITY]},
        ) as client:
            yield Whole(database, client, world)
    finally:
        await verifier.aclose()
        await database.close()
