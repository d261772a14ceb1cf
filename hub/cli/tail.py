"""`hub tail`: a person's live stream in a terminal."""

from __future__ import annotations

import asyncio
import sys

import click

from hub.auth.claims import USER_ID_MAX
from hub.cli.options import settings_options
from hub.cli.signals import wait_for_stop
from hub.cli.stream_view import JsonView, LinesView, ScreenView, View
from hub.cli.target import GetToken, address, target_options, token_source
from hub.client.client import HubClient
from hub.client.errors import HubStopped
from hub.settings import Settings

SAMPLE_USER = 1


@click.command()
@settings_options("data_dir")
@target_options
@click.option("--user", type=click.IntRange(1, USER_ID_MAX), help="Whose stream.  [default: 1]", metavar="N")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the connection's states on stderr.")
def tail(
    settings: Settings, url: str | None, token: str | None, tenant: str | None, user: int | None, as_json: bool
) -> None:
    """Follow a person's notifications and tasks as they happen.

    Comes back by itself wherever the connection ends, with what was missed. Ctrl-C ends it. Exits 1 where the
    hub says that there is no coming back.
    """
    base = address(settings, url)
    source = token_source(settings, base, token, tenant, user or (None if token else SAMPLE_USER), "agent")
    view: View
    if as_json:
        view = JsonView()
    elif sys.stdout.isatty():
        view = ScreenView()
    else:
        view = LinesView()
    try:
        asyncio.run(_follow(base, source, view))
    except HubStopped as stopped:
        click.echo(f"Stopped: {stopped.reason}.", err=True)
        sys.exit(1)


async def _follow(base: str, source: GetToken | str, view: View) -> None:
    """Show what comes until Ctrl-C or SIGTERM. Raises `HubStopped` where there is no coming back."""
    client = HubClient(
        base,
        token=source if isinstance(source, str) else None,
        get_token=None if isinstance(source, str) else source,
        device="hub tail",
        can_ring=view.can_ring,
        on_state=view.state,
    )

    async def show() -> None:
        async with client:
            async for item in client:
                view.item(item, client.counts)

    with view:
        view.state(client.state)
        showing = asyncio.create_task(show())
        stopping = asyncio.create_task(wait_for_stop())
        try:
            await asyncio.wait([showing, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            showing.cancel()
            ended = await asyncio.gather(showing, stopping, return_exceptions=True)
    if isinstance(ended[0], Exception):
        raise ended[0]
