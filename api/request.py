"""The parts of a request that are not JSON: its headers, and the bytes of its body within their bound."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from hashlib import sha256
from typing import Any, Final, TypeVar, cast

from api.problems import Problem, Refused, too_large, too_slow, wrong_content_type
from api.route import Idempotency
from hub.app.errors import Invalid

T = TypeVar("T")

Heads = dict[bytes, bytes]
Receive = Callable[[], Awaitable[Any]]

_READ: Final = frozenset(
    {
        b"access-control-request-method",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"idempotency-key",
        b"if-match",
        b"origin",
        b"transfer-encoding",
        b"x-request-id",
    }
)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_TAG: Final = re.compile(rb'(W/)?"([\x21\x23-\x7e]*)"')
_VERSION: Final = re.compile(rb"[0-9]{1,16}")

_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
"""What clients really send, so that most requests need no parsing here."""
_UTF_8: Final = frozenset({"utf-8", '"utf-8"', "utf8"})


_LINGER_BYTES_MAX: Final = 64 << 20
_LINGER_S: Final = 5.0
"""How much is read, and for how long, of what nobody wants, so that its sender gets to read why."""


class Disconnected(Exception):
    """The caller went away before its body was here: there is nobody to answer."""


def heads_of(headers: Iterable[tuple[bytes, bytes]]) -> Heads:
    """The headers that are read anywhere. A repeated one is joined by a comma (RFC 9110, 5.2)."""
    heads: Heads = {}
    for name, value in headers:
        if name in _READ:
            heads[name] = heads[name] + b", " + value if name in heads else value
    return heads


def request_id_of(heads: Heads, new_id: Callable[[], str]) -> str:
    """The caller's, where it can go into any log and header as it is; else a new one."""
    given = heads.get(b"x-request-id")
    return given.decode() if given is not None and _REQUEST_ID.fullmatch(given) else new_id()


def bearer_of(heads: Heads) -> str | None:
    """The credential, or None where no Bearer was sent. What is no ASCII comes as it can never be valid."""
    scheme, _, credential = heads.get(b"authorization", b"").partition(b" ")
    return credential.strip().decode("ascii", "replace") if scheme.lower() == b"bearer" else None


def idempotency_of(heads: Heads, query_string: bytes, body: bytes) -> Idempotency | None:
    """The key with the fingerprint of what it stands for: the body, and the query where there is one.

    Raises:
        Invalid: the key is no 1 to 255 visible ASCII characters.
    """
    key = heads.get(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Invalid([("header.Idempotency-Key", "Must be 1 to 255 visible ASCII characters.")])
    return Idempotency(key.decode(), sha256(query_string + b"\0" + body if query_string else body).digest())


def if_match_of(heads: Heads) -> tuple[int, ...] | None:
    """The versions named by `If-Match`, None where any will do (`*`, or no header).

    A weak tag, and one that is no version, match nothing (RFC 9110, 13.1.1).

    Raises:
        Invalid: it is no list of entity tags.
    """
    header = heads.get(b"if-match")
    if header is None or header.strip() == b"*":
        return None
    versions: list[int] = []
    for part in header.split(b","):
        tag = _TAG.fullmatch(part.strip())
        if tag is None:
            raise Invalid([("header.If-Match", 'Must be a version in quotes, such as "3".')])
        if tag[1] is None and _VERSION.fullmatch(tag[2]):
            versions.append(int(tag[2]))
    return tuple(versions)


def has_body(heads: Heads) -> bool:
    return b"transfer-encoding" in heads or heads.get(b"content-length", b"0") != b"0"


def require_json(heads: Heads, *, is_patch: bool) -> None:
    """Raises:
    Refused: 415, the body is declared to be something else, compressed, or in another encoding.
    """
    accepted = "application/merge-patch+json or application/json" if is_patch else "application/json"
    if heads.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(wrong_content_type(accepted))
    header = heads.get(b"content-type", b"")
    if header in _JSON:
        return
    kind, *parameters = (part.strip() for part in header.decode("latin-1").lower().split(";"))
    good = kind == "application/json" or (is_patch and kind == "application/merge-patch+json")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        good = good and (name != "charset" or value in _UTF_8)
    if not good:
        raise Refused(wrong_content_type(accepted))


async def read_body(receive: Receive, heads: Heads, bytes_max: int, timeout_s: float) -> bytes:
    """The whole body. Refuses as soon as it is known to be too large, and reads no further then.

    Raises:
        Refused: 413 too large, 408 not here within `timeout_s` seconds, 400 no valid length.
        Disconnected: the caller went away.
    """
    declared = heads.get(b"content-length")
    if declared is not None:
        if not declared.isdigit():
            raise Refused(Problem(400, "malformed", "Bad Request", "Content-Length is no number."))
        # Its digits are counted first: Python refuses to read thousands of them.
        if len(declared) > 18 or int(declared) > bytes_max:
            raise Refused(too_large(bytes_max))
    reading = _read_parts(receive, bytes_max)
    try:
        # Nearly always the whole body is there already: then it is read without a timer and without waiting.
        awaited = reading.send(None)
    except StopIteration as whole:
        return cast("bytes", whole.value)
    try:
        async with asyncio.timeout(timeout_s):
            return await _go_on(reading, awaited)
    except TimeoutError:
        raise Refused(too_slow(timeout_s)) from None


@types.coroutine
def _go_on(begun: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine that has been run by hand up to where it waits for `awaited`."""
    while True:
        try:
            try:
                sent = yield awaited
            except BaseException as error:
                awaited = begun.throw(error)
            else:
                awaited = begun.send(sent)
        except StopIteration as ended:
            return cast("T", ended.value)


async def discard_body(receive: Receive) -> None:
    """Read what is left of a body that was refused already, within bounds, and forget it."""
    size = 0
    try:
        async with asyncio.timeout(_LINGER_S):
            while size <= _LINGER_BYTES_MAX:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _read_parts(receive: Receive, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise Refused(too_large(bytes_max))
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
