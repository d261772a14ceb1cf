"""Secrets that are kept in the database, such that the database alone does not give them away."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.auth.development_key import development_key
from hub.settings import Settings

_PURPOSE: Final = b"notification-hub secrets at rest 1"


class Unreadable(Exception):
    """What was sealed with another key, or changed since."""


class Sealer:
    """Seals and opens with a key made of one secret: every node must have the same."""

    def __init__(self, secret: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
        self._fernet = Fernet(urlsafe_b64encode(key))

    def seal(self, plain: bytes) -> bytes:
        """Encrypted and signed; twice the same is not the same."""
        return self._fernet.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """The inverse. Raises `Unreadable`."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise Unreadable("it was sealed with another key") from None


def sealer_of(settings: Settings, new_secret: Callable[[int], str]) -> Sealer:
    """By `HUB_ENCRYPTION_KEY`; without it by the data directory's own key, as on a hub of one machine.

    Raises:
        SettingsError: the data directory's key cannot be had.
    """
    return Sealer(settings.encryption_key or development_key(settings.data_dir, new_secret))
