"""`hub serve`: a node."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
from typing import Final

import click
from rich.console import Console

from hub import clock
from hub.auth.minting import minter_of
from hub.cli import Refused
from hub.cli.options import SettingsCommand, settings_options
from hub.cli.signals import wait_for_stop
from hub.core.principal import Role
from hub.core.sample import SAMPLE_PEOPLE, SAMPLE_TENANT
from hub.embedded import EmbeddedServices
from hub.embedded.errors import EmbeddedError
from hub.settings import SECRET_BYTES_MIN, Settings, allows_sample_sign_in, check, short_secrets, uses_development_key
from hub.store.errors import DatabaseUnavailable
from hub.store.migrations import MigrationError

_COLLECTED_EVERY: Final = (20_000, 10, 20)
"""How many more objects make Python look for cycles. Its own 700 are fewer than one bulk makes of things that all live
until it is answered: a tenth of the work was to look at them again and again."""


@click.command(cls=SettingsCommand)
@settings_options("host", "port", "workers", "database_url", "redis_url", "data_dir", "embedded")
def serve(settings: Settings) -> None:
    """Serve REST, the live protocol and the page; start an embedded PostgreSQL and Valkey where no URL is given."""
    if broken := check(settings):
        raise Refused(" ".join(broken))
    if settings.workers > 1:
        raise Refused("--workers is more than 1: start that many nodes with the same two URLs, each on its own port.")
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    for name in short_secrets(settings):
        logging.getLogger("hub").warning("HUB_%s is shorter than %d bytes", name.upper(), SECRET_BYTES_MIN)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_run(settings))
    except (EmbeddedError, MigrationError) as error:
        raise Refused(str(error)) from None


async def _run(settings: Settings) -> None:
    # Imported here: `hub serve --help` should not load a server.
    from api.server import HubServer

    async with contextlib.AsyncExitStack() as stack:
        database_url, redis_url = await _servers(settings, stack)
        try:
            server = HubServer(settings, database_url, redis_url)
        except ValueError as error:
            raise Refused(f"HUB_REDIS_URL cannot be used: {error}") from None
        # What is loaded by now stays for good.
        gc.freeze()
        gc.set_threshold(*_COLLECTED_EVERY)
        running = asyncio.create_task(server.run(on_started=lambda port: _greet(settings, port)))
        stopping = asyncio.create_task(wait_for_stop())
        try:
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await server.stop()
            await running
        except DatabaseUnavailable as error:
            raise Refused(str(error)) from None
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)


async def _servers(settings: Settings, stack: contextlib.AsyncExitStack) -> tuple[str, str]:
    """Both URLs, of embedded servers where none was given. They stop when the stack is left."""
    database_url, redis_url = settings.database_url, settings.redis_url
    if database_url is not None and redis_url is not None:
        return database_url, redis_url
    if not settings.embedded:
        raise Refused("HUB_EMBEDDED is off, so HUB_DATABASE_URL and HUB_REDIS_URL must be given.")
    services = EmbeddedServices(settings.data_dir, postgres=database_url is None, valkey=redis_url is None)
    urls = await stack.enter_async_context(services)
    database_url, redis_url = database_url or urls.database_url, redis_url or urls.redis_url
    assert database_url is not None
    assert redis_url is not None
    return database_url, redis_url


def _greet(settings: Settings, port: int) -> None:
    """Say where the hub is, and what to paste to see it work."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    base = f"http://{host}:{port}{settings.root_path}"
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"The hub serves at [bold]{base}[/bold]. Ctrl-C stops it and all that it started.")
    if not (uses_development_key(settings) and allows_sample_sign_in(settings)):
        return
    minter = minter_of(settings, clock.token)

    def mint(role: Role, user_id: int | None) -> str:
        return minter.mint(tenant_id=SAMPLE_TENANT, user_id=user_id, role=role, now=clock.now(), ttl_s=86400, name=None)

    hub = sys.argv[0] if "/" in sys.argv[0] else "hub"
    where = "" if port == Settings().port else f" --url {base}"
    where += "" if settings.data_dir == Settings().data_dir else f" --data-dir {settings.data_dir}"
    one = SAMPLE_PEOPLE[0]
    people = ", ".join(f"{person.user_id} {person.name}" for person in SAMPLE_PEOPLE)
    console.print(
        f"\nSample users of the tenant '{SAMPLE_TENANT}': {people}.\n"
        f"A token of {one.name}, good for a day:\n\n"
        f"  {mint(one.role, one.user_id)}\n\n"
        f"See it work. In one terminal, that agent's stream:\n\n"
        f"  {hub} tail --tenant {SAMPLE_TENANT} --user {one.user_id}{where}\n\n"
        f"In another, a notification for them:\n\n"
        f'  {hub} send --tenant {SAMPLE_TENANT} --to {one.user_id} "Call back" "Mrs. Ada at 15:00"{where}\n\n'
        f"The same without the hub command:\n\n"
        f"  curl -s {base}/api/v1/notifications -H 'Content-Type: application/json' \\\n"
        f"    -H 'Authorization: Bearer {mint('service', None)}' \\\n"
        f'    -d \'{{"user_id": {one.user_id}, "type": "system", "title": "Call back", "message": "Mrs. Ada"}}\'\n'
    )
