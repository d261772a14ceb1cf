"""Which web pages may call: an allow-list of origins (the Fetch standard, "CORS protocol").

No cookie ever proves a caller here, so credentials are never allowed to a page:
it sends its token in a header, which the list admits. The hub's own page needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from api.problems import Headers

REQUEST_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-Id"
ANSWER_HEADERS: Final = (
    "Allow, ETag, Hub-Position, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, RateLimit-Limit,"
    " RateLimit-Remaining, RateLimit-Reset, Retry-After, WWW-Authenticate, X-Request-Id"
)
PREFLIGHT_MAX_AGE_S: Final = 600
"""Ten minutes: the least that every browser honours, so that a changed list is soon in force."""


class Cors:
    """The list. An origin on it is matched whole, in lower case."""

    def __init__(self, allowed_origins: Iterable[str] = ()) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower().encode() for origin in allowed_origins)
        self._vary: Headers = (("vary", "Origin"),) if self._allowed else ()

    def headers(self, origin: bytes | None) -> Headers:
        """What every answer carries. Caches must know that it differs by origin even where none was sent."""
        if origin is None or origin.lower() not in self._allowed:
            return self._vary
        return (
            ("access-control-allow-origin", origin.decode("latin-1")),
            ("access-control-expose-headers", ANSWER_HEADERS),
            *self._vary,
        )

    def preflight(self, origin: bytes, allow: str) -> Headers:
        """What the answer to a preflight carries beside `headers`: nothing, where the origin is not on the list."""
        if origin.lower() not in self._allowed:
            return ()
        return (
            ("access-control-allow-methods", allow),
            ("access-control-allow-headers", REQUEST_HEADERS),
            ("access-control-max-age", str(PREFLIGHT_MAX_AGE_S)),
        )
