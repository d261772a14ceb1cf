"""Why a credential is refused: one word for machines, one sentence for people.

Neither ever holds any part of the credential, so both may be logged and answered.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Reason = Literal[
    "malformed",
    "too_large",
    "wrong_algorithm",
    "unknown_key",
    "bad_signature",
    "no_expiry",
    "expired",
    "not_yet_valid",
    "wrong_issuer",
    "wrong_audience",
    "bad_tenant",
    "unknown_role",
    "bad_subject",
    "unknown_user",
    "revoked",
    "bad_api_key",
]

SENTENCES: Final[dict[Reason, str]] = {
    "malformed": "The token is not a JSON Web Token.",
    "too_large": "The token is larger than 8 KiB.",
    "wrong_algorithm": "The token is not signed with the algorithm that is configured here.",
    "unknown_key": "The token is signed with a key that is not known here.",
    "bad_signature": "The token's signature does not match.",
    "no_expiry": "The token has no time of expiry.",
    "expired": "The token has expired.",
    "not_yet_valid": "The token is not valid yet.",
    "wrong_issuer": "The token comes from another issuer.",
    "wrong_audience": "The token is meant for another audience.",
    "bad_tenant": "The token names no tenant, or not in 1 to 64 characters of A-Z a-z 0-9 _ . -",
    "unknown_role": "The token has no role that is known here.",
    "bad_subject": "The token's subject is not a user id from 1 to 2^53-1.",
    "unknown_user": "The token's subject is not known as an external id.",
    "revoked": "The token was revoked.",
    "bad_api_key": "The API key is not known, or was revoked.",
}


class Bearer(msgspec.Struct, frozen=True):
    """Whose a credential is that is refused, as far as it proves that: its signature holds, or its secret is known."""

    tenant_id: str
    user_id: int | None = None
    api_key_id: int | None = None


class InvalidToken(Exception):
    """The credential proves nothing now. `reason` is for machines; the text is a sentence for people.

    `bearer` is None where it is not even known to be one of ours.
    """

    def __init__(self, reason: Reason, bearer: Bearer | None = None) -> None:
        super().__init__(SENTENCES[reason])
        self.reason: Reason = reason
        self.bearer = bearer


class KeysUnavailable(Exception):
    """Nothing can be told of a token now: the keys were never had, and cannot be fetched. Try again later."""
