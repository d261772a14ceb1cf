"""API keys: one text, one row of one tenant, and a revocation that counts within five seconds."""

from __future__ import annotations

import secrets
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import clock as real_clock
from hub.auth import (
    SECRET_BYTES,
    ApiKeyRecord,
    ApiKeyText,
    ApiKeyVerifier,
    InvalidToken,
    digest_of,
    mint_api_key,
    parse_api_key,
)
from hub.core.principal import Principal
from tests.auth.forge import FakeClock, verifier

URL_SAFE = string.ascii_letters + string.digits + "_-"
TENANTS = st.text(URL_SAFE + ".", min_size=1, max_size=64)
IDS = st.integers(1, 2**53 - 1)
SECRETS = st.text(URL_SAFE, min_size=43, max_size=43)


@given(TENANTS, IDS, SECRETS)
def test_a_minted_key_is_parsed_into_its_parts(tenant_id: str, id: int, secret: str) -> None:
    assert parse_api_key(mint_api_key(tenant_id, id, secret)) == ApiKeyText(tenant_id, id, secret)


@given(st.one_of(st.text(), st.text(URL_SAFE + ".").map("hub_".__add__), st.from_regex(r"hub_.*_\d+_.{43}")))
def test_whatever_is_parsed_is_what_would_have_been_minted(text: str) -> None:
    found = parse_api_key(text)
    assert found is None or mint_api_key(found.tenant_id, found.id, found.secret) == text


@pytest.mark.parametrize(
    ("tenant_id", "id", "length"),
    [("", 1, 43), ("a", 2**53, 43), ("a" * 65, 1, 43), ("a:b", 1, 43), ("acme", 0, 43), ("acme", -1, 43), ("a", 1, 4)],
)  # fmt: skip
def test_what_could_not_be_parsed_is_not_minted(tenant_id: str, id: int, length: int) -> None:
    with pytest.raises(ValueError, match="an API key is made of"):
        mint_api_key(tenant_id, id, "s" * length)


@pytest.mark.parametrize(
    "text",
    ["hub_acme_01_" + "s" * 43, "hub_acme_1_" + "s" * 43 + "\n", "HUB_acme_1_" + "s" * 43, "hub_acme_1_" + "é" * 43],
)
def test_texts_that_are_no_key(text: str) -> None:
    assert parse_api_key(text) is None


class Store:
    """Keys that can be revoked, and how often they were read."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], ApiKeyRecord] = {}
        self.reads = 0

    def add(self, tenant_id: str, id: int) -> str:
        secret = real_clock.token(SECRET_BYTES)
        self.records[tenant_id, id] = ApiKeyRecord(id, digest_of(secret), "dialler")
        return mint_api_key(tenant_id, id, secret)

    async def read(self, tenant_id: str, id: int) -> ApiKeyRecord | None:
        self.reads += 1
        return self.records.get((tenant_id, id))


async def test_a_key_proves_a_service_of_its_tenant() -> None:
    store = Store()
    text = store.add("acme_eu", 3)
    checks = verifier(api_keys=ApiKeyVerifier(store, FakeClock()))
    assert await checks.verify(text) == Principal(
        tenant_id="acme_eu", user_id=None, role="service", name="dialler", api_key_id=3
    )


async def test_keys_that_prove_nothing() -> None:
    store = Store()
    text, other = store.add("acme", 3), store.add("acme", 4)
    checks = ApiKeyVerifier(store, FakeClock())
    head, _, secret = text.rpartition("_3_")
    wrong = [
        f"{head}_3_{secrets.token_urlsafe(32)}",
        f"{head}_4_{secret}",
        text.replace("hub_acme", "hub_other"),
        text[:-1],
        text + "x",
        "hub_",
        other[:-1] + ("a" if other[-1] != "a" else "b"),
    ]
    for one in wrong:
        with pytest.raises(InvalidToken) as caught:
            await checks.verify(one)
        assert caught.value.reason == "bad_api_key"
    with pytest.raises(InvalidToken):
        await verifier().verify(text)
    assert (await checks.verify(text)).api_key_id == 3


async def test_a_revoked_key_is_refused_within_five_seconds() -> None:
    store, clock = Store(), FakeClock()
    text = store.add("acme", 3)
    checks = ApiKeyVerifier(store, clock)
    for _ in range(10):
        await checks.verify(text)
    assert store.reads == 1
    store.records.clear()
    clock.passed_s = 4.9
    with pytest.raises(InvalidToken):
        await checks.verify(text)
    reads = store.reads
    with pytest.raises(InvalidToken):
        await checks.verify(text)
    assert store.reads == reads


async def test_made_up_ids_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.auth.api_keys.CACHED_MAX", 5)
    checks = ApiKeyVerifier(Store(), FakeClock())
    for id in range(1, 20):
        with pytest.raises(InvalidToken):
            await checks.verify(mint_api_key("acme", id, "s" * 43))
    assert len(checks._cached) == 5
