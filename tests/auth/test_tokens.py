"""What proves a caller, and above all what does not."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from hub.auth import ClaimRules, InvalidToken, Revocation, Revocations
from hub.auth.keys import FixedKeys, Key, public_key, secret_key
from hub.auth.refusal import SENTENCES
from hub.auth.tokens import REMEMBERED_FOR_S, REMEMBERED_MAX
from hub.core.principal import Principal
from tests.auth import forge
from tests.auth.forge import EC, ED, NOW, NOW_S, OTHER_SECRET, RSA, SECRET, FakeClock, assemble, claims, hs256, verifier

LEEWAY_S = ClaimRules().leeway_s


async def refused(token: str, **how: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        await verifier(**how).verify(token)
    assert token[:20] not in str(caught.value) or not token
    assert str(caught.value) == SENTENCES[caught.value.reason]
    return caught.value.reason


async def test_a_good_token_proves_who_calls() -> None:
    assert await verifier().verify(hs256(name="Ada")) == Principal(
        tenant_id="acme",
        user_id=7,
        role="agent",
        expires_at=NOW + timedelta(seconds=600),
        issued_at=NOW,
        name="Ada",
    )


@pytest.mark.parametrize(
    ("algorithm", "private"), [("RS256", RSA), ("ES256", EC), ("EdDSA", ED)], ids=["rsa", "ec", "ed25519"]
)
async def test_a_public_key_proves_what_its_private_key_signed(algorithm: str, private: Any) -> None:
    keys = FixedKeys([public_key(forge.pem(private))])
    assert (await verifier(keys).verify(assemble({"alg": algorithm}, claims(), private))).user_id == 7
    another = {RSA: EC, EC: ED, ED: RSA}[private]
    assert await refused(assemble({"alg": algorithm}, claims(), another), keys=keys) in {"bad_signature", "malformed"}


FORGED: list[tuple[str, str, str]] = [
    ("nothing", "", "malformed"),
    ("one part", "abc", "malformed"),
    ("four parts", hs256() + ".e30", "malformed"),
    ("not ASCII", hs256() + "é", "malformed"),
    ("a line break at its end", hs256() + "\n", "malformed"),
    ("a lone surrogate", "\ud800." + hs256(), "malformed"),
    ("more than 8 KiB", hs256(padding="x" * 8192), "too_large"),
    ("alg none, no signature", assemble({"alg": "none"}, claims(), None), "malformed"),
    ("alg none, some signature", assemble({"alg": "none"}, claims(), "x"), "wrong_algorithm"),
    ("alg None in other case", assemble({"alg": "nOnE"}, claims(), "x"), "wrong_algorithm"),
    ("alg left out", assemble({"typ": "JWT"}, claims(), SECRET), "malformed"),
    ("alg a list", assemble({"alg": ["HS256"]}, claims(), SECRET), "malformed"),
    ("alg HS512", assemble({"alg": "HS512"}, claims(), SECRET), "wrong_algorithm"),
    ("alg RS256 by an RSA key of the forger's", assemble({"alg": "RS256"}, claims(), RSA), "wrong_algorithm"),
    (
        "its key in the header",
        assemble({"alg": "RS256", "jwk": forge.jwk(RSA), "jku": "https://forger.example"}, claims(), RSA),
        "wrong_algorithm",
    ),
    ("kid a path", assemble({"alg": "HS256", "kid": "../../dev/null"}, claims(), ""), "bad_signature"),
    ("kid a number", assemble({"alg": "HS256", "kid": 1}, claims(), SECRET), "malformed"),
    ("critical header", assemble({"alg": "HS256", "crit": ["x"], "x": 1}, claims(), SECRET), "malformed"),
    ("critical header that is null", assemble({"alg": "HS256", "crit": None}, claims(), SECRET), "malformed"),
    ("what need not be said of a payload", assemble({"alg": "HS256", "b64": True}, claims(), SECRET), "malformed"),
    ("detached payload", assemble({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims(), SECRET), "malformed"),
    ("another secret", hs256(OTHER_SECRET), "bad_signature"),
    ("empty secret", assemble({"alg": "HS256"}, claims(), ""), "bad_signature"),
    ("header no JSON", assemble(b"{", claims(), SECRET), "malformed"),
    ("header nested a thousand deep", assemble(b"[" * 3000, claims(), SECRET), "malformed"),
    ("payload nested a thousand deep", assemble({"alg": "HS256"}, b'{"a":' * 1000, SECRET), "malformed"),
    ("payload a list", assemble({"alg": "HS256"}, b"[]", SECRET), "malformed"),
    ("payload not UTF-8", assemble({"alg": "HS256"}, b'{"sub":"\xff"}', SECRET), "malformed"),
]


@pytest.mark.parametrize(("token", "reason"), [row[1:] for row in FORGED], ids=[row[0] for row in FORGED])
async def test_a_forged_token_is_refused(token: str, reason: str) -> None:
    assert await refused(token) == reason


@pytest.mark.parametrize("form", ["pem", "pem without its last line break", "der"])
async def test_a_public_key_is_never_taken_for_a_secret(form: str) -> None:
    pem = forge.pem(RSA)
    secret = {"pem": pem.encode(), "pem without its last line break": pem.strip().encode()}.get(form)
    if secret is None:
        secret = forge.base64.b64decode("".join(pem.splitlines()[1:-1]))
    token = assemble({"alg": "HS256"}, claims(), secret)
    assert await refused(token, keys=FixedKeys([public_key(pem)])) == "wrong_algorithm"
    with pytest.raises(ValueError, match="not a PEM"):
        secret_key(pem)


@pytest.mark.parametrize(
    "material", [b"short", forge.pem(RSA).encode(), json.dumps(forge.jwk(EC)).encode()], ids=["short", "a PEM", "a JWK"]
)
async def test_what_makes_no_secret_proves_nothing(material: bytes) -> None:
    token = assemble({"alg": "HS256"}, claims(), material)
    assert await refused(token, keys=FixedKeys([Key("HS256", material)])) == "malformed"


async def test_a_changed_payload_is_refused() -> None:
    header, _, signature = hs256().split(".")
    other = forge.b64(json.dumps(claims(sub="8")).encode())
    assert await refused(f"{header}.{other}.{signature}") == "bad_signature"


async def test_both_secrets_are_accepted_while_they_rotate() -> None:
    rotating = FixedKeys([secret_key(OTHER_SECRET), secret_key(SECRET)])
    assert (await verifier(rotating).verify(hs256(SECRET))).user_id == 7
    assert (await verifier(rotating).verify(hs256(OTHER_SECRET))).user_id == 7
    assert await refused(hs256("x" * 32), keys=rotating) == "bad_signature"


@pytest.mark.parametrize(
    ("passed_s", "reason"),
    [(0, None), (599, None), (600 + LEEWAY_S - 0.5, None), (600 + LEEWAY_S, "expired"), (1e6, "expired")],
)
@pytest.mark.parametrize("is_remembered", [False, True])
async def test_expiry_is_told_at_each_use(passed_s: float, reason: str | None, is_remembered: bool) -> None:
    clock = FakeClock()
    checks = verifier(clock=clock)
    if is_remembered:
        await checks.verify(hs256())
        clock.monotonic = lambda: 1000.0  # type: ignore[method-assign]  # what is remembered does not grow old
    clock.passed_s = passed_s
    if reason is None:
        assert await checks.verify(hs256())
        return
    with pytest.raises(InvalidToken) as caught:
        await checks.verify(hs256())
    assert caught.value.reason == reason


class CountingKeys(FixedKeys):
    def __init__(self, *secrets: str) -> None:
        self.replace(*secrets)
        self.asked = 0
        self.generation = 0

    def replace(self, *secrets: str) -> None:
        super().__init__([secret_key(secret) for secret in secrets])

    async def keys(self, kid: str | None) -> Any:
        self.asked += 1
        return await super().keys(kid)


async def test_a_token_is_proven_once_a_minute() -> None:
    keys, clock = CountingKeys(SECRET), FakeClock()
    checks = verifier(keys, clock)
    token = hs256()
    for _ in range(5):
        await checks.verify(token)
    assert keys.asked == 1
    clock.passed_s = REMEMBERED_FOR_S - 0.1
    await checks.verify(token)
    assert keys.asked == 1
    clock.passed_s = REMEMBERED_FOR_S
    await checks.verify(token)
    assert keys.asked == 2


async def test_a_key_that_goes_takes_what_it_proved_with_it() -> None:
    keys = CountingKeys(SECRET)
    checks = verifier(keys)
    await checks.verify(hs256())
    keys.replace(OTHER_SECRET)
    keys.generation += 1
    with pytest.raises(InvalidToken) as caught:
        await checks.verify(hs256())
    assert caught.value.reason == "bad_signature"


async def test_what_is_remembered_is_bounded_and_forgets_the_longest_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert REMEMBERED_MAX >= 10_000
    monkeypatch.setattr("hub.auth.tokens.REMEMBERED_MAX", 2)
    keys = CountingKeys(SECRET)
    checks = verifier(keys)
    first, second, third = (hs256(sub=str(n)) for n in (1, 2, 3))
    for token in (first, second, first, third, first):
        await checks.verify(token)
    assert keys.asked == 3
    await checks.verify(second)
    assert keys.asked == 4


async def test_refused_tokens_are_not_remembered() -> None:
    checks = verifier()
    for n in range(10):
        with pytest.raises(InvalidToken):
            await checks.verify(hs256(OTHER_SECRET, sub=str(n + 1)))
    assert not checks._remembered


@pytest.mark.parametrize(
    ("iat", "is_refused"),
    [(NOW_S - 1, True), (NOW_S, True), (NOW_S + 1, False), (None, True)],
    ids=["before", "in the same second", "after", "without"],
)
@pytest.mark.parametrize("is_remembered", [False, True])
async def test_a_revocation_refuses_what_was_issued_until_then(
    iat: int | None, is_refused: bool, is_remembered: bool
) -> None:
    revocations = Revocations()
    checks = verifier(revocations=revocations)
    token, other_user, other_tenant = hs256(iat=iat), hs256(iat=iat, sub="8"), hs256(iat=iat, tenant="other")
    if is_remembered:
        await checks.verify(token)
    revocations.apply([Revocation("acme", 7, NOW)])
    assert await checks.verify(other_user)
    assert await checks.verify(other_tenant)
    if is_refused:
        with pytest.raises(InvalidToken) as caught:
            await checks.verify(token)
        assert caught.value.reason == "revoked"
    else:
        assert await checks.verify(token)


def test_revocations_only_ever_move_forward() -> None:
    revocations = Revocations()
    early, late = Revocation("acme", 7, NOW), Revocation("acme", 7, NOW + timedelta(seconds=5))
    assert revocations.apply([late]) == [late]
    assert revocations.apply([early, late]) == []
    assert revocations.refuses("acme", 7, NOW + timedelta(seconds=4))
    assert not revocations.refuses("acme", None, None)
    assert revocations.count == 1


class Directory:
    """External ids of one tenant."""

    def __init__(self, **known: int) -> None:
        self.known = known

    async def user_id_of(self, tenant_id: str, external_id: str) -> int | None:
        return self.known.get(external_id) if tenant_id == "acme" else None


async def test_a_subject_that_is_no_integer_is_looked_up() -> None:
    directory = Directory(ada=42)
    assert (await verifier(external_ids=directory).verify(hs256(sub="ada"))).user_id == 42
    assert await refused(hs256(sub="bob"), external_ids=directory) == "unknown_user"
    assert await refused(hs256(sub="ada", tenant="other"), external_ids=directory) == "unknown_user"
    assert await refused(hs256(sub="ada")) == "bad_subject"


async def test_a_service_needs_no_user() -> None:
    assert (await verifier().verify(hs256(sub="crm-backend", role="service"))).user_id is None
    assert (await verifier().verify(hs256(sub="5", role="service"))).user_id == 5


async def test_what_the_directory_raises_goes_through() -> None:
    class Away:
        async def user_id_of(self, tenant_id: str, external_id: str) -> int | None:
            raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        await verifier(external_ids=Away()).verify(hs256(sub="ada"))
