"""The HTTP application, put together from declared routes and from what they need."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.cors import Cors
from api.dispatch import Authenticator, Clock, Dispatcher, Limiter, Limits, Refusals
from api.metrics import RequestMetrics
from api.problems import Problem, not_found, problem_for, wrong_method
from api.route import Route

BASE: Final = "/api/v1"

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def build_app(
    mounts: Mapping[str, Iterable[Route]],
    deps: object,
    *,
    authenticator: Authenticator,
    clock: Clock,
    metrics: RequestMetrics,
    limits: Limits | None = None,
    allowed_origins: Iterable[str] = (),
    limiter: Limiter | None = None,
    refusals: Refusals | None = None,
    pages: Sequence[BaseRoute] = (),
    lifespan: Lifespan | None = None,
) -> Dispatcher:
    """One ASGI application. `mounts` are the routes by prefix: those of the API under `BASE`, probes under "".

    `deps` is handed to every handler as `Call.deps`. `pages` are Starlette routes for all that is not declared
    and not under /api/; `lifespan` is run by the server around all requests.

    Raises:
        ValueError: two routes have one method and path.
    """
    site = Starlette(
        routes=pages,
        lifespan=lifespan or _no_lifespan,
        exception_handlers={HTTPException: _page_problem, Exception: _page_problem},
    )
    # A path with a slash too many is another path, here as among the declared ones.
    site.router.redirect_slashes = False
    return Dispatcher(
        mounts,
        deps,
        authenticator=authenticator,
        clock=clock,
        metrics=metrics,
        pages=site,
        limits=limits or Limits(),
        cors=Cors(allowed_origins),
        limiter=limiter,
        refusals=refusals,
    )


@asynccontextmanager
async def _no_lifespan(_: Any) -> AsyncGenerator[None]:
    yield


async def _page_problem(request: Request, error: Exception) -> Response:
    """Below the pages, too, a refusal is a problem. Starlette logs and raises again what is a fault."""
    problem = problem_for(error)
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        match error.status_code:
            case 404:
                problem = not_found()
            case 405:
                problem = wrong_method(headers.get("Allow", "GET, HEAD"))
            case status:
                phrase = HTTPStatus(status).phrase
                problem = Problem(status, phrase.lower().replace(" ", "-"), phrase, str(error.detail))
    document = problem.document(request.url.path, request.state.request_id)
    return Response(
        msgspec.json.encode(document), problem.status, dict(problem.headers), media_type="application/problem+json"
    )
