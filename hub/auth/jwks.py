"""A set of public keys that changes while the hub runs: a JWKS file, or an https URL.

The set that was had last keeps serving for as long as no newer one can be had.
It is fetched by one runner at a time, beside the loop's other work: in the
background where it has grown old, and waited for only by a token whose key is
not in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import jwt
import msgspec

from hub.auth.keys import Algorithm, Key, algorithm_of
from hub.auth.refusal import KeysUnavailable

log = logging.getLogger(__name__)

Fetch = Callable[[], Awaitable[bytes]]

REFETCH_AFTER_S: Final = 60.0
"""Between two fetches for an unknown `kid`: anyone can make one up, so this bounds what they cost the issuer."""

FIRST_FETCH_AGAIN_S: Final = 5.0
"""Between two fetches while no set has ever been had: until then every token is refused."""

OLD_AFTER_S: Final = 600.0
"""Age at which a set is fetched anew in the background, so that a key that was withdrawn stops counting."""

FETCH_TIMEOUT_S: Final = 5.0
KEY_SET_BYTES_MAX: Final = 262144
KEYS_MAX: Final = 64
"""A token without `kid` is tried with each: a larger set would make every forged one costly."""

_KINDS: Final[dict[str, Algorithm]] = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
_PUBLIC_MEMBERS: Final = ("kty", "crv", "x", "y", "n", "e")


class _Monotonic(Protocol):
    def monotonic(self) -> float: ...


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def parse_jwks(data: bytes, algorithm: Algorithm | None = None) -> tuple[Key, ...]:
    """The keys of a JWKS (RFC 7517) that may verify tokens; those for other uses or algorithms are left out.

    Raises:
        ValueError: it is no JWKS, or no key in it can be used; with what it must be, to follow "must be".
    """
    try:
        found = msgspec.json.decode(data, type=_KeySet).keys
    except (msgspec.DecodeError, RecursionError):
        raise ValueError('a JWKS: {"keys": […]}') from None
    keys = tuple(key for jwk in found[:KEYS_MAX] if (key := _key(jwk, algorithm)) is not None)
    if not keys:
        raise ValueError(f"a JWKS with a public key for {algorithm or 'RS256, ES256 or EdDSA'}")
    return keys


def _key(jwk: dict[str, Any], pinned: Algorithm | None) -> Key | None:
    # A shared secret (`oct`) has no place in what is published, and is not in the table.
    algorithm = _KINDS.get(str(jwk.get("kty")))
    if algorithm is None or (pinned is not None and algorithm != pinned):
        return None
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        # Only the public members, so that a private key put there by mistake is still only a public one here.
        material = jwt.PyJWK({name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}, algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    kid = jwk.get("kid")
    return Key(algorithm, material, kid if isinstance(kid, str) else None) if algorithm_of(material) else None


class JwksKeys:
    """A `KeySource` over `fetch`, which answers the JWKS as bytes, and may raise anything.

    `first` is a set already had, as for a file that was read at the start.
    """

    def __init__(
        self, fetch: Fetch, clock: _Monotonic, *, algorithm: Algorithm | None = None, first: Sequence[Key] = ()
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._algorithm: Algorithm | None = algorithm
        self._keys = tuple(first)
        self._fetch_runner: asyncio.Task[None] | None = None
        # None until the first attempt, whatever the clock's zero is.
        self._tried_at: float | None = clock.monotonic() if first else None
        self.generation = 0

    async def keys(self, kid: str | None) -> Sequence[Key]:
        """See `KeySource`. Waits for a fetch only where it could make a difference. Cancelling leaves that running."""
        found = self._named(kid)
        if not found and self._may_fetch(REFETCH_AFTER_S if self._keys else FIRST_FETCH_AGAIN_S):
            await asyncio.wait([self._fetching()])
            found = self._named(kid)
        elif found and self._may_fetch(OLD_AFTER_S):
            self._fetching()
        if not self._keys:
            raise KeysUnavailable("the JWKS could not be fetched yet")
        return found

    async def warm(self) -> None:
        if not self._keys:
            await asyncio.wait([self._fetching()])

    async def aclose(self) -> None:
        """Stop a fetch that is under way. Idempotent."""
        if (runner := self._fetch_runner) is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)

    def _named(self, kid: str | None) -> tuple[Key, ...]:
        return self._keys if kid is None else tuple(key for key in self._keys if key.kid in (kid, None))

    def _may_fetch(self, after_s: float) -> bool:
        is_running = self._fetch_runner is not None
        return is_running or self._tried_at is None or self._clock.monotonic() - self._tried_at >= after_s

    def _fetching(self) -> asyncio.Task[None]:
        if self._fetch_runner is None:
            self._tried_at = self._clock.monotonic()
            self._fetch_runner = asyncio.create_task(self._fetch_once(), name="jwks-fetch")
            self._fetch_runner.add_done_callback(self._forget_runner)
        return self._fetch_runner

    def _forget_runner(self, _: asyncio.Task[None]) -> None:
        self._fetch_runner = None

    async def _fetch_once(self) -> None:
        try:
            keys = parse_jwks(await self._fetch(), self._algorithm)
        except Exception as error:  # whatever a fetcher raises, the old set goes on serving
            log.warning("the JWKS could not be fetched, the keys stay as they were: %s", type(error).__name__)
            return
        if [_identity(key) for key in keys] != [_identity(key) for key in self._keys]:
            self._keys = keys
            self.generation += 1


def _identity(key: Key) -> tuple[str | None, Algorithm, Any]:
    raw = key.material.public_bytes_raw() if key.algorithm == "EdDSA" else key.material.public_numbers()
    return key.kid, key.algorithm, raw


def file_fetcher(path: Path) -> Fetch:
    """Reads the file anew each time, off the loop."""

    async def fetch() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return fetch


def https_fetcher(url: str) -> Fetch:
    """Gets the URL, at most 256 KiB in 5 s, without following redirects: the address is the configured one.

    Raises:
        ValueError: the URL is not https.
    """
    if not url.lower().startswith("https://"):
        raise ValueError("an https URL")

    async def fetch() -> bytes:
        # Imported here: only a hub with a JWKS URL needs it, and the command line should start fast.
        import httpx

        context = await asyncio.to_thread(httpx.create_ssl_context)
        async with asyncio.timeout(FETCH_TIMEOUT_S), httpx.AsyncClient(verify=context) as client:
            return await _body(client, url)

    return fetch


async def _body(client: Any, url: str) -> bytes:
    body = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/jwk-set+json, application/json"}) as response:
        if response.status_code != 200:
            raise ValueError(f"status {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > KEY_SET_BYTES_MAX:
                raise ValueError(f"more than {KEY_SET_BYTES_MAX} bytes")
    return bytes(body)
