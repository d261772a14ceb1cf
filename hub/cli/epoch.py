"""`hub epoch new`: after a restore, every client is told to load afresh."""

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
from hub.store.owner import begin_epoch


@click.group()
def epoch() -> None:
    """The history that clients' numbers belong to."""


@epoch.command()
@settings_options("data_dir", "database_url", "migrate_database_url")
def new(settings: Settings) -> None:
    """Begin a new epoch: for a restore that PostgreSQL itself does not show, such as a copied data directory.

    Running nodes notice within their next sweep, and reset their clients.
    """
    try:
        asyncio.run(_run(settings))
    except (DatabaseUnavailable, EmbeddedError) as error:
        raise Refused(str(error)) from None
    Console(stderr=True).print("A new epoch has begun: every client will load afresh.")


async def _run(settings: Settings) -> None:
    url = settings.migrate_database_url or settings.database_url
    if url is not None:
        await begin_epoch(url)
        return
    async with EmbeddedServices(settings.data_dir, valkey=False) as urls:
        assert urls.database_url is not None
        await begin_epoch(urls.database_url)
