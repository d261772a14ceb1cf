"""What a client needs of REST: one request, repeated until it is answered, never done twice.

Owns the repetition: a write that got no answer, or a 503, may have happened, so
it is sent again with the same `Idempotency-Key`. Does not own the routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from hub import clock as machine
from hub.client.errors import Refused, Unreachable
from hub.client.handshake import PATH as SOCKET_PATH
from hub.client.place import Place
from hub.client.timing import Backoff, Clock, LoopClock, pause

_BASE: Final = "/api/v1"
_AGAIN: Final = frozenset({429, 502, 503, 504})
_ATTEMPTS_MAX: Final = 4
"""Over a restart of a node; past that a person should hear of it."""
_RETRY_AFTER_MAX_S: Final = 10.0
_TIMEOUT_S: Final = 15.0
"""Longer than the hub waits for the first of two requests with one key."""


class Answer(msgspec.Struct, frozen=True):
    """What came back. `place` is the caller's stream as of it (`Hub-Position`): a first cursor to listen from."""

    status: int
    data: Any
    place: Place | None


class HubRest:
    """A session of HTTP with one hub, as `async with`. `url` is the hub's address, http(s) or ws(s)."""

    def __init__(
        self,
        url: str,
        get_token: Callable[[], Awaitable[str]],
        *,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._get_token = get_token
        self._clock = clock or LoopClock()
        self._http = httpx.AsyncClient(base_url=rest_url(url), timeout=_TIMEOUT_S, transport=transport)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    async def get(self, path: str, **query: Any) -> Answer:
        """Read `path`, such as `/notifications/unread`. Raises as `post`."""
        return await self._request("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Answer:
        """Write, at most once however often it must be sent.

        Raises:
            Refused: the hub said no; `sentences` has one for each field.
            Unreachable: nothing answered; it may have happened. Repeating it with the same key is safe.
        """
        headers = {"Idempotency-Key": idempotency_key or machine.token()}
        return await self._request("POST", path, content=msgspec.json.encode(body), headers=headers)

    async def _request(self, method: str, path: str, **request: Any) -> Answer:
        backoff = Backoff(base_s=1.0, max_s=_RETRY_AFTER_MAX_S, stable_s=0.0)
        has_left = False
        while True:
            last: Exception
            try:
                return await self._once(method, path, **request)
            except Refused as exc:
                if exc.status not in _AGAIN and exc.retry_after_s is None:
                    raise
                has_left = has_left or exc.status != HTTPStatus.TOO_MANY_REQUESTS
                last, wait_s = exc, exc.retry_after_s
            except httpx.TransportError as exc:
                has_left = has_left or not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout)
                where, why = self._http.base_url.netloc.decode("ascii"), str(exc) or type(exc).__name__
                last, wait_s = Unreachable(f"no answer from {where}: {why}", may_have_happened=has_left), None
            delay_s = backoff.next(self._clock.unit())
            if backoff.attempt >= _ATTEMPTS_MAX or (wait_s or 0) > _RETRY_AFTER_MAX_S:
                raise last
            await pause(self._clock, delay_s if wait_s is None else wait_s)

    async def _once(self, method: str, path: str, headers: Mapping[str, str] | None = None, **request: Any) -> Answer:
        sent = {"Authorization": f"Bearer {await self._get_token()}", "Accept": "application/json", **(headers or {})}
        if "content" in request:
            sent["Content-Type"] = "application/json"
        response = await self._http.request(method, _BASE + path, headers=sent, **request)
        try:
            data: Any = msgspec.json.decode(response.content) if response.content else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            data = None
        if response.is_success:
            return Answer(response.status_code, data, _place_of(response.headers.get("Hub-Position")))
        problem = data if isinstance(data, dict) else {"title": response.reason_phrase or "refused"}
        retry_after = response.headers.get("Retry-After", "")
        raise Refused(
            {"status": response.status_code, **problem}, float(retry_after) if retry_after.isdecimal() else None
        )


def rest_url(url: str) -> str:
    """The hub's address for HTTP, from any of its addresses.

    Raises:
        ValueError: not an http, https, ws or wss address of a host.
    """
    parts = urlsplit(url)
    scheme = {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url!r} is not the address of a hub, such as http://127.0.0.1:8000")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/").removesuffix(SOCKET_PATH), "", ""))


def _place_of(position: str | None) -> Place | None:
    # An epoch may have colons; a number has none.
    epoch, _, seq = (position or "").rpartition(":")
    return Place(epoch, int(seq)) if epoch and seq.isdecimal() else None
