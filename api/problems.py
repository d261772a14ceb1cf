"""Every refusal as an RFC 9457 problem: one table from what was raised to what is answered.

The same object goes into an HTTP answer and into an `error` frame of a socket.
Titles and details never repeat what the caller sent, except names of fields in
ASCII, and never tell of what the caller may not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from api.validation import Malformed
from hub.app.errors import (
    AppError,
    Conflict,
    Forbidden,
    IdempotencyBusy,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from hub.auth.refusal import InvalidToken, KeysUnavailable
from hub.core.log import LogUnavailable

Headers = tuple[tuple[str, str], ...]
E = TypeVar("E", bound=Exception)

TYPE_ROOT: Final = "/problems/"
"""What `type` begins with; the rest is the slug, on which clients may branch."""

AWAY_RETRY_S: Final = 2
"""A restart of PostgreSQL, or of an issuer, takes seconds: sooner would only add load to it."""


class Problem(msgspec.Struct, frozen=True):
    """What is answered. `more` are further members; `headers` go with an HTTP answer."""

    status: int
    slug: str
    title: str
    detail: str
    more: dict[str, Any] = {}
    headers: Headers = ()

    def document(self, instance: str, request_id: str) -> dict[str, Any]:
        """The RFC 9457 object. `instance` is the path or the method that was called."""
        return {
            "type": TYPE_ROOT + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
            **self.more,
        }


class Refused(Exception):
    """The HTTP layer itself refuses: a wrong method, a wrong content type, a body too large …"""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_of(error: Exception, instance: str, request_id: str) -> dict[str, Any]:
    """What REST answers to `error`, as a value; also what a socket's call gets."""
    return problem_for(error).document(instance, request_id)


def problem_for(error: Exception) -> Problem:
    """The problem that tells of `error`. What is not in the table is a fault of the hub, and tells nothing."""
    if isinstance(error, Refused):
        return error.problem
    for kind in type(error).__mro__:
        make = _TABLE.get(kind)
        if make is not None:
            return make(error)
    return Problem(
        500, "internal", "Internal Server Error", "The hub failed. The fault is logged under this request id."
    )


def not_found() -> Problem:
    return Problem(404, "not-found", "Not Found", "There is nothing at this address.")


def wrong_method(allow: str) -> Problem:
    return Problem(
        405, "method-not-allowed", "Method Not Allowed", f"This address takes {allow}.", headers=(("allow", allow),)
    )


def too_large(bytes_max: int) -> Problem:
    # Closing is what stops a sender that is still sending.
    return Problem(
        413,
        "too-large",
        "Content Too Large",
        f"The body may have at most {bytes_max} bytes.",
        headers=(("connection", "close"),),
    )


def too_slow(seconds: float) -> Problem:
    return Problem(
        408,
        "timeout",
        "Request Timeout",
        f"The body did not arrive in {seconds:g} s.",
        headers=(("connection", "close"),),
    )


def wrong_content_type(accepted: str) -> Problem:
    return Problem(
        415,
        "unsupported-media-type",
        "Unsupported Media Type",
        f"The body must be {accepted}, in UTF-8, not compressed.",
    )


def no_token() -> Problem:
    """RFC 6750, 3.1: a caller that sent no credentials is told the scheme, and no error code."""
    return Problem(
        401,
        "unauthorized",
        "Unauthorized",
        "Send a token: Authorization: Bearer …",
        headers=(("www-authenticate", 'Bearer realm="hub"'),),
    )


def wrong_role(roles: tuple[str, ...]) -> Problem:
    return Problem(
        403,
        "forbidden",
        "Forbidden",
        f"This is for: {', '.join(roles)}.",
        headers=(("www-authenticate", 'Bearer realm="hub", error="insufficient_scope"'),),
    )


def _invalid(error: Invalid) -> Problem:
    errors = [{"path": path, "message": message} for path, message in error.errors]
    return Problem(422, "invalid", "Unprocessable Content", error.detail, {"errors": errors})


def _conflict(error: Conflict) -> Problem:
    return Problem(409, "conflict", "Conflict", error.detail, error.extra)


def _token(error: InvalidToken) -> Problem:
    challenge = f'Bearer realm="hub", error="invalid_token", error_description="{error}"'
    return Problem(
        401,
        "invalid-token",
        "Unauthorized",
        str(error),
        {"reason": error.reason},
        (("www-authenticate", challenge.encode("ascii", "replace").decode()),),
    )


def too_many(retry_after_s: float, detail: str, room: Headers = ()) -> Problem:
    """Over a limit; `room` are the headers that tell of it."""
    return Problem(429, "too-many-requests", "Too Many Requests", detail, headers=_retry(retry_after_s) + room)


def _retry(seconds: float) -> Headers:
    return (("retry-after", str(max(1, math.ceil(seconds)))),)


def _away(detail: str, retry_after_s: float = AWAY_RETRY_S) -> Problem:
    return Problem(503, "unavailable", "Service Unavailable", detail, headers=_retry(retry_after_s))


_TABLE: dict[type, Callable[[Any], Problem]] = {}


def _on(kind: type[E], make: Callable[[E], Problem]) -> None:
    _TABLE[kind] = make


_on(Malformed, lambda error: Problem(400, "malformed", "Bad Request", error.detail))
_on(Invalid, _invalid)
_on(NotFound, lambda error: Problem(404, "not-found", "Not Found", error.detail))
_on(Forbidden, lambda error: Problem(403, "forbidden", "Forbidden", error.detail))
_on(Conflict, _conflict)
_on(PreconditionFailed, lambda error: Problem(412, "precondition-failed", "Precondition Failed", error.detail))
_on(
    IdempotencyMismatch,
    lambda error: Problem(422, "idempotency-mismatch", "Unprocessable Content", error.detail),
)
_on(
    IdempotencyBusy,
    lambda error: Problem(409, "idempotency-busy", "Conflict", error.detail, headers=_retry(error.retry_after_s)),
)
_on(Unavailable, lambda error: _away(error.detail, error.retry_after_s))
_on(AppError, lambda error: Problem(400, "refused", "Bad Request", error.detail))
_on(InvalidToken, _token)
_on(
    LogUnavailable,
    lambda _: _away("The database cannot be reached. A write may have happened: repeat it with its Idempotency-Key."),
)
# Nobody can say whether the token is good: a client that threw it away would be wrong.
_on(KeysUnavailable, lambda _: _away("The keys that prove tokens cannot be had now."))
