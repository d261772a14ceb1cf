"""Which upgrade requests are refused, before any token is looked at."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from websockets.datastructures import MultipleValuesError
from websockets.http11 import Request

if TYPE_CHECKING:
    from hub.gateway.node import Node

PATH: Final = "/api/v1/ws"


def problem(status: int, title: str, detail: str) -> dict[str, Any]:
    """An RFC 9457 object for what no use case answered."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def why_refused(node: Node, request: Request) -> tuple[http.HTTPStatus, dict[str, Any]] | None:
    """Status and problem, or None where the handshake may go on.

    A browser always says its `Origin`, and may come from the page that this host serves or from the allow-list; who
    says none is not a browser, and has no cookies that another site could use.
    """
    path = request.path.partition("?")[0]
    if path not in (PATH, node.root_path + PATH):
        return http.HTTPStatus.NOT_FOUND, problem(404, "Not found", f"the live protocol is at {PATH}")
    try:
        origin = request.headers.get("Origin")
        host = request.headers.get("Host")
        request.headers.get("Authorization")
    except MultipleValuesError as exc:
        return http.HTTPStatus.BAD_REQUEST, problem(400, "Bad request", f"the header {exc} came more than once")
    if origin is not None and not node.is_origin_allowed(origin) and not _is_of(origin, host):
        return http.HTTPStatus.FORBIDDEN, problem(403, "Forbidden", "this Origin is not on the allow-list")
    if node.is_draining:
        return http.HTTPStatus.SERVICE_UNAVAILABLE, problem(503, "Unavailable", "this node is stopping")
    return None


def _is_of(origin: str, host: str | None) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:  # an address in brackets that is none
        return False
