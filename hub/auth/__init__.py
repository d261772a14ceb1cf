"""Who is calling: tokens, keys, API keys, revocations.

Owns what proves a caller, and the hub's own minting. Does not own HTTP words,
nor what a proven caller may do.
"""

from hub.auth.api_keys import (
    SECRET_BYTES,
    ApiKeyRecord,
    ApiKeys,
    ApiKeyText,
    ApiKeyVerifier,
    digest_of,
    mint_api_key,
    parse_api_key,
)
from hub.auth.claims import TENANT_RULE, USER_ID_MAX, ClaimRules
from hub.auth.development_key import development_key
from hub.auth.minting import Minter, claim_rules, key_source_of, minter_of, verifier_of
from hub.auth.refusal import InvalidToken, KeysUnavailable, Reason
from hub.auth.revocations import Revocation, Revocations
from hub.auth.tokens import ExternalIds, TokenVerifier

__all__ = [
    "SECRET_BYTES",
    "TENANT_RULE",
    "USER_ID_MAX",
    "ApiKeyRecord",
    "ApiKeyText",
    "ApiKeyVerifier",
    "ApiKeys",
    "ClaimRules",
    "ExternalIds",
    "InvalidToken",
    "KeysUnavailable",
    "Minter",
    "Reason",
    "Revocation",
    "Revocations",
    "TokenVerifier",
    "claim_rules",
    "development_key",
    "digest_of",
    "key_source_of",
    "mint_api_key",
    "minter_of",
    "parse_api_key",
    "verifier_of",
]
