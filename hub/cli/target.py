"""Which hub a client command talks to, and as whom.

Owns `--url`, `--token` and `--tenant`. Without a token one is minted with the
key of `HUB_JWT_SECRET`, or the data directory's own: that key is only ever used
for a hub on this machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import click

from hub import clock
from hub.auth.development_key import FILE_NAME
from hub.auth.minting import Minter, minter_of
from hub.cli import Refused
from hub.client.rest import rest_url
from hub.core.principal import Role
from hub.core.sample import SAMPLE_TENANT
from hub.settings import Settings, is_loopback, uses_development_key

_TTL_S: Final = 3600

GetToken = Callable[[], Awaitable[str]]


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--url`, `--token` and `--tenant`, as arguments of these names."""
    for option in (
        click.option("--tenant", help=f"The tenant, where a token is minted.  [default: {SAMPLE_TENANT}]"),
        click.option("--token", envvar="HUB_TOKEN", help="A JWT or an API key; better given as HUB_TOKEN."),
        click.option("--url", envvar="HUB_URL", help="The hub's address.  [default: HUB_HOST and HUB_PORT]"),
    ):
        command = option(command)
    return command


def address(settings: Settings, url: str | None) -> str:
    """The hub's base URL. Raises `Refused` where it is none."""
    if url is None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return f"http://{host}:{settings.port}{settings.root_path}"
    try:
        return rest_url(url)
    except ValueError as error:
        raise Refused(f"--url: {error}.") from None


def token_source(
    settings: Settings, url: str, token: str | None, tenant: str | None, user_id: int | None, role: Role
) -> GetToken | str:
    """The token that was given, or a way to mint one whenever it is needed.

    Raises:
        Refused: both a token and whom to mint it for were given, or neither can be had.
    """
    if token is not None:
        if tenant is not None or (user_id is not None and role == "agent"):
            raise Refused("A token says already who calls: leave out --tenant and --user, or --token and HUB_TOKEN.")
        return token
    minter = _minter(settings, url)

    tenant_id = SAMPLE_TENANT if tenant is None else tenant

    def mint() -> str:
        return minter.mint(tenant_id=tenant_id, user_id=user_id, role=role, now=clock.now(), ttl_s=_TTL_S)

    async def get_token() -> str:
        return mint()

    try:
        mint()
    except ValueError as error:
        raise Refused(str(error)) from None
    return get_token


def _minter(settings: Settings, url: str) -> Minter:
    if uses_development_key(settings):
        if not is_loopback(urlsplit(url).hostname or ""):
            raise Refused("The development key is only for a hub on this machine: give --token or HUB_TOKEN.")
        if not (settings.data_dir / FILE_NAME).exists():
            # Making one here would only bring a 401 from the hub, which has another.
            raise Refused(
                f"There is no key in {str(settings.data_dir)!r} to mint a token with: start `hub serve` here first, "
                "name its directory with --data-dir, or give --token."
            )
    return minter_of(settings, clock.token)
