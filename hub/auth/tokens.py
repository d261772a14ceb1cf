"""Proves who is calling, from a Bearer token.

A token is proven once and then remembered for a minute, so that a handshake or a
request costs a hash. What may change meanwhile is asked at each use: whether it
has expired, was revoked, or was proven with keys that no longer hold.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import OrderedDict
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Protocol

import jwt
import msgspec
from jwt.algorithms import get_default_algorithms

from hub.auth.api_keys import PREFIX, ApiKeyVerifier
from hub.auth.claims import Claimed, ClaimRules, bearer_of, is_expired, read_claims
from hub.auth.keys import Key, KeySource
from hub.auth.refusal import Bearer, InvalidToken
from hub.auth.revocations import Revocations
from hub.core.principal import Principal

TOKEN_BYTES_MAX: Final = 8192
"""More than any header line that a proxy lets through; what is larger is refused before any work on it."""

REMEMBERED_FOR_S: Final = 60.0
"""Within this time a changed `external_id` takes effect."""

REMEMBERED_MAX: Final = 20000
"""Some 500 bytes each: 10 MiB, for the ten thousand sockets of a node and their next tokens."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

_ALGORITHMS: Final = get_default_algorithms()


class ExternalIds(Protocol):
    """Whom a company's own ids mean."""

    async def user_id_of(self, tenant_id: str, external_id: str) -> int | None:
        """The user of this tenant who has this `external_id`. May raise where the store cannot be reached."""
        ...


class Clock(Protocol):
    def monotonic(self) -> float: ...
    def now(self) -> datetime: ...


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: Any = msgspec.UNSET
    b64: Any = msgspec.UNSET


class _Remembered(msgspec.Struct, frozen=True):
    principal: Principal
    at: float
    generation: int


class TokenVerifier:
    """The hub's `Verifier`.

    Without `api_keys` every API key is refused, without `external_ids` every subject that is no integer.
    """

    def __init__(
        self,
        keys: KeySource,
        rules: ClaimRules,
        clock: Clock,
        *,
        revocations: Revocations | None = None,
        external_ids: ExternalIds | None = None,
        api_keys: ApiKeyVerifier | None = None,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._revocations = Revocations() if revocations is None else revocations
        self._external_ids = external_ids
        self._api_keys = api_keys
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()

    async def warm(self) -> None:
        """Get what is needed before the first token comes. Never raises for a failure."""
        await self._keys.warm()

    async def aclose(self) -> None:
        """Stop what runs in the background. Idempotent."""
        await self._keys.aclose()

    async def verify(self, token: str) -> Principal:
        """Who holds this token now.

        `expires_at` is what the token says, without the leeway. Cancelling changes nothing.

        Raises:
            InvalidToken: it proves nothing now; `reason` says why, never with a part of it.
            KeysUnavailable: nothing can be told yet. What the ports raise goes through.
        """
        if len(token) > TOKEN_BYTES_MAX:
            raise InvalidToken("too_large")
        if token.startswith(PREFIX):
            if self._api_keys is None:
                raise InvalidToken("bad_api_key")
            return await self._api_keys.verify(token)
        if _SHAPE.fullmatch(token) is None:
            raise InvalidToken("malformed")
        place = hashlib.sha256(token.encode()).digest()
        principal = self._recall(place)
        if principal is None:
            principal = await self._prove(token, place)
        if principal.expires_at is None or is_expired(principal.expires_at, self._rules, self._clock.now()):
            raise InvalidToken("expired", Bearer(principal.tenant_id, principal.user_id))
        if self._revocations.refuses(principal.tenant_id, principal.user_id, principal.issued_at):
            raise InvalidToken("revoked", Bearer(principal.tenant_id, principal.user_id))
        return principal

    def _recall(self, place: bytes) -> Principal | None:
        known = self._remembered.get(place)
        if known is None:
            return None
        is_old = self._clock.monotonic() - known.at >= REMEMBERED_FOR_S
        if is_old or known.generation != self._keys.generation:
            del self._remembered[place]
            return None
        self._remembered.move_to_end(place)
        return known.principal

    async def _prove(self, token: str, place: bytes) -> Principal:
        started_at = self._clock.monotonic()
        payload, generation = await self._signed(token)
        try:
            claimed = read_claims(payload, self._rules, self._clock.now())
            user_id = await self._user_id(claimed)
        except InvalidToken as refusal:
            raise InvalidToken(refusal.reason, bearer_of(payload, self._rules)) from None
        principal = Principal(
            tenant_id=claimed.tenant_id,
            user_id=user_id,
            role=claimed.role,
            expires_at=claimed.expires_at,
            issued_at=claimed.issued_at,
            name=claimed.name,
        )
        self._remembered[place] = _Remembered(principal, started_at, generation)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        return principal

    async def _signed(self, token: str) -> tuple[dict[str, Any], int]:
        """The payload, and the generation of the keys that proved it."""
        header = _decoded_header(token)
        found = await self._keys.keys(header.kid)
        generation = self._keys.generation
        if not found:
            raise InvalidToken("unknown_key")
        # The key decides the algorithm; what the token says of it can only be wrong.
        fitting = [key for key in found if key.algorithm == header.alg]
        if not fitting:
            raise InvalidToken("wrong_algorithm")
        content, _, encoded = token.rpartition(".")
        signature = _decoded_part(encoded)
        for key in fitting:
            if _is_signed_by(key, content.encode(), signature):
                return _decoded_payload(content.partition(".")[2]), generation
        raise InvalidToken("bad_signature")

    async def _user_id(self, claimed: Claimed) -> int | None:
        if claimed.external_id is None or claimed.role == "service":
            return claimed.user_id
        if self._external_ids is None:
            raise InvalidToken("bad_subject")
        user_id = await self._external_ids.user_id_of(claimed.tenant_id, claimed.external_id)
        if user_id is None:
            raise InvalidToken("unknown_user")
        return user_id


def _is_signed_by(key: Key, content: bytes, signature: bytes) -> bool:
    algorithm: Any = _ALGORITHMS[key.algorithm]
    try:
        material = _secret(key.material) if isinstance(key.material, bytes) else algorithm.prepare_key(key.material)
        return algorithm.verify(content, material, signature)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise InvalidToken("malformed") from None


@lru_cache(maxsize=16)
def _secret(material: bytes) -> bytes:
    # Looked at once, for PyJWT takes as long to see that it is no other kind of key as for the signature.
    algorithm: Any = _ALGORITHMS["HS256"]
    prepared = algorithm.prepare_key(material)
    if weakness := algorithm.check_key_length(prepared):
        raise jwt.InvalidKeyError(weakness)
    return prepared


def _decoded_header(token: str) -> _Header:
    try:
        header = msgspec.json.decode(_decoded_part(token.partition(".")[0]), type=_Header)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET:
        # Whoever does not know what must be known of a token refuses it (RFC 7515, 4.1.11).
        raise InvalidToken("malformed")
    return header


def _decoded_payload(encoded: str) -> dict[str, Any]:
    # msgspec, unlike json, takes neither NaN and Infinity nor lone surrogates.
    try:
        return msgspec.json.decode(_decoded_part(encoded), type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise InvalidToken("malformed") from None


def _decoded_part(encoded: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        raise InvalidToken("malformed") from None
