"""The token in use, and when to fetch the next one.

Owns the reading of a token's life. Does not own whether it is genuine: that is
the hub's to say, and its word is the close code 4401.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from hub.client.timing import Clock

GetToken = Callable[[], Awaitable[str]]

_LEAD_MAX_S: Final = 120.0
"""A login service that is away for a minute or two should not cost the connection."""
_FETCH_MAX_S: Final = 30.0
"""A login service that does not answer is asked again."""
_WAIT_MIN_S: Final = 5.0
"""However short the life of a token: a login service is not asked in a loop."""


class _Claims(msgspec.Struct):
    exp: float | None = None
    iat: float | None = None


class Tokens:
    """One way to a token: a fixed one, or the app's coroutine.

    Raises:
        ValueError: neither was given, or both.
    """

    def __init__(self, clock: Clock, token: str | None, get_token: GetToken | None) -> None:
        if (token is None) == (get_token is None):
            raise ValueError("give either a token or get_token")
        self._clock = clock
        self._token = token
        self._get_token = get_token

    @property
    def can_renew(self) -> bool:
        return self._get_token is not None

    async def current(self) -> str:
        """The token in use, fetched where there is none. Raises whatever the app's coroutine does."""
        if self._token is None:
            await self.fetch()
        assert self._token is not None
        return self._token

    async def fetch(self) -> str:
        """A new token, which is in use from here on. Raises whatever the app's coroutine does."""
        if self._get_token is None:
            raise RuntimeError("a fixed token cannot be renewed")
        async with asyncio.timeout(_FETCH_MAX_S):
            self._token = await self._get_token()
        return self._token

    def forget(self) -> None:
        """The hub refuses it: fetch another before the next connection."""
        if self.can_renew:
            self._token = None

    def renew_in_s(self) -> float | None:
        """Seconds until a new one should be fetched; None where there is no way, or no expiry to be read.

        The desktop's wall clock may be wrong. Where it contradicts the token (expired already, or not
        issued yet) the token's own span counts from now: it has just been used.
        """
        claims = _read(self._token) if self.can_renew and self._token is not None else None
        if claims is None or claims.exp is None:
            return None
        left_s = claims.exp - self._clock.now().timestamp()
        if claims.iat is not None:
            life_s = claims.exp - claims.iat
            if not 0 < left_s <= life_s:
                left_s = life_s
        # Spread, so that those who signed in together do not renew together.
        lead_s = min(left_s * (0.1 + 0.1 * self._clock.unit()), _LEAD_MAX_S)
        return max(left_s - lead_s, _WAIT_MIN_S)


def _read(token: str) -> _Claims | None:
    """The claims of a JWT, unverified (RFC 7519, 3); None for a token of another kind."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=_Claims)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None
