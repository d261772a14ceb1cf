"""Makes the hub's own tokens, and what verifies them, from the settings.

What is minted here is proven by the verifier of the same settings: same key,
same names of claims, same issuer and audience.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import msgspec

from hub.auth.api_keys import ApiKeys, ApiKeyVerifier
from hub.auth.claims import ClaimRules, write_claims
from hub.auth.development_key import development_key
from hub.auth.jwks import JwksKeys, file_fetcher, https_fetcher, parse_jwks
from hub.auth.keys import FixedKeys, Key, KeySource, public_key, secret_key
from hub.auth.revocations import Revocations
from hub.auth.tokens import Clock, ExternalIds, TokenVerifier
from hub.core.principal import Role
from hub.settings import Settings, SettingsError, has_token_key, uses_development_key

NewSecret = Callable[[int], str]
"""So many random bytes as URL-safe text: `hub.clock.token`."""


class Minter(msgspec.Struct, frozen=True):
    """Signs tokens with a shared secret."""

    key: Key
    rules: ClaimRules

    def mint(
        self,
        *,
        tenant_id: str,
        user_id: int | None,
        role: Role = "agent",
        now: datetime,
        ttl_s: int = 3600,
        name: str | None = None,
    ) -> str:
        """A token that is good for `ttl_s` seconds from `now`. Only a service may be without a user.

        Raises:
            ValueError: with a sentence, where a value is outside its bounds.
        """
        payload: dict[str, Any] = write_claims(
            self.rules, tenant_id=tenant_id, user_id=user_id, role=role, issued_at=now, ttl_s=ttl_s, name=name
        )
        return jwt.encode(payload, self.key.material, algorithm=self.key.algorithm)


def claim_rules(settings: Settings) -> ClaimRules:
    """How these settings read and write tokens."""
    return ClaimRules(
        user=settings.jwt_claim_user,
        tenant=settings.jwt_claim_tenant,
        role=settings.jwt_claim_role,
        role_map=settings.jwt_role_map,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_s=settings.jwt_leeway_s,
    )


def minter_of(settings: Settings, new_secret: NewSecret) -> Minter:
    """What mints tokens by these settings, with the development key where that may be used.

    Raises:
        SettingsError: one sentence, where the settings only verify, or name no key where one must be named.
    """
    if settings.jwt_secret is None and has_token_key(settings):
        name = "HUB_JWT_PUBLIC_KEY" if settings.jwt_public_key else "HUB_JWT_JWKS"
        raise SettingsError(f"{name} is given, which only verifies tokens: have them minted by their issuer.")
    return Minter(_shared_key(settings, new_secret), claim_rules(settings))


def key_source_of(settings: Settings, clock: Clock, new_secret: NewSecret) -> KeySource:
    """What verifies tokens by these settings. Reads a JWKS file now; a URL is fetched on `warm` or by the first token.

    Raises:
        SettingsError: one sentence, where a key cannot be used.
    """
    algorithm = settings.jwt_algorithm
    if settings.jwt_public_key is not None:
        try:
            return FixedKeys([public_key(settings.jwt_public_key, algorithm)])
        except ValueError as error:
            raise SettingsError(f"HUB_JWT_PUBLIC_KEY is set, but must be {error}.") from None
    if settings.jwt_jwks is not None:
        if "://" in settings.jwt_jwks:
            return JwksKeys(https_fetcher(settings.jwt_jwks), clock, algorithm=algorithm)
        path = Path(settings.jwt_jwks).expanduser()
        try:
            first = parse_jwks(path.read_bytes(), algorithm)
        except OSError as error:
            raise SettingsError(f"HUB_JWT_JWKS is {str(path)!r}, which cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise SettingsError(f"HUB_JWT_JWKS is {str(path)!r}, but must be {error}.") from None
        return JwksKeys(file_fetcher(path), clock, algorithm=algorithm, first=first)
    keys = [_shared_key(settings, new_secret)]
    if settings.jwt_secret_previous is not None:
        keys.append(_secret("HUB_JWT_SECRET_PREVIOUS", settings.jwt_secret_previous))
    return FixedKeys(keys)


def verifier_of(
    settings: Settings,
    *,
    clock: Clock,
    new_secret: NewSecret,
    revocations: Revocations | None = None,
    external_ids: ExternalIds | None = None,
    api_keys: ApiKeys | None = None,
) -> TokenVerifier:
    """The verifier that these settings ask for.

    Raises:
        SettingsError: one sentence, where a key cannot be used.
    """
    return TokenVerifier(
        key_source_of(settings, clock, new_secret),
        claim_rules(settings),
        clock,
        revocations=revocations,
        external_ids=external_ids,
        api_keys=None if api_keys is None else ApiKeyVerifier(api_keys, clock),
    )


def _shared_key(settings: Settings, new_secret: NewSecret) -> Key:
    if settings.jwt_secret is not None:
        return _secret("HUB_JWT_SECRET", settings.jwt_secret)
    if not uses_development_key(settings):
        raise SettingsError(
            "The development key is only for a hub on loopback with its own PostgreSQL: "
            "give HUB_JWT_SECRET, HUB_JWT_PUBLIC_KEY or HUB_JWT_JWKS."
        )
    return secret_key(development_key(settings.data_dir, new_secret))


def _secret(variable: str, secret: str) -> Key:
    try:
        return secret_key(secret)
    except ValueError as error:
        raise SettingsError(f"{variable} is set, but must be {error}.") from None
