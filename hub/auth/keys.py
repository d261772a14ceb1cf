"""The keys that prove a token, each bound to one algorithm.

A key's algorithm follows from the configuration and from the key itself, never
from the token (RFC 8725, 3.1), so a public key can never serve as an HMAC
secret, and there is no key for `none`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

RSA_BITS_MIN: Final = 2048
"""RFC 7518, 3.3."""


class Key(msgspec.Struct, frozen=True):
    """One key with its one algorithm. `material` is what PyJWT takes; `kid` the name that tokens may call it by."""

    algorithm: Algorithm
    material: Any
    kid: str | None = None

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid!r})"


class KeySource(Protocol):
    """Where the verifier gets keys from."""

    @property
    def generation(self) -> int:
        """Changes whenever a key has gone or come, so that what an older set proved is proven again."""
        ...

    async def keys(self, kid: str | None) -> Sequence[Key]:
        """The keys that may have signed a token that calls its key `kid`. Empty where there is none.

        Raises:
            KeysUnavailable: none has ever been had.
        """
        ...

    async def warm(self) -> None:
        """Get the keys before the first token comes. Never raises for a failure: that token will try again."""
        ...

    async def aclose(self) -> None: ...


class FixedKeys:
    """Keys that stay as they are while the process lives. A token's `kid` does not matter."""

    generation = 0

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    async def keys(self, kid: str | None) -> Sequence[Key]:
        return self._keys

    async def warm(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def secret_key(secret: str) -> Key:
    """A shared secret.

    Raises:
        ValueError: it is a PEM: a public key taken for a secret would let anyone sign.
    """
    if "-----BEGIN " in secret:
        raise ValueError("a shared secret, not a PEM")
    return Key("HS256", secret.encode())


def public_key(pem: str, algorithm: Algorithm | None = None) -> Key:
    """The public key in a PEM, or in a certificate. Line breaks may be written as `\\n`, as environments need it.

    Raises:
        ValueError: with what it must be, to follow "must be".
    """
    if "\n" not in pem.strip():
        pem = pem.replace("\\n", "\n")
    if "PRIVATE KEY-----" in pem:
        raise ValueError("the public key in PEM, not the private one")
    try:
        if "-----BEGIN CERTIFICATE" in pem:
            material = x509.load_pem_x509_certificate(pem.encode()).public_key()
        else:
            material = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a public key in PEM") from None
    own = algorithm_of(material)
    if own is None:
        raise ValueError(f"an RSA key of at least {RSA_BITS_MIN} bits, a P-256 key or an Ed25519 key")
    if algorithm is not None and own != algorithm:
        raise ValueError(f"a key for HUB_JWT_ALGORITHM {algorithm}; this one is for {own}")
    return Key(own, material)


def algorithm_of(material: object) -> Algorithm | None:
    """The algorithm that a public key is for; None where it is too weak or of a kind that is not accepted."""
    if isinstance(material, RSAPublicKey):
        return "RS256" if material.key_size >= RSA_BITS_MIN else None
    if isinstance(material, EllipticCurvePublicKey):
        return "ES256" if isinstance(material.curve, SECP256R1) else None
    return "EdDSA" if isinstance(material, Ed25519PublicKey) else None
