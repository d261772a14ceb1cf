"""How an upgrade request is parsed and answered, and which are refused before any token is looked at."""

from __future__ import annotations

import http
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from hub.core.frames import SUBPROTOCOLS

if TYPE_CHECKING:
    from hub.gateway.node import Node

PATH: Final = "/api/v1/ws"
VERSION: Final = "13"
NOT_A_HANDSHAKE: Final = Response(
    400, "Bad Request", Headers({"Connection": "close", "Content-Length": "0"}), b""
).serialize()
"""The answer to what is HTTP, but can begin no WebSocket: another method, a body."""
_DEFLATE: Final = [
    ServerPerMessageDeflateFactory(
        server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
    )
]
quiet_log = logging.getLogger("hub.gateway.wire")
# At DEBUG websockets logs headers and payloads, and with them tokens. Not even a root logger's level brings that here.
quiet_log.setLevel(logging.WARNING)


def parser(*, frame_bytes_max: int, compress: bool) -> ServerProtocol:
    """The `websockets` half of one connection, which has not yet seen its request."""
    return ServerProtocol(
        extensions=_DEFLATE if compress else None,
        subprotocols=cast(Any, SUBPROTOCOLS),
        select_subprotocol=_select_subprotocol,
        max_size=frame_bytes_max,
        logger=quiet_log,
    )


def _select_subprotocol(_: ServerProtocol, offered: Any) -> Any:
    """The client's first that we speak; none where it offers none (JSON then); 400 where it offers only others."""
    if not offered:
        return None
    for name in offered:
        if name in SUBPROTOCOLS:
            return name
    raise NegotiationError("expected one of " + ", ".join(SUBPROTOCOLS))


def problem(status: int, title: str, detail: str) -> dict[str, Any]:
    """An RFC 9457 object for what no use case answered."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def problem_response(
    status: http.HTTPStatus, problem: dict[str, Any], headers: dict[str, str] | None = None
) -> Response:
    """A refusal of the handshake, after which the connection is closed."""
    body = msgspec.json.encode(problem)
    fields = Headers(
        {
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **(headers or {}),
        }
    )
    return Response(status.value, status.phrase, fields, body)


class Refusal(NamedTuple):
    """What a handshake is answered by."""

    status: http.HTTPStatus
    problem: dict[str, Any]
    headers: dict[str, str] | None = None


def why_refused(node: Node, request: Request) -> Refusal | None:
    """None where the handshake may go on.

    A browser always says its `Origin`, and may come from the page that this host serves or from the allow-list; who
    says none is not a browser, and has no cookies that another site could use.
    """
    path = request.path.partition("?")[0]
    if path not in (PATH, node.root_path + PATH):
        return Refusal(http.HTTPStatus.NOT_FOUND, problem(404, "Not found", f"the live protocol is at {PATH}"))
    try:
        origin = request.headers.get("Origin")
        host = request.headers.get("Host")
        version = request.headers.get("Sec-WebSocket-Version")
        request.headers.get("Authorization")
    except MultipleValuesError as exc:
        return Refusal(
            http.HTTPStatus.BAD_REQUEST, problem(400, "Bad request", f"the header {exc} came more than once")
        )
    if version is not None and version != VERSION:
        # RFC 6455 §4.4: the client is told which one would do.
        return Refusal(
            http.HTTPStatus.UPGRADE_REQUIRED,
            problem(426, "Upgrade Required", f"the version of the WebSocket protocol is {VERSION}"),
            {"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket"},
        )
    if origin is not None and not node.is_origin_allowed(origin) and not _is_of(origin, host):
        return Refusal(http.HTTPStatus.FORBIDDEN, problem(403, "Forbidden", "this Origin is not on the allow-list"))
    if node.is_draining:
        return Refusal(http.HTTPStatus.SERVICE_UNAVAILABLE, problem(503, "Unavailable", "this node is stopping"))
    return None


def _is_of(origin: str, host: str | None) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:  # an address in brackets that is none
        return False
