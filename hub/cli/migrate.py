"""`hub migrate`: bring the schema up, or say that it is behind."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console

from hub.cli import Refused
from hub.cli.options import settings_options
from hub.embedded import EmbeddedServices
from hub.embedded.errors import EmbeddedError
from hub.settings import Settings
from hub.store.errors import DatabaseUnavailable
from hub.store.migrations import MigrationError, pending
from hub.store.migrations import migrate as bring_up


@click.command()
@settings_options("data_dir", "database_url", "migrate_database_url")
@click.option("--to", type=click.IntRange(min=1), metavar="N", help="Stop after this migration.")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 where the schema is behind.")
def migrate(settings: Settings, to: int | None, *, check: bool) -> None:
    """Bring the schema of HUB_MIGRATE_DATABASE_URL, HUB_DATABASE_URL or the embedded PostgreSQL up."""
    try:
        behind = asyncio.run(_run(settings, to, check=check))
    except (MigrationError, DatabaseUnavailable, EmbeddedError) as error:
        raise Refused(str(error)) from None
    if behind:
        raise SystemExit(1)


async def _run(settings: Settings, to: int | None, *, check: bool) -> bool:
    url = settings.migrate_database_url or settings.database_url
    if url is not None:
        return await _migrate(url, to, check=check)
    async with EmbeddedServices(settings.data_dir, valkey=False) as urls:
        assert urls.database_url is not None
        return await _migrate(urls.database_url, to, check=check)


async def _migrate(url: str, to: int | None, *, check: bool) -> bool:
    """True where migrations wait and were only looked at."""
    console = Console(stderr=True)
    if check:
        waiting = await pending(url)
        console.print(
            f"Behind: migrations {', '.join(map(str, waiting))} wait." if waiting else "The schema is up to date."
        )
        return bool(waiting)
    applied = await bring_up(url, to=to)
    for one in applied:
        console.print(f"Applied {one.version:04d} {one.name}")
    if not applied:
        console.print("The schema is up to date.")
    return False
