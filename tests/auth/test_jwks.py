"""Key sets that change while the hub runs: rotation, outages, and floods of made-up key ids."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hub.auth import InvalidToken, KeysUnavailable
from hub.auth.jwks import (
    FIRST_FETCH_AGAIN_S,
    KEY_SET_BYTES_MAX,
    OLD_AFTER_S,
    REFETCH_AFTER_S,
    JwksKeys,
    file_fetcher,
    https_fetcher,
    parse_jwks,
)
from hub.clock import now
from tests.auth.forge import EC, ED, NOW_S, RSA, SECRET, FakeClock, assemble, b64, claims, jwk, jwks, verifier

NEW = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
SHORT = rsa.generate_private_key(65537, 1024)


class Issuer:
    """Serves a key set, or fails to; `gate` holds an answer back until it is set."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.answer: bytes | Exception = jwks(*keys)
        self.fetches = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked_signal = asyncio.Event()

    async def fetch(self) -> bytes:
        self.fetches += 1
        self.asked_signal.set()
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def es256(private: Any, kid: str | None, **changes: Any) -> str:
    return assemble({"alg": "ES256"} | ({} if kid is None else {"kid": kid}), claims(**changes), private)


async def reason_of(checks: Any, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await checks.verify(token)
    return caught.value.reason


async def test_each_key_of_a_set_proves_by_its_own_algorithm() -> None:
    issuer = Issuer(jwk(RSA, kid="r"), jwk(EC, kid="e"), jwk(ED, kid="d"))
    checks = verifier(JwksKeys(issuer.fetch, FakeClock()))
    for algorithm, kid, private in (("RS256", "r", RSA), ("ES256", "e", EC), ("EdDSA", "d", ED)):
        assert await checks.verify(assemble({"alg": algorithm, "kid": kid}, claims(), private))
        assert await checks.verify(assemble({"alg": algorithm}, claims(sub="8"), private)), (
            "without a kid each is tried"
        )
    assert await reason_of(checks, assemble({"alg": "ES256", "kid": "r"}, claims(), EC)) == "wrong_algorithm"
    public_bytes = RSA.public_key().public_numbers().n.to_bytes(256, "big")
    assert await reason_of(checks, assemble({"alg": "HS256", "kid": "r"}, claims(), public_bytes)) == "wrong_algorithm"
    assert issuer.fetches == 1


async def test_a_pinned_algorithm_leaves_the_other_keys_out() -> None:
    issuer = Issuer(jwk(RSA, kid="r"), jwk(EC, kid="e"))
    checks = verifier(JwksKeys(issuer.fetch, FakeClock(), algorithm="RS256"))
    assert await checks.verify(assemble({"alg": "RS256", "kid": "r"}, claims(), RSA))
    assert await reason_of(checks, es256(EC, "e")) == "unknown_key"


UNUSABLE: list[tuple[str, dict[str, Any]]] = [
    ("a shared secret", {"kty": "oct", "k": b64(SECRET.encode())}),
    ("a key for encryption", jwk(RSA, use="enc")),
    ("a key that only signs", jwk(RSA, key_ops=["sign"])),
    ("a key for another algorithm", jwk(RSA, alg="RS512")),
    ("a short RSA key", jwk(SHORT)),
    ("another curve", jwk(P384)),
    ("half a key", {"kty": "EC", "crv": "P-256", "x": "AA"}),
    ("numbers for texts", {"kty": "RSA", "n": 5, "e": None}),
    ("a kind that is a list", {"kty": ["RSA"]}),
    ("nothing", {}),
]


@pytest.mark.parametrize("unusable", [row[1] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_keys_that_are_left_out(unusable: dict[str, Any]) -> None:
    assert [key.kid for key in parse_jwks(jwks(unusable, jwk(EC, kid="good")))] == ["good"]
    with pytest.raises(ValueError, match="a JWKS with a public key"):
        parse_jwks(jwks(unusable))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [1]}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set(data: bytes) -> None:
    with pytest.raises(ValueError, match="a JWKS"):
        parse_jwks(data)


async def test_a_new_key_is_fetched_when_a_token_names_it_and_the_old_one_ends() -> None:
    issuer, clock = Issuer(jwk(EC, kid="old")), FakeClock()
    checks = verifier(JwksKeys(issuer.fetch, clock), clock)
    await checks.warm()
    old = es256(EC, "old")
    clock.passed_s = REFETCH_AFTER_S - 1
    assert await checks.verify(old)
    issuer.answer = jwks(jwk(NEW, kid="new"))
    clock.passed_s = REFETCH_AFTER_S
    assert await checks.verify(es256(NEW, "new"))
    assert await reason_of(checks, old) == "unknown_key", "although it was remembered as proven"
    assert issuer.fetches == 2


async def test_made_up_key_ids_cost_the_issuer_one_fetch_a_minute() -> None:
    issuer, clock = Issuer(jwk(EC, kid="k")), FakeClock()
    checks = verifier(JwksKeys(issuer.fetch, clock), clock)
    await checks.warm()
    for second in range(0, 180, 2):
        clock.passed_s = float(second)
        assert await reason_of(checks, es256(NEW, f"forged-{second}")) == "unknown_key"
    assert issuer.fetches == 3
    assert await checks.verify(es256(EC, "k"))


async def test_all_who_wait_for_a_set_wait_for_one_fetch() -> None:
    issuer = Issuer(jwk(EC, kid="k"))
    issuer.gate.clear()
    checks = verifier(JwksKeys(issuer.fetch, FakeClock()))
    waiting = [asyncio.create_task(checks.verify(es256(EC, "k", sub=str(n)))) for n in range(1, 51)]
    await issuer.asked_signal.wait()
    waiting[0].cancel()
    issuer.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [one.user_id for one in found[1:] if not isinstance(one, BaseException)] == list(range(2, 51))
    assert issuer.fetches == 1


async def test_those_whose_key_is_known_never_wait() -> None:
    issuer, clock = Issuer(jwk(EC, kid="k")), FakeClock()
    checks = verifier(JwksKeys(issuer.fetch, clock), clock)
    await checks.warm()
    issuer.gate.clear()
    issuer.asked_signal.clear()
    clock.passed_s = OLD_AFTER_S
    later = {"iat": NOW_S + OLD_AFTER_S, "exp": NOW_S + 2 * OLD_AFTER_S}
    # The set is old, and its renewal hangs: this returns all the same.
    assert await checks.verify(es256(EC, "k", **later))
    await issuer.asked_signal.wait()
    assert await checks.verify(es256(EC, "k", **later, sub="8"))
    assert issuer.fetches == 2
    await checks.aclose()


@pytest.mark.parametrize("answer", [OSError("away"), b"<html>", jwks(), jwks(jwk(P384))], ids=str)
async def test_the_old_set_serves_while_no_new_one_can_be_had(answer: bytes | Exception) -> None:
    issuer, clock = Issuer(jwk(EC, kid="k")), FakeClock()
    checks = verifier(JwksKeys(issuer.fetch, clock), clock)
    await checks.warm()
    issuer.answer = answer
    clock.passed_s = REFETCH_AFTER_S
    assert await reason_of(checks, es256(NEW, "new")) == "unknown_key"
    assert issuer.fetches == 2
    assert await checks.verify(es256(EC, "k"))


async def test_without_any_set_nothing_can_be_told_and_the_next_try_comes_soon() -> None:
    issuer, clock = Issuer(), FakeClock()
    issuer.answer = OSError("away")
    checks = verifier(JwksKeys(issuer.fetch, clock), clock)
    await checks.warm()
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await checks.verify(es256(EC, "k"))
    assert issuer.fetches == 1
    issuer.answer = jwks(jwk(EC, kid="k"))
    clock.passed_s = FIRST_FETCH_AGAIN_S
    assert await checks.verify(es256(EC, "k"))


async def test_closing_ends_a_fetch_under_way() -> None:
    issuer = Issuer(jwk(EC, kid="k"))
    issuer.gate.clear()
    checks = verifier(JwksKeys(issuer.fetch, FakeClock()))
    waiting = asyncio.create_task(checks.verify(es256(EC, "k")))
    await issuer.asked_signal.wait()
    await checks.aclose()
    await checks.aclose()
    with pytest.raises(KeysUnavailable):
        await waiting


async def test_a_file_is_read_anew_when_a_token_names_another_key(tmp_path: Path) -> None:
    path, clock = tmp_path / "jwks.json", FakeClock()
    path.write_bytes(jwks(jwk(EC, kid="old")))
    keys = JwksKeys(file_fetcher(path), clock, first=parse_jwks(path.read_bytes()))
    checks = verifier(keys, clock)
    assert await checks.verify(es256(EC, "old"))
    path.write_bytes(jwks(jwk(EC, kid="old"), jwk(NEW, kid="new")))
    clock.passed_s = REFETCH_AFTER_S
    assert await checks.verify(es256(NEW, "new"))
    path.unlink()
    clock.passed_s *= 2
    assert await reason_of(checks, es256(NEW, "gone")) == "unknown_key"
    assert await checks.verify(es256(EC, "old"))


@pytest.mark.parametrize("url", ["http://127.0.0.1/jwks", "http://login.example", "ftp://x", "file:///etc/passwd"])
def test_only_https_is_fetched(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        https_fetcher(url)


def certified(directory: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, RSA.public_key(), x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(RSA, SHA256())
    )
    (directory / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "key.pem").write_bytes(RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return directory / "cert.pem", directory / "key.pem"


@asynccontextmanager
async def serving(answer: bytes, certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """An https server that gives one answer to whatever it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


def http(status: str, body: bytes, *headers: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return f"{head}\r\n\r\n".encode() + body


async def test_a_key_set_comes_over_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    async with serving(http("200 OK", jwks(jwk(EC, kid="k"))), certificate) as url:
        checks = verifier(JwksKeys(https_fetcher(url), FakeClock()))
        assert (await checks.verify(es256(EC, "k"))).user_id == 7


@pytest.mark.parametrize(
    "answer",
    [
        http("404 Not Found", b"{}"),
        http("302 Found", b"", "Location: https://127.0.0.1:1/elsewhere"),
        http("200 OK", b'{"keys": [' + b" " * KEY_SET_BYTES_MAX),
    ],
    ids=["missing", "redirect", "too large"],
)
async def test_answers_that_are_no_key_set(answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    async with serving(answer, certificate) as url:
        with pytest.raises(ValueError, match=r"status|bytes"):
            await https_fetcher(url)()


async def test_a_server_that_cannot_prove_itself_is_not_believed(tmp_path: Path) -> None:
    async with serving(http("200 OK", json.dumps({"keys": [jwk(EC)]}).encode()), certified(tmp_path)) as url:
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            await https_fetcher(url)()
