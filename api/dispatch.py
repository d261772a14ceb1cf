"""The way of a request: from ASGI to a handler's `Call`, and from its `Answer` back.

One pass, without a middleware's wrapping: find the route, prove the caller, ask
for room, read, validate, call, answer. Each step may refuse, and every refusal
leaves by the same door, with a request id. What is no declared route goes to
`pages` (the lifespan too), and gets a request id all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Protocol, cast

import msgspec

from api.cors import Cors
from api.merge import Patch
from api.metrics import GONE, NO_ROUTE, RequestMetrics
from api.problems import (
    Headers,
    Problem,
    Refused,
    no_token,
    not_found,
    problem_for,
    wrong_method,
    wrong_role,
)
from api.request import (
    Disconnected,
    Heads,
    bearer_of,
    discard_body,
    has_body,
    heads_of,
    idempotency_of,
    if_match_of,
    read_body,
    request_id_of,
    require_json,
)
from api.route import Answer, Call, Route
from api.router import Place, Router
from api.validation import parse
from hub.app.errors import Invalid, Violation
from hub.auth.refusal import InvalidToken
from hub.core.principal import Principal

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Pages = Callable[[Scope, Receive, Send], Awaitable[None]]

API_ROOT: Final = b"/api/"
"""Below it nothing but declared routes: what is not known there is answered by a problem, never by a page."""

_encode: Final = msgspec.json.Encoder().encode

_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
"""What is one person's is kept by no cache, and is what it says it is."""


class Authenticator(Protocol):
    """Proves who is calling."""

    async def verify(self, token: str) -> Principal:
        """Raises `hub.auth.InvalidToken` where the token proves nothing now."""
        ...


class Limiter(Protocol):
    """Asked before each handler whether there is room for the call."""

    async def admit(self, principal: Principal | None, route: Route, address: str | None) -> Headers:
        """The headers that tell how much room is left. Raises `Refused`."""
        ...


class Refusals(Protocol):
    """Told of each credential that was refused."""

    async def record(self, refusal: InvalidToken, *, address: str | None, request_id: str | None) -> None: ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one request. Bytes of a body, of a bulk body; seconds in which a body must arrive."""

    request_bytes_max: int = 1 << 20
    bulk_bytes_max: int = 16 << 20
    body_timeout_s: float = 30.0


class Clock(Protocol):
    def monotonic(self) -> float: ...
    def token(self, bytes_of_entropy: int = 16) -> str: ...


class Dispatcher:
    """The ASGI application. Everything is built before the first request; nothing changes after."""

    def __init__(
        self,
        mounts: Mapping[str, Iterable[Route]],
        deps: object,
        *,
        authenticator: Authenticator,
        clock: Clock,
        metrics: RequestMetrics,
        pages: Pages,
        limits: Limits,
        cors: Cors,
        limiter: Limiter | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self.router = Router()
        for prefix, routes in mounts.items():
            self.router.add(prefix, routes)
        self._deps = deps
        self._authenticator = authenticator
        self._clock = clock
        self._metrics = metrics
        self._pages = pages
        self._limits = limits
        self._cors = cors
        self._limiter = limiter
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        began = self._clock.monotonic()
        method: str = scope["method"]
        heads = heads_of(scope["headers"])
        request_id = request_id_of(heads, self._clock.token)
        path = _path_of(scope)
        found = self.router.find(path)
        template = found[0].template if found is not None else NO_ROUTE
        try:
            if found is not None:
                answer = await self._answer(scope, receive, heads, path, found, request_id)
            elif path.startswith(API_ROOT):
                answer = _answer_of(not_found(), path, request_id)
            else:
                status = await _serve_page(self._pages, scope, receive, send, request_id)
                self._metrics.observe(method, template, status, self._clock.monotonic() - began)
                return
        except Disconnected:
            self._metrics.observe(method, template, GONE, self._clock.monotonic() - began)
            return
        except Exception as error:
            problem = problem_for(error)
            if problem.status == 500:
                # Nothing of the request but its route: logs carry no tokens, bodies or addresses.
                log.exception("%s %s failed", method, template, extra={"request_id": request_id})
            answer = _answer_of(problem, path, request_id)
        self._metrics.observe(method, template, answer.status, self._clock.monotonic() - began)
        more = self._cors.headers(heads.get(b"origin"))
        await _send(send, answer, request_id, more, is_head=method == "HEAD", unread=_unread(answer, heads, receive))

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        heads: Heads,
        path: bytes,
        found: tuple[Place, list[bytes]],
        request_id: str,
    ) -> Answer:
        place, segments = found
        method: str = scope["method"]
        route = place.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            if method != "OPTIONS":
                raise Refused(wrong_method(place.allow))
            return self._options(heads, place.allow)
        client: Sequence[Any] | None = scope.get("client")
        address = client[0] if client else None
        principal = None if route.roles is None else await self._authorized(route, heads, address, request_id)
        room = () if self._limiter is None else await self._limiter.admit(principal, route, address)
        call = await self._call(scope, receive, heads, route, segments)
        call.caller, call.request_id, call.address = principal, request_id, address
        call.path, call.template = path.decode("latin-1"), place.template
        answer = await route.handler(call)
        if answer.status not in route.responses:
            raise RuntimeError(f"{place.template} answered {answer.status}, which it does not declare")
        return msgspec.structs.replace(answer, headers=answer.headers + room) if room else answer

    def _options(self, heads: Heads, allow: str) -> Answer:
        headers: Headers = (("allow", allow),)
        origin = heads.get(b"origin")
        if origin is not None and b"access-control-request-method" in heads:
            headers += self._cors.preflight(origin, allow)
        return Answer(204, headers=headers)

    async def _authorized(self, route: Route, heads: Heads, address: str | None, request_id: str) -> Principal:
        token = bearer_of(heads)
        if not token:
            raise Refused(no_token())
        try:
            principal = await self._authenticator.verify(token)
        except InvalidToken as refusal:
            if self._refusals is not None:
                await self._refusals.record(refusal, address=address, request_id=request_id)
            raise
        if principal.role not in cast("tuple[str, ...]", route.roles):
            raise Refused(wrong_role(cast("tuple[str, ...]", route.roles)))
        return principal

    async def _call(
        self, scope: Scope, receive: Receive, heads: Heads, route: Route, segments: list[bytes]
    ) -> Call[Any, Any, Any]:
        """Everything that the caller said, read and validated; all faults in one refusal."""
        errors: list[Violation] = []
        parameters: dict[str, Any] = {}
        query = body = idempotency = if_match = None
        data = await self._data(receive, heads, route)
        try:
            parameters = route.path_reader.read(segments) if segments else parameters
        except Invalid as invalid:
            errors += invalid.errors
        query_string: bytes = scope["query_string"]
        try:
            query = _query_of(route, query_string)
        except Invalid as invalid:
            errors += invalid.errors
        try:
            body = _body_of(route, data)
        except Invalid as invalid:
            errors += invalid.errors
        try:
            idempotency = idempotency_of(heads, query_string, data) if route.idempotent else None
            if_match = if_match_of(heads) if route.conditional else None
        except Invalid as invalid:
            errors += invalid.errors
        if errors:
            raise Invalid(errors)
        return Call(
            deps=self._deps,
            body=body,
            query=query,
            caller=None,
            parameters=parameters,
            request_id="",
            method=route.method,
            path="",
            template=route.path,
            idempotency=idempotency,
            if_match=if_match,
        )

    async def _data(self, receive: Receive, heads: Heads, route: Route) -> bytes:
        limits = self._limits
        bytes_max = limits.bulk_bytes_max if route.bulk else limits.request_bytes_max
        if not has_body(heads):
            return b""
        if route.body is not None:
            require_json(heads, is_patch=route.takes_patch)
        return await read_body(receive, heads, bytes_max, limits.body_timeout_s)


def _query_of(route: Route, query_string: bytes) -> Any:
    if route.query is not None:
        return route.query.read(query_string)
    if query_string:
        raise Invalid([("query", "This address takes no query parameters.")])
    return None


def _body_of(route: Route, data: bytes) -> Any:
    if route.body is None:
        # An empty object says as little as no body, and many clients cannot send less.
        if data.strip() not in (b"", b"{}"):
            raise Invalid([("$", "This address takes no body.")])
        return None
    if route.takes_patch:
        return Patch(route.body, parse(data))
    return route.body.decode(data)


def _path_of(scope: Scope) -> bytes:
    """The path as it came, without the prefix under which a proxy shows the hub."""
    path: bytes = scope.get("raw_path") or cast("str", scope["path"]).encode()
    root = cast("str", scope.get("root_path", "")).encode()
    return path[len(root) :] if root and path.startswith(root + b"/") else path


def _answer_of(problem: Problem, path: bytes, request_id: str) -> Answer:
    document = problem.document(path.decode("latin-1"), request_id)
    return Answer(problem.status, document, problem.headers, media_type="application/problem+json")


def _unread(answer: Answer, heads: Heads, receive: Receive) -> Receive | None:
    """Where the rest of a body that was too large comes from; None where its sender still waits to be asked for it."""
    return receive if answer.status == 413 and b"expect" not in heads else None


async def _send(
    send: Send, answer: Answer, request_id: str, more: Headers, *, is_head: bool, unread: Receive | None
) -> None:
    body: bytes = b""
    if answer.body is not None:
        body = answer.body if isinstance(answer.body, bytes) else _encode(answer.body)
    headers = [(b"x-request-id", request_id.encode()), *_ALWAYS]
    if answer.status != 204:
        headers.append((b"content-length", str(len(body)).encode()))
        if answer.body is not None:
            headers.append((b"content-type", answer.media_type.encode()))
    if answer.position is not None:
        headers.append((b"hub-position", answer.position.encode()))
    if answer.is_replayed:
        headers.append((b"idempotency-replayed", b"true"))
    headers.extend((name.encode("latin-1"), value.encode("latin-1")) for name, value in (*answer.headers, *more))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if unread is not None:
        # To close now would reset the connection, and the answer would be lost with what its reader still sends.
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await discard_body(unread)
        body = b""
    await send({"type": "http.response.body", "body": b"" if is_head else body})


async def _serve_page(pages: Pages, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
    """Hand over to the pages; the status that they answered. What fails before they answer is raised."""
    status: int | None = None
    # Starlette's own copy, else one request's id would show in another's problem.
    scope["state"] = {**scope.get("state", {}), "request_id": request_id}

    async def send_with_id(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
        await send(message)

    try:
        await pages(scope, receive, send_with_id)
    except Exception:
        if status is None:
            raise
        log.exception("a page failed", extra={"request_id": request_id})
    return status or 500
