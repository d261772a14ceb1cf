"""`hub services`: the embedded servers alone, for several nodes on one machine."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console

from hub.cli import Refused
from hub.cli.options import settings_options
from hub.cli.signals import wait_for_stop
from hub.embedded import EmbeddedServices
from hub.embedded.errors import EmbeddedError
from hub.settings import Settings


@click.command()
@settings_options("data_dir")
def services(settings: Settings) -> None:
    """Start an embedded PostgreSQL and Valkey, print both URLs, and keep them running until Ctrl-C."""
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    servers = EmbeddedServices(settings.data_dir)
    try:
        urls = await servers.start()
    except EmbeddedError as error:
        raise Refused(str(error)) from None
    try:
        # On standard output, so that a shell can take them over: eval "$(hub services | head -2)".
        click.echo(f"export HUB_DATABASE_URL={urls.database_url}")
        click.echo(f"export HUB_REDIS_URL={urls.redis_url}")
        Console(stderr=True).print("Both servers answer. Ctrl-C stops them.")
        await wait_for_stop()
    finally:
        await servers.stop()
