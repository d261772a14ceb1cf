"""From an address and a token to an open WebSocket, or to the reason why there is none."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from hub.client.returning import End
from hub.client.tuning import Tuning

PATH: Final = "/api/v1/ws"
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def socket_url(url: str) -> str:
    """The live protocol's address at a hub's: `http://host` becomes `ws://host/api/v1/ws`.

    Raises:
        ValueError: not an http, https, ws or wss address of a host.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a hub, such as http://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith(PATH) else path + PATH, "", ""))


async def open_socket(url: str, token: str, subprotocol: str, tuning: Tuning) -> ClientConnection | End:
    """Connect, with the token in a header, never in the URL. An `End` where that failed."""
    try:
        return await connect(
            url,
            subprotocols=[Subprotocol(subprotocol)],
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            open_timeout=tuning.open_timeout_s,
            close_timeout=tuning.close_timeout_s,
            # The hub pings; and it says heartbeats, which prove more than a pong does: that it is not stuck.
            ping_interval=None,
            max_size=tuning.frame_bytes_max,
        )
    except InvalidStatus as exc:
        return _refused(exc)
    except (OSError, WebSocketException) as exc:
        return End(reason=_sentence(exc))


def _refused(exc: InvalidStatus) -> End:
    """The hub, or what stands before it, answered the upgrade with an HTTP status."""
    response = exc.response
    status = response.status_code
    try:
        problem = msgspec.json.decode(response.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = {}
    detail = problem.get("detail") or response.reason_phrase or _phrase(status)
    retry_after = response.headers.get("Retry-After", "")
    return End(
        reason=f"{detail} (HTTP {status})",
        status=status,
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )


def _sentence(exc: Exception) -> str:
    if isinstance(exc, ConnectionRefusedError):
        return "nobody listens there"
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "refused"
