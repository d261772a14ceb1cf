"""What one configuration mints it also proves; and the development key is made once, and only where it may be."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from hub import clock as real_clock
from hub.auth import InvalidToken, development_key, minter_of, verifier_of
from hub.auth.development_key import FILE_NAME
from hub.core.principal import Role
from hub.settings import Settings, SettingsError, load
from tests.auth.forge import EC, NOW, OTHER_SECRET, RSA, SECRET, FakeClock, assemble, claims, jwk, pem

COMPANY = {
    "jwt_issuer": "https://login.example",
    "jwt_audience": "hub",
    "jwt_claim_user": "https://crm.example/id",
    "jwt_claim_tenant": "org.slug",
    "jwt_claim_role": "org.role",
    "jwt_role_map": "agent=Rep,supervisor=Lead,admin=Owner,service=Robot",
}


def verifier_for(settings: Settings) -> Any:
    return verifier_of(settings, clock=FakeClock(), new_secret=real_clock.token)


@pytest.mark.parametrize("options", [{}, COMPANY], ids=["plain", "a company's claims"])
@pytest.mark.parametrize("key", [{}, {"jwt_secret": SECRET}], ids=["development key", "secret"])
@pytest.mark.parametrize("role", get_args(Role))
async def test_what_is_minted_is_proven(tmp_path: Path, options: Any, key: Any, role: Role) -> None:
    settings = load({}, data_dir=tmp_path, **options, **key)
    token = minter_of(settings, real_clock.token).mint(tenant_id="acme", user_id=7, role=role, now=NOW, name="Ada")
    principal = await verifier_for(settings).verify(token)
    assert (principal.tenant_id, principal.user_id, principal.role, principal.name) == ("acme", 7, role, "Ada")
    with pytest.raises(InvalidToken) as caught:
        await verifier_for(load({}, jwt_secret=OTHER_SECRET, **options)).verify(token)
    assert caught.value.reason == "bad_signature"


async def test_the_previous_secret_proves_but_does_not_mint() -> None:
    before, after = load({}, jwt_secret=SECRET), load({}, jwt_secret=OTHER_SECRET, jwt_secret_previous=SECRET)
    old = minter_of(before, real_clock.token).mint(tenant_id="acme", user_id=7, now=NOW)
    new = minter_of(after, real_clock.token).mint(tenant_id="acme", user_id=8, now=NOW)
    assert (await verifier_for(after).verify(old)).user_id == 7
    assert (await verifier_for(after).verify(new)).user_id == 8
    with pytest.raises(InvalidToken):
        await verifier_for(before).verify(new)


@pytest.mark.parametrize("form", ["as it is", "with escaped line breaks"])
async def test_a_public_key_of_the_settings_proves(form: str) -> None:
    text = pem(RSA) if form == "as it is" else pem(RSA).replace("\n", "\\n")
    checks = verifier_for(load({}, jwt_public_key=text))
    assert await checks.verify(assemble({"alg": "RS256"}, claims(), RSA))
    with pytest.raises(InvalidToken) as caught:
        await checks.verify(assemble({"alg": "HS256"}, claims(), pem(RSA)))
    assert caught.value.reason == "wrong_algorithm"


async def test_a_key_set_of_the_settings_proves(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(EC, kid="k")]}))
    checks = verifier_for(load({"HUB_JWT_JWKS": str(path)}))
    assert await checks.verify(assemble({"alg": "ES256", "kid": "k"}, claims(), EC))


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"jwt_public_key": "nonsense"}, "HUB_JWT_PUBLIC_KEY is set, but must be a public key in PEM."),
    (
        {"jwt_public_key": "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"},
        "HUB_JWT_PUBLIC_KEY is set, but must be the public key in PEM, not the private one.",
    ),
    (
        {"jwt_public_key": pem(RSA), "jwt_algorithm": "ES256"},
        "HUB_JWT_PUBLIC_KEY is set, but must be a key for HUB_JWT_ALGORITHM ES256; this one is for RS256.",
    ),
    ({"jwt_jwks": "/nowhere"}, "HUB_JWT_JWKS is '/nowhere', which cannot be read: No such file or directory."),
    ({"jwt_jwks": __file__}, f'HUB_JWT_JWKS is {__file__!r}, but must be a JWKS: {{"keys": […]}}.'),
    ({"jwt_secret": pem(RSA)}, "HUB_JWT_SECRET is set, but must be a shared secret, not a PEM."),
    (
        {"jwt_secret": SECRET, "jwt_secret_previous": pem(RSA)},
        "HUB_JWT_SECRET_PREVIOUS is set, but must be a shared secret, not a PEM.",
    ),
]


@pytest.mark.parametrize(("options", "sentence"), UNUSABLE)
def test_keys_that_cannot_be_used_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        verifier_for(load({}, **options))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "options", [{"host": "0.0.0.0"}, {"database_url": "postgresql://db/hub"}], ids=["not loopback", "shared database"]
)
def test_the_development_key_is_refused_where_others_could_come(tmp_path: Path, options: dict[str, Any]) -> None:
    settings = load({}, data_dir=tmp_path, **options)
    for make in (lambda: minter_of(settings, real_clock.token), lambda: verifier_for(settings)):
        with pytest.raises(SettingsError, match="development key is only for a hub on loopback"):
            make()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"jwt_public_key": pem(RSA)}, {"jwt_jwks": "https://login.example/jwks"}])
def test_who_only_verifies_cannot_mint(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="only verifies tokens"):
        minter_of(load({}, data_dir=tmp_path, **options), real_clock.token)


def test_the_development_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        key = development_key(tmp_path / "new" / "dir", real_clock.token)
    finally:
        os.umask(mask)
    path = tmp_path / "new" / "dir" / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(key) == 43
    assert development_key(path.parent, real_clock.token) == key
    assert os.listdir(path.parent) == [FILE_NAME]
    assert development_key(tmp_path, real_clock.token) != key


def test_the_first_of_two_makers_wins(tmp_path: Path) -> None:
    def overtaken(count: int) -> str:
        # Another process finishes between our look and our write.
        if not (tmp_path / FILE_NAME).exists():
            (tmp_path / FILE_NAME).touch(0o600)
            (tmp_path / FILE_NAME).write_text("theirs" * 10)
        return real_clock.token(count)

    assert development_key(tmp_path, overtaken) == "theirs" * 10
    assert os.listdir(tmp_path) == [FILE_NAME]


def _make(directory: str) -> str:
    return development_key(Path(directory), real_clock.token)


def test_processes_that_start_together_get_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for attempt in range(10):
            directory = str(tmp_path / str(attempt))
            assert len(set(pool.map(_make, [directory] * 8, chunksize=1))) == 1


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("k" * 43, 0o644, "can be read by others"),
        ("", 0o600, "shorter than 32 bytes"),
        ("short", 0o600, "shorter than"),
    ],
)
def test_a_key_that_cannot_be_trusted_is_one_sentence(tmp_path: Path, content: str, mode: int, words: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=words):
        development_key(tmp_path, real_clock.token)


def test_a_data_directory_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used: "):
        development_key(tmp_path / "file", real_clock.token)
