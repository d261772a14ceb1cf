"""Long-lived credentials of producers: `hub_<tenant>_<id>_<secret>`.

The text names its own row, so that a key is looked up in one tenant by its id
and no table of all tenants is ever searched by what a caller sent. The secret
is 256 random bits, so its plain SHA-256 is enough to keep: there is nothing to
guess that a slow hash would slow down.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from typing import Final, Protocol

import msgspec

from hub.auth.claims import TENANT_RULE, USER_ID_MAX
from hub.auth.refusal import Bearer, InvalidToken
from hub.core.principal import Principal

PREFIX: Final = "hub_"
"""No JSON Web Token begins so: the header's `{` makes it begin with `e`."""

SECRET_BYTES: Final = 32
_SECRET_CHARACTERS: Final = 43
"""What 32 bytes are in URL-safe base64. The fixed length is what makes the text unambiguous."""

_RULE: Final = re.compile(
    rf"{PREFIX}(?P<tenant>{TENANT_RULE.pattern})_(?P<id>[1-9][0-9]{{0,15}})_(?P<secret>[A-Za-z0-9_-]{{{_SECRET_CHARACTERS}}})",
    re.ASCII,
)

CACHED_FOR_S: Final = 4.0
"""From the moment a read began. A revoked key is refused within 5 s of the commit, with a second to spare."""

CACHED_MAX: Final = 4096


class ApiKeyText(msgspec.Struct, frozen=True):
    """The three parts of a key's text."""

    tenant_id: str
    id: int
    secret: str

    def __repr__(self) -> str:
        return f"ApiKeyText({self.tenant_id!r}, {self.id})"


class ApiKeyRecord(msgspec.Struct, frozen=True):
    """What is kept of a key: `digest` is `digest_of(secret)`, 32 bytes. A revoked one is known, and refused."""

    id: int
    digest: bytes
    name: str | None = None
    is_revoked: bool = False


class ApiKeys(Protocol):
    """The tenants' keys."""

    async def read(self, tenant_id: str, id: int) -> ApiKeyRecord | None:
        """The key, or None where there is none. May raise where the store cannot be reached."""
        ...


class _Monotonic(Protocol):
    def monotonic(self) -> float: ...


def mint_api_key(tenant_id: str, id: int, secret: str) -> str:
    """The text that is shown once. `secret` is `clock.token(SECRET_BYTES)`.

    Raises:
        ValueError: a part cannot be in a key.
    """
    text = f"{PREFIX}{tenant_id}_{id}_{secret}"
    if parse_api_key(text) != ApiKeyText(tenant_id, id, secret):
        raise ValueError("an API key is made of a tenant, an id from 1 to 2^53-1 and a secret of 32 bytes")
    return text


def parse_api_key(text: str) -> ApiKeyText | None:
    """The parts of a key, or None where the text is none. The inverse of `mint_api_key`."""
    found = _RULE.fullmatch(text)
    if found is None or int(found["id"]) > USER_ID_MAX:
        return None
    return ApiKeyText(found["tenant"], int(found["id"]), found["secret"])


def digest_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


class ApiKeyVerifier:
    """Proves API keys by what the store knows, asked at most every few seconds a key."""

    def __init__(self, keys: ApiKeys, clock: _Monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._cached: OrderedDict[tuple[str, int], tuple[float, ApiKeyRecord | None]] = OrderedDict()

    async def verify(self, text: str) -> Principal:
        """Who holds this key: a `service` of its tenant.

        Raises:
            InvalidToken: `bad_api_key`, whatever is wrong with it. What `ApiKeys.read` raises goes through.
        """
        key = parse_api_key(text)
        record = await self._read(key) if key is not None else None
        # Compared in constant time: how far a guess is right must not show in how long it takes.
        if key is None or record is None or not hmac.compare_digest(record.digest, digest_of(key.secret)):
            raise InvalidToken("bad_api_key")
        if record.is_revoked:
            raise InvalidToken("bad_api_key", Bearer(key.tenant_id, api_key_id=record.id))
        return Principal(tenant_id=key.tenant_id, user_id=None, role="service", name=record.name, api_key_id=record.id)

    async def _read(self, key: ApiKeyText) -> ApiKeyRecord | None:
        place = (key.tenant_id, key.id)
        now = self._clock.monotonic()
        if (cached := self._cached.get(place)) is not None and now - cached[0] < CACHED_FOR_S:
            self._cached.move_to_end(place)
            return cached[1]
        record = await self._keys.read(key.tenant_id, key.id)
        # That there is none is kept too: a producer that goes on with a revoked key costs one read in 4 s.
        self._cached[place] = (now, record)
        self._cached.move_to_end(place)
        if len(self._cached) > CACHED_MAX:
            self._cached.popitem(last=False)
        return record
