"""Brings the schema up, from the numbered SQL in the package `migrations`.

Owns the order, the record in `schema_migrations`, and the lock by which any
number of nodes may start at once: one migrates, the others wait and find it
done. Forward only. A database that is ahead of this code is served: that is
what a rolling upgrade looks like from the older node.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Final

import asyncpg
import msgspec

from hub.store.errors import judged
from hub.store.owner import owning
from hub.store.pool import Tx

_log = logging.getLogger(__name__)

_FILE: Final = re.compile(r"^(\d{4})_(pre|post)_[a-z0-9_]+\.sql$")
_LOCK: Final = 0x6875622D6D696772
"""The advisory lock of migrations: "hub-migr"."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS public.schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE public.schema_migrations IS 'Migrations applied, each in its own transaction';
COMMENT ON INDEX public.schema_migrations_pkey IS 'what is applied; what is pending';
"""
_RECORD: Final = (
    "INSERT INTO public.schema_migrations (version, name, checksum) VALUES ($1, $2, $3) RETURNING applied_at"
)


class MigrationError(Exception):
    """The schema cannot be brought up. The text is one sentence for the operator; the last migration was undone."""


class Migration(msgspec.Struct, frozen=True):
    """One file. `checksum` is the SHA-256 of its text, in hex."""

    version: int
    name: str
    checksum: str
    sql: str


class Applied(msgspec.Struct, frozen=True):
    """A migration as the database has recorded it."""

    version: int
    name: str
    checksum: str
    applied_at: datetime


class Status(msgspec.Struct, frozen=True):
    """Where a database stands. `unknown` are migrations of newer code than this."""

    applied: list[Applied]
    pending: list[int]
    unknown: list[Applied]


@cache
def bundled() -> tuple[Migration, ...]:
    """The migrations of this code, ascending from 1 without a gap; read from the wheel too.

    Raises:
        MigrationError: a file is misnamed, or a number is missing or given twice.
    """
    files = resources.files("migrations").iterdir()
    return ordered({file.name: file.read_text("utf-8") for file in files if file.name.endswith(".sql")})


def ordered(files: Mapping[str, str]) -> tuple[Migration, ...]:
    """Migrations from file names and texts, checked as `bundled` says."""
    found: list[Migration] = []
    for name, text in sorted(files.items()):
        match = _FILE.match(name)
        if match is None:
            raise MigrationError(f"{name} is not named like 0001_pre_words.sql or 0001_post_words.sql")
        version = int(match[1])
        if version != len(found) + 1:
            raise MigrationError(f"{name} stands where number {len(found) + 1:04} belongs")
        found.append(Migration(version, name.removesuffix(".sql"), hashlib.sha256(text.encode()).hexdigest(), text))
    return tuple(found)


async def migrate(database_url: str, *, to: int | None = None, wait_s: float = 300) -> list[Applied]:
    """Apply what is pending, up to number `to` (None = all), and answer what this call applied, in order.

    Any number may run at once: one works while the others wait, up to `wait_s` seconds. Cancelling, or
    dying, undoes the migration that runs; those before it stand.

    Raises:
        MigrationError: `to` is unknown, a checksum has changed, SQL failed, or the wait was too long.
        DatabaseUnavailable: PostgreSQL cannot be reached.
    """
    known = bundled()
    target = len(known) if to is None else to
    if not 0 <= target <= len(known):
        raise MigrationError(f"there is no migration {target}: the last is {len(known)}")
    async with _connected(database_url) as connection:
        await _lock(connection, wait_s)
        await connection.execute(_TABLE)
        status = compared(known, await _read(connection))
        if status.unknown:
            _log.warning("the database has newer migrations: %s", ", ".join(one.name for one in status.unknown))
        return [await _apply(connection, known[version - 1]) for version in status.pending if version <= target]


async def status(database_url: str) -> Status:
    """Where the database stands; changes nothing. Raises as `migrate` does."""
    async with _connected(database_url) as connection:
        return compared(bundled(), await _read(connection))


async def pending(database_url: str) -> list[int]:
    """The numbers that `migrate` would apply, ascending; changes nothing. Raises as `migrate` does."""
    return (await status(database_url)).pending


def compared(known: Sequence[Migration], applied: Sequence[Applied]) -> Status:
    """What the record of a database means to this code.

    Raises:
        MigrationError: a migration was changed after it was applied.
    """
    recorded = {one.version: one for one in applied}
    for migration in known:
        record = recorded.get(migration.version)
        if record is not None and record.checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.name} was changed after it was applied: its checksum is "
                f"{migration.checksum[:12]}…, the database recorded {record.checksum[:12]}…"
            )
    return Status(
        applied=list(applied),
        pending=[one.version for one in known if one.version not in recorded],
        unknown=[one for one in applied if one.version > len(known)],
    )


@asynccontextmanager
async def _connected(database_url: str) -> AsyncGenerator[Tx]:
    try:
        async with owning(database_url) as connection:
            yield connection
    except asyncpg.PostgresError as error:
        raise MigrationError(f"PostgreSQL refused: {error}") from error


async def _lock(connection: Tx, wait_s: float) -> None:
    await connection.execute("SELECT set_config('lock_timeout', $1, false)", f"{max(1, round(wait_s * 1000))}ms")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    except asyncpg.LockNotAvailableError:
        raise MigrationError(f"another node has been migrating for more than {wait_s:g} s") from None
    # A migration that cannot have its table soon gives up, rather than hold up all who queue behind it.
    await connection.execute("SET lock_timeout = '10s'; SET search_path = public")


async def _read(connection: Tx) -> list[Applied]:
    if await connection.fetchval("SELECT to_regclass('public.schema_migrations')") is None:
        return []
    rows = await connection.fetch(
        "SELECT version, name, checksum, applied_at FROM public.schema_migrations ORDER BY version"
    )
    return [Applied(*row) for row in rows]


async def _apply(connection: Tx, migration: Migration) -> Applied:
    try:
        await connection.execute("BEGIN")
        await connection.execute(migration.sql)
        applied_at = await connection.fetchval(_RECORD, migration.version, migration.name, migration.checksum)
        await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        if judged(error) is not None:
            raise
        reason = " ".join(str(error).split())  # with its hint, which asyncpg puts on a line of its own
        raise MigrationError(f"migration {migration.name} failed and was undone: {reason}") from error
    _log.info("applied migration %s", migration.name)
    return Applied(migration.version, migration.name, migration.checksum, applied_at)
