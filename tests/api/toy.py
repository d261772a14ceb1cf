"""A small API of toy routes, with everything that a declaration can say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

import httpx
import msgspec
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route as Page

from api.app import BASE, build_app
from api.dispatch import Dispatcher, Limits
from api.health import Readiness, health_routes
from api.merge import Patch
from api.metrics import RequestMetrics, metrics_route
from api.query import RequestQuery
from api.route import ADMINS, EVERYONE, Answer, Call, PathText, route
from api.types import Channel, Data, Id, Instant, Priority, Title
from api.validation import RequestBody
from hub.app import errors
from hub.auth.refusal import InvalidToken
from hub.core.principal import ROLES, Principal
from hub.store.errors import DatabaseUnavailable


class Thing(RequestBody, kw_only=True):
    read_only: ClassVar[tuple[str, ...]] = ("id", "created_at")

    title: Title
    owner: Id
    priority: Priority = "normal"
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    data: Data | None = None

    def check(self) -> Iterator[errors.Violation]:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            yield "ends_at", "Must be after `starts_at`."


class Things(RequestBody, kw_only=True):
    items: Annotated[list[Thing], msgspec.Meta(min_length=1, max_length=3)]


class Some(RequestBody, kw_only=True):
    before: Id | None = None


class ThingQuery(RequestQuery, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    is_read: bool | None = None
    since: Instant | None = None
    q: str | None = None
    include: tuple[Priority, ...] = ()


class Deps:
    """What the handlers saw, and what the next one raises."""

    def __init__(self) -> None:
        self.calls: list[Call[Any, Any, Any]] = []
        self.error: Exception | None = None
        self.ready = Readiness("ok")


ANY = {200: dict, 201: dict}


async def _seen(call: Call[Deps, Any, Any], status: int = 200) -> Answer:
    call.deps.calls.append(call)
    if call.deps.error is not None:
        raise call.deps.error
    return Answer(status, {"ok": True})


@route("GET", "/things", summary="List", roles=EVERYONE, responses=ANY)
async def things(call: Call[Deps, None, ThingQuery]) -> Answer:
    return await _seen(call)


@route("POST", "/things", summary="Create", roles=EVERYONE, responses=ANY, idempotent=True)
async def create(call: Call[Deps, Thing, None]) -> Answer:
    return await _seen(call, 201)


@route("POST", "/things/bulk", summary="Create many", roles=EVERYONE, responses=ANY, bulk=True)
async def create_many(call: Call[Deps, Things, None]) -> Answer:
    return await _seen(call, 201)


@route("POST", "/things/seen", summary="See", roles=EVERYONE, responses=ANY)
async def see(call: Call[Deps, Some, None]) -> Answer:
    return await _seen(call)


@route("GET", "/things/{id}", summary="One", roles=EVERYONE, responses=ANY)
async def one(call: Call[Deps, None, None]) -> Answer:
    return await _seen(call)


@route("PUT", "/things/{id}", summary="Replace", roles=EVERYONE, responses=ANY, errors=(412,))
async def put(call: Call[Deps, Thing, None]) -> Answer:
    return await _seen(call)


@route("PATCH", "/things/{id}", summary="Change", roles=EVERYONE, responses={200: Thing})
async def patch(call: Call[Deps, Patch[Thing], None]) -> Answer:
    return Answer(200, call.body.apply(Thing(title="old", owner=7, priority="high")))


@route("DELETE", "/things/{id}", summary="Delete", roles=ADMINS, responses={204: None})
async def delete(call: Call[Deps, None, None]) -> Answer:
    call.deps.calls.append(call)
    return Answer(204)


@route("GET", "/named/{name}/{channel}", summary="Named", roles=EVERYONE, responses=ANY,
       parameters={"name": PathText, "channel": Channel})  # fmt: skip
async def named(call: Call[Deps, None, None]) -> Answer:
    return await _seen(call)


@route("GET", "/dressed", summary="Every header", roles=None, responses={200: dict})
async def dressed(call: Call[Deps, None, None]) -> Answer:
    return Answer(200, msgspec.Raw(b'{"raw":1}'), (("etag", '"3"'),), position="01J:7", is_replayed=True)


@route("GET", "/undeclared", summary="Answers what it does not declare", roles=None, responses={200: dict})
async def undeclared(call: Call[Deps, None, None]) -> Answer:
    return Answer(202, {})


ROUTES = [things, create, create_many, see, one, put, patch, delete, named, dressed, undeclared]


class Tokens:
    """Tokens are the names of roles."""

    async def verify(self, token: str) -> Principal:
        if token == "unreachable":
            raise DatabaseUnavailable("away")
        if token not in ROLES:
            raise InvalidToken("expired")
        return Principal(tenant_id="acme", user_id=7, role=token)


class Ticks:
    """Every question takes a second, every id is the next one."""

    def __init__(self) -> None:
        self._seconds = itertools.count()
        self._ids = itertools.count(1)

    def monotonic(self) -> float:
        return float(next(self._seconds))

    def token(self, bytes_of_entropy: int = 16) -> str:
        return f"new-{next(self._ids)}"


async def _page(request: Request) -> PlainTextResponse:
    if request.url.path == "/broken":
        raise RuntimeError("secret")
    return PlainTextResponse("the page")


PAGES = [Page("/", _page), Page("/broken", _page)]
LIMITS = Limits(request_bytes_max=1000, bulk_bytes_max=5000, body_timeout_s=0.05)


class Toy:
    """The application with a client that acts as an agent."""

    def __init__(self, **options: Any) -> None:
        self.deps = Deps()
        self.registry = CollectorRegistry()
        deps = self.deps

        class Probe:
            async def ready(self) -> Readiness:
                return deps.ready

        options = {"limits": LIMITS, "pages": PAGES, "allowed_origins": ("https://crm.example",)} | options
        self.app: Dispatcher = build_app(
            {BASE: ROUTES, "": [*health_routes(Probe()), metrics_route(self.registry, roles=None)]},
            self.deps,
            authenticator=Tokens(),
            clock=Ticks(),
            metrics=RequestMetrics(self.registry),
            **options,
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://hub",
            headers={"authorization": "Bearer agent"},
        )

    @property
    def last(self) -> Call[Any, Any, Any]:
        return self.deps.calls[-1]


@asynccontextmanager
async def running(**options: Any):
    made = Toy(**options)
    async with made.client:
        yield made
