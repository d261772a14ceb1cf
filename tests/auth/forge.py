"""Makes tokens, honest and forged, byte by byte where a library would refuse to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.auth import ClaimRules, Revocations, TokenVerifier
from hub.auth.keys import FixedKeys, KeySource, secret_key

NOW = datetime(2026, 11, 22, 20, 15, 3, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
SECRET = "s" * 32
OTHER_SECRET = "o" * 32

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


class FakeClock:
    """A clock that goes only when told to."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed_s)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with these changed; one that is changed to None is left out."""
    whole: dict[str, Any] = {"sub": "7", "tenant": "acme", "role": "agent", "iat": NOW_S, "exp": NOW_S + 600} | changes
    return {name: value for name, value in whole.items() if value is not None}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assemble(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: Any) -> str:
    """A token signed with `key`, whatever the header says: str or bytes is HMAC-SHA-256, None is no signature."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(b64(part) for part in parts).encode()
    return f"{signing_input.decode()}.{b64(_signature(signing_input, key))}"


def _signature(data: bytes, key: Any) -> bytes:
    if key is None:
        return b""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return hmac.new(key if isinstance(key, bytes) else key.encode(), data, hashlib.sha256).digest()


def hs256(secret: str = SECRET, **changes: Any) -> str:
    return assemble({"alg": "HS256", "typ": "JWT"}, claims(**changes), secret)


def pem(private: Any) -> str:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(private: Any, **members: Any) -> dict[str, Any]:
    """The public JWK of a key."""
    public = private.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())} | members
    numbers = public.public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        size = (public.curve.key_size + 7) // 8
        x, y = (b64(n.to_bytes(size, "big")) for n in (numbers.x, numbers.y))
        crv = {"secp256r1": "P-256", "secp384r1": "P-384"}[public.curve.name]
        return {"kty": "EC", "crv": crv, "x": x, "y": y} | members
    n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    return {"kty": "RSA", "n": b64(n), "e": "AQAB"} | members


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def verifier(
    keys: KeySource | None = None,
    clock: FakeClock | None = None,
    rules: ClaimRules | None = None,
    revocations: Revocations | None = None,
    **ports: Any,
) -> TokenVerifier:
    """A verifier of HS256 with `SECRET`, unless told otherwise."""
    source = keys or FixedKeys([secret_key(SECRET)])
    return TokenVerifier(source, rules or ClaimRules(), clock or FakeClock(), revocations=revocations, **ports)
