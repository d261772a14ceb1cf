"""One node put together and served: the composition root.

Owns the order in which a node starts and stops. Nothing else in the project
knows all the rooms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Callable

import uvicorn
from prometheus_client import CollectorRegistry

from api.app import BASE, build_app
from api.asyncapi import asyncapi_document
from api.dispatch import Dispatcher, Limits
from api.documents import document_pages
from api.figures import HistogramCollector, RoomCollector
from api.health import Readiness, health_routes
from api.limiting import RateLimiter, RateSettings
from api.metrics import RequestMetrics, metrics_route
from api.openapi import openapi_document
from api.request_head import BoundedHead
from api.routes import api_routes
from api.wiring import GatewayCalls, GatewayVerifier
from hub import clock
from hub.app.calls import SocketCalls
from hub.app.deps import Deps
from hub.app.errors import AppError
from hub.app.naming import NamingVerifier
from hub.app.sample import make_sample_people
from hub.app.sign_ins import RefusedSignIns
from hub.app.tenant import read_limits
from hub.auth import Revocations, verifier_of
from hub.auth.sealing import sealer_of
from hub.broker import RedisBroker
from hub.broker.rates import RedisRates
from hub.core.log import LogUnavailable
from hub.gateway.latency import BOUNDS_S
from hub.gateway.limits import GatewayLimits
from hub.gateway.node import Node
from hub.settings import Settings, allows_sample_sign_in, is_loopback, uses_development_key
from hub.store.credentials import StoredApiKeys, StoredExternalIds
from hub.store.errors import DatabaseUnavailable
from hub.store.log import StreamLog
from hub.store.migrations import migrate
from hub.store.pool import Database
from hub.workers import Workers, background_workers

_log = logging.getLogger("hub.server")
_MIGRATE_RETRY_S = 1.0


def gateway_limits(settings: Settings) -> GatewayLimits:
    """The gateway's bounds as the operator set them."""
    return GatewayLimits(
        heartbeat_ms=settings.heartbeat_ms,
        hello_timeout_s=settings.hello_timeout_s,
        connections_per_user_max=settings.connections_per_user_max,
        frame_bytes_max=settings.frame_bytes_max,
        frames_per_s_max=settings.frames_per_s_max if settings.rate_limits else 1_000_000_000,
        window_bytes_max=settings.outbox_bytes_max,
        window_bytes_low=settings.outbox_bytes_max // 4,
        early_max=settings.early_critical_max,
        replays_at_once=settings.replays_at_once,
        catch_ups_at_once=settings.catch_ups_at_once,
        sweep_interval_s=settings.sweep_interval_s,
        # A beat that is missed once is not missed by its node; then its silence, and ours are heard within the rest.
        node_beat_s=settings.ring_takeover_s / 4,
        node_silence_max_s=settings.ring_takeover_s * 3 / 4,
        ring_silence_max_s=settings.ring_silent_s,
        ring_again_s=settings.ring_ack_s,
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the hub drains first."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started(self.servers[0].sockets[0].getsockname()[1])

    @contextlib.contextmanager
    def capture_signals(self):
        yield


async def _make_sample(deps: Deps) -> None:
    try:
        await make_sample_people(deps)
    except (AppError, LogUnavailable) as error:
        _log.warning("the sample people could not be entered: %s", error)


class HubServer:
    """A node on one event loop. `run` returns after `stop`, or raises what keeps it from serving.

    Raises:
        ValueError: the Redis URL cannot be used; the sentence says why.
    """

    def __init__(self, settings: Settings, database_url: str, redis_url: str) -> None:
        self._settings = settings
        self._database_url = database_url
        self._uvicorn: _Uvicorn | None = None
        self._node: Node | None = None
        self._database: Database | None = None
        self._broker = RedisBroker(redis_url)
        self._rates = RedisRates(redis_url, within_s=settings.rate_check_s)
        self._is_migrated = False
        self._sampling: asyncio.Task[None] | None = None
        self._port: int | None = None
        self._on_started: Callable[[int], None] | None = None
        self._is_draining = False

    async def run(self, *, on_started: Callable[[int], None]) -> None:
        """Serve until `stop`. `on_started` is told the port once the schema is there and requests are answered.

        Raises:
            MigrationError: the schema cannot be brought up.
            OSError: the address cannot be listened on.
        """
        self._on_started = on_started
        async with self._parts() as app:
            settings = self._settings
            assert self._node is not None
            config = uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=BoundedHead,
                ws=self._node.protocol,  # pyright: ignore[reportArgumentType]
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                timeout_graceful_shutdown=max(1, int(settings.drain_s)),
                backlog=4096,
            )
            self._uvicorn = _Uvicorn(config, self._listening)
            try:
                await self._uvicorn.serve()
            except SystemExit:
                # uvicorn has logged which address it could not have.
                raise OSError(f"{settings.host}:{settings.port} cannot be listened on") from None

    async def stop(self) -> None:
        """Not ready any more, `bye` to the sockets, finish what runs, end. Idempotent."""
        self._is_draining = True
        if self._node is not None:
            await self._node.drain(within_s=self._settings.drain_s / 2)
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True

    # -- parts -------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _parts(self) -> AsyncGenerator[Dispatcher]:
        settings = self._settings
        async with contextlib.AsyncExitStack() as stack:
            database = self._database = await Database.connect(
                self._database_url,
                pool_max=settings.database_pool_max,
                statement_cache=settings.database_statement_cache,
                statement_timeout_s=settings.statement_timeout_s,
            )
            stack.push_async_callback(database.close)
            broker = self._broker
            revocations = Revocations()
            verifier = verifier_of(
                settings,
                clock=clock,
                new_secret=clock.token,
                revocations=revocations,
                external_ids=StoredExternalIds(database),
                api_keys=StoredApiKeys(database),
            )
            stack.push_async_callback(verifier.aclose)
            deps = Deps(database, broker, settings, sealer=sealer_of(settings, clock.token))
            named = NamingVerifier(verifier, deps)
            refusals = RefusedSignIns(deps)
            node = self._node = Node(
                log=StreamLog(database),
                subscriptions=broker,
                verifier=GatewayVerifier(named, refusals),
                calls=GatewayCalls(SocketCalls(deps)),
                clock=clock,
                limits=gateway_limits(settings),
                allowed_origins=settings.allowed_origins,
                root_path=settings.root_path,
                compress=settings.compression,
            )
            deps.presence = node.presence
            await node.start()
            stack.push_async_callback(node.stop)
            await broker.start()
            stack.push_async_callback(broker.close)
            stack.push_async_callback(self._rates.close)
            migrating = asyncio.create_task(self._migrate())
            stack.callback(migrating.cancel)
            owner_url = settings.migrate_database_url or self._database_url
            workers = background_workers(deps, revocations=revocations, on_revoked=node.revoke, owner_url=owner_url)
            stack.push_async_callback(workers.stop)
            migrating.add_done_callback(lambda done: self._migrated(done, workers, deps))
            await verifier.warm()
            yield self._app(deps, named, refusals, node, broker)

    def _app(
        self, deps: Deps, verifier: NamingVerifier, refusals: RefusedSignIns, node: Node, broker: RedisBroker
    ) -> Dispatcher:
        settings = self._settings
        registry = CollectorRegistry()
        registry.register(
            RoomCollector(
                {
                    "hub_gateway": lambda: node.statistics,
                    "hub_broker": broker.statistics,
                    "hub_hints": lambda: deps.hints,
                    "hub_group_commit": lambda: deps.lanes.figures,
                    "hub_rate_limits": lambda: self._rates.statistics,
                    "hub_sign_ins": lambda: refusals.figures,
                },
                {
                    "hub_broker_up": ("1 where Redis is heard.", lambda: float(broker.is_connected)),
                    "hub_draining": ("1 while this node stops.", lambda: float(self._is_draining)),
                },
            )
        )
        registry.register(
            HistogramCollector(
                "hub_commit_to_socket_seconds",
                "From the commit of an event to its bytes being written to the sockets.",
                BOUNDS_S,
                lambda: (node.hearing.latency.counts, node.hearing.latency.total_s),
            )
        )
        # Where only this machine can ask, figures are no secret; elsewhere they need a token of an operator.
        roles = None if is_loopback(settings.host) and not settings.trusted_proxies else ("admin", "service")
        mounts = {"": [*health_routes(self), metrics_route(registry, roles=roles)], BASE: api_routes()}
        return build_app(
            mounts,
            deps,
            authenticator=verifier,
            clock=clock,
            metrics=RequestMetrics(registry),
            limits=Limits(request_bytes_max=settings.request_bytes_max, bulk_bytes_max=settings.bulk_bytes_max),
            limiter=self._limiter(deps) if settings.rate_limits else None,
            refusals=refusals,
            allowed_origins=settings.allowed_origins,
            pages=document_pages(openapi_document(mounts), asyncapi_document()),
        )

    def _limiter(self, deps: Deps) -> RateLimiter:
        settings = self._settings
        rates = RateSettings(
            tenant_per_minute=settings.rate_tenant_per_minute,
            user_per_minute=settings.rate_user_per_minute,
            service_per_minute=settings.rate_service_per_minute,
        )
        return RateLimiter(self._rates, rates, lambda tenant_id: read_limits(deps, tenant_id), clock)

    async def _migrate(self) -> None:
        """Bring the schema up; while PostgreSQL is away, ask again, for the hub starts without it."""
        url = self._settings.migrate_database_url or self._database_url
        while True:
            try:
                for one in await migrate(url):
                    _log.info("applied migration %s", one.name)
            except DatabaseUnavailable as error:
                _log.warning("waiting for PostgreSQL to migrate: %s", error)
                await asyncio.sleep(_MIGRATE_RETRY_S)
            else:
                return

    def _migrated(self, done: asyncio.Task[None], workers: Workers, deps: Deps) -> None:
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            _log.error("the schema cannot be brought up: %s", error)
            if self._uvicorn is not None:
                self._uvicorn.should_exit = True
            return
        self._is_migrated = True
        workers.start()
        if uses_development_key(self._settings) and allows_sample_sign_in(self._settings):
            self._sampling = asyncio.create_task(_make_sample(deps))
        self._greet()

    def _listening(self, port: int) -> None:
        self._port = port
        self._greet()

    def _greet(self) -> None:
        if self._is_migrated and self._port is not None and self._on_started is not None:
            self._on_started(self._port)

    async def ready(self) -> Readiness:
        """What a probe is told: only without database, schema, or while draining is this node not to be used."""
        assert self._database is not None
        hints = self._broker.statistics()
        has_redis = hints.is_connected and hints.is_publishing
        checks = {"redis": "ok" if has_redis else "away"}
        if self._is_draining:
            return Readiness("unavailable", checks | {"node": "draining"})
        if not self._is_migrated:
            return Readiness("unavailable", checks | {"migrations": "waiting"})
        try:
            await self._database.ping()
        except LogUnavailable:
            return Readiness("unavailable", checks | {"database": "away"})
        checks["database"] = "ok"
        return Readiness("ok" if has_redis else "degraded", checks)
