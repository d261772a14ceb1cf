"""What the servers say on their standard error: a file a run, quoted where one fails.

It stays small: Valkey writes a few lines a run at this level, and PostgreSQL
goes on in files of its own, which it rotates, as soon as it has started.
"""

from __future__ import annotations

from pathlib import Path

_TAIL_BYTES = 4096
_GRAVE = ("FATAL", "PANIC", "ERROR", "error", "# ")


def begin_log(path: Path) -> None:
    """A new file for the next run. That of the last run is kept beside it."""
    if path.exists():
        path.replace(path.with_suffix(path.suffix + ".1"))


def last_words(path: Path) -> str:
    """The last line that tells of trouble, else the last one; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    grave = [line for line in lines if any(mark in line for mark in _GRAVE)]
    return (grave or lines or [""])[-1]
