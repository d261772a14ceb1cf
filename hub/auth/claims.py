"""What a token says, once its signature is proven: who, of which tenant, in which role, and for how long.

Pure. Fits the tokens that a company already issues by claim names, nested
claims and a role map. The clock comes in; nothing of the token is ever put into
an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from hub.auth.refusal import Bearer, InvalidToken, Reason
from hub.core.principal import ROLES, Role

USER_ID_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

TENANT_RULE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
"""A tenant becomes part of topics, keys and paths, where no other character is safe in all of them."""

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_USER_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_EXTERNAL_ID_CHARACTERS_MAX = 256
_NAME_CHARACTERS_MAX = 200
_NEVER_SHOWN = ("Cc", "Cs", "Zl", "Zp")
"""Controls, lone surrogates, line and paragraph breaks. Joiners stay: Persian and Indic names have them."""
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Overrides of the writing direction, with which a name could pose as another."""
_EPOCH_SECONDS_MAX = 253402300799
"""The last second of the year 9999: datetimes go no further."""

_MOST_POWERFUL_FIRST: Final[tuple[Role, ...]] = ("admin", "supervisor", "agent", "service")


class ClaimRules(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are read, and how the hub's own are written. `role_map` is their name of a role to ours."""

    user: str = "sub"
    tenant: str = "tenant"
    role: str = "role"
    role_map: Mapping[str, Role] = {}
    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = 30.0


class Claimed(msgspec.Struct, frozen=True):
    """What a proven token says. `external_id` is set where its subject is no integer; then `user_id` is None."""

    tenant_id: str
    role: Role
    user_id: int | None
    external_id: str | None
    expires_at: datetime
    issued_at: datetime | None
    name: str | None


def read_claims(claims: Mapping[str, Any], rules: ClaimRules, now: datetime) -> Claimed:
    """Read the payload of a token of which the signature is proven.

    Raises:
        InvalidToken: it is not for this hub, not for now, or does not name who calls.
    """
    expires_at = _instant(claims, "exp")
    if expires_at is None:
        raise InvalidToken("no_expiry")
    if is_expired(expires_at, rules, now):
        raise InvalidToken("expired")
    issued_at = _instant(claims, "iat")
    not_before = _instant(claims, "nbf")
    for instant in (issued_at, not_before):
        # One issued in the future would outlive every revocation until then.
        if instant is not None and (instant - now).total_seconds() > rules.leeway_s:
            raise InvalidToken("not_yet_valid")
    _check_addressed(claims, rules)
    tenant_id = _find(claims, rules.tenant)
    if not isinstance(tenant_id, str) or TENANT_RULE.fullmatch(tenant_id) is None:
        raise InvalidToken("bad_tenant")
    user_id, external_id = _subject(_find(claims, rules.user))
    role = _role(_find(claims, rules.role), rules.role_map)
    return Claimed(tenant_id, role, user_id, external_id, expires_at, issued_at, _name(claims.get("name")))


def bearer_of(claims: Mapping[str, Any], rules: ClaimRules) -> Bearer | None:
    """Whom the payload of a token names that is refused all the same; None where it names no tenant."""
    tenant_id = _find(claims, rules.tenant)
    if not isinstance(tenant_id, str) or TENANT_RULE.fullmatch(tenant_id) is None:
        return None
    try:
        user_id, _ = _subject(_find(claims, rules.user))
    except InvalidToken:
        user_id = None
    return Bearer(tenant_id, user_id)


def is_expired(expires_at: datetime, rules: ClaimRules, now: datetime) -> bool:
    """Whether it is over, allowing for clocks that differ."""
    return (now - expires_at).total_seconds() >= rules.leeway_s


def write_claims(
    rules: ClaimRules,
    *,
    tenant_id: str,
    user_id: int | None,
    role: Role,
    issued_at: datetime,
    ttl_s: int,
    name: str | None,
) -> dict[str, Any]:
    """The payload that `read_claims` reads back by the same rules. A service without a user has the subject `service`.

    Raises:
        ValueError: with a sentence, where a value is outside its bounds or the role has no name in the map.
    """
    if TENANT_RULE.fullmatch(tenant_id) is None:
        raise ValueError("A tenant is 1 to 64 characters of A-Z a-z 0-9 _ . - and no others.")
    if user_id is None and role != "service":
        raise ValueError("Only a service has no user.")
    if user_id is not None and not 1 <= user_id <= USER_ID_MAX:
        raise ValueError(f"A user id is from 1 to {USER_ID_MAX}.")
    their_role = next((theirs for theirs, ours in rules.role_map.items() if ours == role), None)
    if rules.role_map and their_role is None:
        raise ValueError(f"HUB_JWT_ROLE_MAP has no name for the role {role}.")
    issued_s = int(issued_at.timestamp())
    payload: dict[str, Any] = {"iat": issued_s, "exp": issued_s + ttl_s}
    _put(payload, rules.user, "service" if user_id is None else str(user_id))
    _put(payload, rules.tenant, tenant_id)
    _put(payload, rules.role, their_role or role)
    optional = {"iss": rules.issuer, "aud": rules.audience, "name": name}
    return payload | {claim: value for claim, value in optional.items() if value is not None}


def _check_addressed(claims: Mapping[str, Any], rules: ClaimRules) -> None:
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise InvalidToken("wrong_issuer")
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    # One that names audiences is refused by whoever does not know itself to be one of them: RFC 7519, 4.1.3.
    if rules.audience not in audiences and (rules.audience is not None or audience is not None):
        raise InvalidToken("wrong_audience")


def _instant(claims: Mapping[str, Any], claim: str) -> datetime | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _EPOCH_SECONDS_MAX:
        raise InvalidToken("malformed")
    return datetime.fromtimestamp(value, UTC)


def _path(name: str) -> list[str]:
    # A claim that is named by a URL has dots that lead nowhere.
    return [name] if "://" in name else name.split(".")


def _find(claims: Mapping[str, Any], name: str) -> object:
    if name in claims:
        return claims[name]
    found: object = claims
    for step in _path(name):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, object]", found).get(step)
    return found


def _put(payload: dict[str, Any], name: str, value: str) -> None:
    *outer, last = _path(name)
    for step in outer:
        payload = payload.setdefault(step, {})
    payload[last] = value


def _subject(subject: object) -> tuple[int | None, str | None]:
    bad: Reason = "bad_subject"
    if isinstance(subject, int) and not isinstance(subject, bool):
        subject = str(subject) if 1 <= subject <= USER_ID_MAX else ""
    if not isinstance(subject, str) or not 1 <= len(subject) <= _EXTERNAL_ID_CHARACTERS_MAX:
        raise InvalidToken(bad)
    if _INTEGER.fullmatch(subject) is not None:
        if _USER_ID.fullmatch(subject) is None or int(subject) > USER_ID_MAX:
            raise InvalidToken(bad)
        return int(subject), None
    if not subject.isprintable():
        raise InvalidToken(bad)
    return None, subject


def _role(claimed: object, role_map: Mapping[str, Role]) -> Role:
    known: Mapping[str, Role] = role_map or {role: role for role in ROLES}
    names = cast("list[object]", claimed) if isinstance(claimed, list) else [claimed]
    held = {known[name] for name in names if isinstance(name, str) and name in known}
    for role in _MOST_POWERFUL_FIRST:
        if role in held:
            return role
    raise InvalidToken("unknown_role")


def _name(name: object) -> str | None:
    if not isinstance(name, str):
        return None
    shown = "".join(c for c in name if unicodedata.category(c) not in _NEVER_SHOWN and c not in _DIRECTIONS).strip()
    return shown[:_NAME_CHARACTERS_MAX] or None
