"""The key of a hub that was given none: a file of its own data directory.

Only for one machine: whether it may be used at all is `hub.settings`' to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hub.settings import SettingsError

FILE_NAME: Final = "jwt.key"
_KEY_BYTES: Final = 32


def development_key(data_dir: Path, new_secret: Callable[[int], str]) -> str:
    """The directory's key, made with `new_secret` on first use, readable by its owner alone.

    Whoever calls at the same time, in this process or another, gets the same key: the
    file appears whole or not at all, and the first one stays.

    Raises:
        SettingsError: one sentence, where the file cannot be made, read, or trusted.
    """
    path = data_dir / FILE_NAME
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _place(path, new_secret)
        mode = path.stat().st_mode & 0o777
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"The development key {path} cannot be used: {reason}.") from None
    if mode & 0o077:
        raise SettingsError(f"The development key {path} can be read by others: run chmod 600 {path}.")
    if len(secret.encode()) < _KEY_BYTES:
        raise SettingsError(f"The development key {path} is shorter than {_KEY_BYTES} bytes: delete it for a new one.")
    return secret


def _place(path: Path, new_secret: Callable[[int], str]) -> None:
    secret = new_secret(_KEY_BYTES)
    draft = path.with_name(f".{path.name}.{new_secret(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never takes the place of a key that another process has just made.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
