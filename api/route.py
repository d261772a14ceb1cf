"""How a route is declared: once, and completely.

A handler's own signature says what its body and its query are made of; the
declaration beside it says the rest. Validation, authorization, limits and the
OpenAPI document are all read from it: nothing is described twice.

    @route("POST", "/notifications", summary="Create a notification", roles=PRODUCERS,
           responses={201: Created}, errors=(409,), idempotent=True)
    async def create(call: Call[Deps, CreateNotification, None]) -> Answer:
        return Answer(201, await create_notification(call.deps, call.principal, command_of(call.body)))
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import inspect as shapes

from api.merge import Patch
from api.problems import Headers
from api.query import PathReader, QueryReader
from api.types import Id
from api.validation import Validator
from hub.core.principal import ROLES, Principal, Role

D = TypeVar("D")
B = TypeVar("B")
Q = TypeVar("Q")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

EVERYONE: Final[tuple[Role, ...]] = ROLES
PEOPLE: Final[tuple[Role, ...]] = ("agent", "supervisor", "admin")
PRODUCERS: Final[tuple[Role, ...]] = ("supervisor", "admin", "service")
SUPERVISORS: Final[tuple[Role, ...]] = ("supervisor", "admin")
ADMINS: Final[tuple[Role, ...]] = ("admin",)

PathText = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
"""A name in a path: one segment, whatever its characters."""

_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")


class Idempotency(NamedTuple):
    """The caller's `Idempotency-Key`, and the SHA-256 of the bytes that it was sent with."""

    key: str
    fingerprint: bytes


class Call(msgspec.Struct, Generic[D, B, Q], kw_only=True, gc=False):
    """One request, proven and validated.

    `caller` is None only where the route is open to all. `parameters` are those of the path. `if_match` are the
    versions that the caller would change, None where any. `template` is the route's path, `path` the one that was
    called. `address` is the caller's, for the audit trail.
    """

    deps: D
    body: B
    query: Q
    caller: Principal | None
    parameters: Mapping[str, Any]
    request_id: str
    method: str
    path: str
    template: str
    idempotency: Idempotency | None = None
    if_match: tuple[int, ...] | None = None
    address: str | None = None

    @property
    def principal(self) -> Principal:
        """Who is calling. A route without roles has nobody: asking for them there is a fault of the route."""
        if self.caller is None:
            raise RuntimeError(f"{self.template} is open to all, and cannot ask who is calling")
        return self.caller

    def id(self, name: str = "id") -> int:
        """A path parameter that is an id."""
        return cast("int", self.parameters[name])

    def text(self, name: str) -> str:
        """A path parameter that is text."""
        return cast("str", self.parameters[name])


class Answer(msgspec.Struct, frozen=True):
    """What a handler answers. `body` is encoded as JSON; None is no body, bytes go as they are (`msgspec.Raw` too).

    `position` is the `Hub-Position` of the caller's stream. `is_replayed`: this is the first answer to
    an `Idempotency-Key`, once more.
    """

    status: int = 200
    body: Any = None
    headers: Headers = ()
    position: str | None = None
    is_replayed: bool = False
    media_type: str = "application/json"


Handler = Callable[[Call[D, B, Q]], Awaitable[Answer]]


class Route:
    """A declared route. `roles` None = open to all, without a token. Made by `route`, read by all else.

    `responses` are the types of the answers' bodies by status (None = no body), `errors` the statuses of the
    problems that its use case may answer; those that the mechanism itself answers are added by `problem_statuses`.
    `position`: its answers may have a `Hub-Position`.
    """

    def __init__(
        self,
        method: Method,
        path: str,
        handler: Handler[Any, Any, Any],
        *,
        summary: str,
        roles: tuple[Role, ...] | None,
        responses: Mapping[int, Any],
        errors: tuple[int, ...],
        idempotent: bool,
        bulk: bool,
        parameters: Mapping[str, Any],
        media_type: str,
        position: bool,
    ) -> None:
        if idempotent and method != "POST":
            raise TypeError(f"{method} {path}: only a POST takes an Idempotency-Key")
        self.method: Method = method
        self.path = path
        self.handler = handler
        self.name = cast("str", getattr(handler, "__name__", "handler"))
        self.description = (handler.__doc__ or "").strip()
        self.summary = summary
        self.roles = roles
        self.responses = dict(responses)
        self.errors = errors
        self.idempotent = idempotent
        self.bulk = bulk
        self.media_type = media_type
        self.position = position and roles is not None
        names = _PARAMETER.findall(path)
        if unknown := set(parameters) - set(names):
            raise TypeError(f"{method} {path}: no such parameter in the path: {', '.join(sorted(unknown))}")
        self.path_reader = PathReader({name: parameters.get(name, Id) for name in names})
        body, query = _kinds_of(handler)
        self.takes_patch = get_origin(body) is Patch
        self.body_kind: Any = get_args(body)[0] if self.takes_patch else body
        self.body: Validator[Any] | None = None if body is type(None) else _validator(self.body_kind)
        self.query: QueryReader[Any] | None = None if query is type(None) else QueryReader(query)

    @property
    def conditional(self) -> bool:
        """Whether it honours `If-Match`. A bulk body names the versions of its items itself."""
        return 412 in self.errors and not self.bulk

    @property
    def problem_statuses(self) -> tuple[int, ...]:
        """Every problem that it, or another method at its address, may answer, ascending."""
        # Whatever is called may come with a body that it does not take, and with a query that it does not know.
        statuses = {*self.errors, 405, 408, 413, 422, 500}
        if self.roles is not None:
            # 429: callers are limited by who they are. 503: keys that prove tokens, or the database, may be away.
            statuses |= {401, 403, 429, 503}
        if self.body:
            statuses |= {400, 415}
        if self.idempotent:
            statuses.add(409)
        return tuple(sorted(statuses))


def route(
    method: Method,
    path: str,
    *,
    summary: str,
    roles: tuple[Role, ...] | None,
    responses: Mapping[int, Any],
    errors: tuple[int, ...] = (),
    idempotent: bool = False,
    bulk: bool = False,
    parameters: Mapping[str, Any] | None = None,
    media_type: str = "application/json",
    position: bool = True,
) -> Callable[[Handler[D, B, Q]], Route]:
    """Declare a route; see `Route`. The handler's annotation `Call[Deps, Body, Query]` gives its body and query.

    A body is a `RequestBody` (a list in one, too), `Patch[RequestBody]`, or None; a query is a `RequestQuery`
    or None. `{name}` in `path` is one segment: an `Id`, or of the type that `parameters` gives it. `bulk`
    bodies may be larger.

    Raises:
        TypeError: the declaration contradicts itself, or uses a type that requests cannot have.
    """

    def declare(handler: Handler[D, B, Q]) -> Route:
        return Route(
            method,
            path,
            handler,
            summary=summary,
            roles=roles,
            responses=responses,
            errors=errors,
            idempotent=idempotent,
            bulk=bulk,
            parameters=parameters or {},
            media_type=media_type,
            position=position,
        )

    return declare


def _kinds_of(handler: Handler[Any, Any, Any]) -> tuple[Any, Any]:
    hints = get_type_hints(handler, include_extras=True)
    hints.pop("return", None)
    calls = [hint for hint in hints.values() if get_origin(hint) is Call]
    if len(hints) != 1 or len(calls) != 1:
        raise TypeError(f"{handler!r} must take one argument, annotated Call[Deps, Body, Query]")
    _, body, query = get_args(calls[0])
    return body, query


def _validator(kind: Any) -> Validator[Any]:
    shape = shapes.type_info(kind)
    if isinstance(shape, shapes.StructType) and not shape.forbid_unknown_fields:
        raise TypeError(f"{kind.__name__} must be a RequestBody: a misspelt field would be lost")
    return Validator(kind)
