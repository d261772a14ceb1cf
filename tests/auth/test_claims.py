"""What a proven token may say, by table; and that what is written is read back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import msgspec
import pytest

from hub.auth import ClaimRules, InvalidToken
from hub.auth.claims import read_claims, write_claims
from hub.core.principal import Role
from tests.auth.forge import NOW, NOW_S, SECRET, assemble, claims, hs256, verifier

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no exp", {"exp": None}, "no_expiry"),
    ("exp text", {"exp": "soon"}, "malformed"),
    ("exp a switch", {"exp": True}, "malformed"),
    ("exp negative", {"exp": -1}, "malformed"),
    ("exp past the year 9999", {"exp": 1e300}, "malformed"),
    ("exp over", {"exp": NOW_S - 31}, "expired"),
    ("nbf to come", {"nbf": NOW_S + 31}, "not_yet_valid"),
    ("iat to come", {"iat": NOW_S + 31}, "not_yet_valid"),
    ("iat text", {"iat": "now"}, "malformed"),
    ("no tenant", {"tenant": None}, "bad_tenant"),
    ("tenant empty", {"tenant": ""}, "bad_tenant"),
    ("tenant of 65", {"tenant": "a" * 65}, "bad_tenant"),
    ("tenant with a colon", {"tenant": "a:b"}, "bad_tenant"),
    ("tenant with a star", {"tenant": "*"}, "bad_tenant"),
    ("tenant with a line break", {"tenant": "acme\n"}, "bad_tenant"),
    ("tenant with NUL", {"tenant": "acme\0"}, "bad_tenant"),
    ("tenant with other letters", {"tenant": "акме"}, "bad_tenant"),
    ("tenant a number", {"tenant": 5}, "bad_tenant"),
    ("no role", {"role": None}, "unknown_role"),
    ("role unknown", {"role": "root"}, "unknown_role"),
    ("role in capitals", {"role": "Admin"}, "unknown_role"),
    ("role a number", {"role": 1}, "unknown_role"),
    ("roles empty", {"role": []}, "unknown_role"),
    ("roles nested", {"role": [["admin"]]}, "unknown_role"),
    ("no sub", {"sub": None}, "bad_subject"),
    ("sub empty", {"sub": ""}, "bad_subject"),
    ("sub zero", {"sub": "0"}, "bad_subject"),
    ("sub negative", {"sub": "-7"}, "bad_subject"),
    ("sub with a plus", {"sub": "+7"}, "bad_subject"),
    ("sub with a zero before", {"sub": "007"}, "bad_subject"),
    ("sub 2^53", {"sub": str(2**53)}, "bad_subject"),
    ("sub past 64 bits", {"sub": "9" * 200}, "bad_subject"),
    ("sub a fraction", {"sub": 7.5}, "bad_subject"),
    ("sub a switch", {"sub": True}, "bad_subject"),
    ("sub a list", {"sub": ["7"]}, "bad_subject"),
    ("sub a number below one", {"sub": 0}, "bad_subject"),
    ("sub a number past 2^53", {"sub": 2**53}, "bad_subject"),
    ("sub with NUL", {"sub": "ada\0"}, "bad_subject"),
    ("sub of 257", {"sub": "a" * 257}, "bad_subject"),
    ("an audience that is not ours", {"aud": "crm"}, "wrong_audience"),
]


@pytest.mark.parametrize(("changes", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_claims_that_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        await verifier().verify(hs256(**changes))
    assert caught.value.reason == reason


@pytest.mark.parametrize("payload", [b'{"exp": NaN}', b'{"exp": Infinity}', b'{"sub": "\\ud800"}'])
async def test_what_is_not_json_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidToken) as caught:
        await verifier().verify(assemble({"alg": "HS256"}, payload, SECRET))
    assert caught.value.reason == "malformed"


ACCEPTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("the largest id", {"sub": str(2**53 - 1)}, {"user_id": 2**53 - 1}),
    ("an id as a number", {"sub": 7}, {"user_id": 7}),
    ("an outside id", {"sub": "auth0|ada"}, {"user_id": None, "external_id": "auth0|ada"}),
    ("a tenant of every character", {"tenant": "Acme_1.eu-west"}, {"tenant_id": "Acme_1.eu-west"}),
    ("no iat", {"iat": None}, {"issued_at": None}),
    ("iat with a fraction", {"iat": NOW_S - 0.5}, {"issued_at": NOW - timedelta(seconds=0.5)}),
    ("clocks that differ by the leeway", {"iat": NOW_S + 30, "nbf": NOW_S + 30}, {"user_id": 7}),
    ("over, within the leeway", {"exp": NOW_S - 29}, {"expires_at": NOW - timedelta(seconds=29)}),
    ("several roles", {"role": ["x", "agent", "supervisor"]}, {"role": "supervisor"}),
    ("a person's role beside a service's", {"role": ["service", "agent"]}, {"role": "agent"}),
    ("a name with controls", {"name": " A\0d\na\u202e "}, {"name": "Ada"}),
    ("a Persian name", {"name": "علی\u200cرضا"}, {"name": "علی\u200cرضا"}),
    ("a long name", {"name": "x" * 300}, {"name": "x" * 200}),
    ("a name that is none", {"name": 5}, {"name": None}),
]


@pytest.mark.parametrize(("changes", "expected"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_claims_that_are_accepted(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    read = read_claims(claims(**changes), ClaimRules(), NOW)
    assert {name: getattr(read, name) for name in expected} == expected


COMPANY = ClaimRules(
    user="https://crm.example/user.id",
    tenant="org.slug",
    role="realm_access.roles",
    role_map={"Owner": "admin", "Rep": "agent", "Closer": "agent"},
    issuer="https://login.example",
    audience="hub",
)


def company_claims(**changes: Any) -> dict[str, Any]:
    return {
        "https://crm.example/user.id": "9",
        "org": {"slug": "acme"},
        "realm_access": {"roles": ["offline_access", "Closer"]},
        "iss": "https://login.example",
        "aud": ["crm", "hub"],
        "exp": NOW_S + 60,
    } | changes


def test_a_companys_own_tokens_fit() -> None:
    read = read_claims(company_claims(), COMPANY, NOW)
    assert (read.tenant_id, read.user_id, read.role) == ("acme", 9, "agent")
    assert read_claims(company_claims(aud="hub"), COMPANY, NOW) == read


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://login.example/"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"iss": ["https://login.example"]}, "wrong_issuer"),
        ({"aud": "hu"}, "wrong_audience"),
        ({"aud": ["crm"]}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": {"hub": 1}}, "wrong_audience"),
        ({"org": "acme"}, "bad_tenant"),
        ({"org": {}}, "bad_tenant"),
        ({"realm_access": {"roles": ["admin"]}}, "unknown_role"),
        ({"realm_access": None}, "unknown_role"),
        ({"https://crm.example/user.id": None}, "bad_subject"),
    ],
)
def test_a_companys_tokens_that_do_not_fit(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        read_claims(company_claims(**changes), COMPANY, NOW)
    assert caught.value.reason == reason


def test_a_claim_with_a_dot_in_its_name_is_found_as_it_is() -> None:
    rules = ClaimRules(tenant="org.slug")
    assert read_claims(claims(tenant=None) | {"org.slug": "acme"}, rules, NOW).tenant_id == "acme"


@pytest.mark.parametrize("rules", [ClaimRules(), msgspec.structs.replace(COMPANY, role_map={})])
@pytest.mark.parametrize("role", get_args(Role))
def test_what_is_written_is_read_back(rules: ClaimRules, role: Role) -> None:
    written = write_claims(rules, tenant_id="acme", user_id=7, role=role, issued_at=NOW, ttl_s=60, name="Ada")
    read = read_claims(written, rules, NOW)
    assert (read.tenant_id, read.user_id, read.role, read.name) == ("acme", 7, role, "Ada")
    assert (read.issued_at, read.expires_at) == (NOW, NOW + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tenant_id": "a b"}, "A tenant is"),
        ({"user_id": 0}, "A user id is from 1"),
        ({"user_id": 2**53}, "A user id is from 1"),
        ({"user_id": None}, "Only a service"),
        ({"role": "supervisor", "rules": COMPANY}, "HUB_JWT_ROLE_MAP has no name for the role supervisor"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"rules": ClaimRules(), "tenant_id": "acme", "user_id": 7, "role": "agent"} | changes
    with pytest.raises(ValueError, match=words):
        write_claims(given.pop("rules"), **given, issued_at=NOW, ttl_s=60, name=None)
