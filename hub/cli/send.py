"""`hub send`: create a notification over REST, and say what became of it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, get_args

import click

from hub.auth.claims import USER_ID_MAX
from hub.cli.options import settings_options
from hub.cli.target import GetToken, address, target_options, token_source
from hub.client.errors import Refused as HubRefused
from hub.client.errors import Unreachable
from hub.client.rest import HubRest
from hub.core.notification import Kind
from hub.core.priority import PRIORITIES
from hub.settings import Settings


@click.command()
@settings_options("data_dir")
@target_options
@click.option("--to", type=click.IntRange(1, USER_ID_MAX), required=True, help="The user's id.", metavar="N")
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True)
@click.option("--type", "kind", type=click.Choice(get_args(Kind)), default="system", show_default=True)
@click.argument("title")
@click.argument("message")
def send(
    settings: Settings,
    url: str | None,
    token: str | None,
    tenant: str | None,
    to: int,
    priority: str,
    kind: str,
    title: str,
    message: str,
) -> None:
    """Notify a user.

    Prints one line: what became of it. Exits 1 where the hub refused, with one sentence for each field, or
    could not be reached; sent again until it is answered, it is created once.
    """
    base = address(settings, url)
    source = token_source(settings, base, token, tenant, None, "service")
    body = {"user_id": to, "type": kind, "title": title, "message": message, "priority": priority}
    try:
        created = asyncio.run(_post(base, source, body))
    except HubRefused as refused:
        for sentence in refused.sentences:
            click.echo(sentence, err=True)
        sys.exit(1)
    except Unreachable as error:
        fate = "It may have been created, or not" if error.may_have_happened else "It was not created"
        click.echo(f"{error}. {fate}.", err=True)
        sys.exit(1)
    click.echo(f"Notification {created['id']} for user {created['user_id']} is {_outcome(created)}.")


async def _post(base: str, source: GetToken | str, body: dict[str, Any]) -> dict[str, Any]:
    async def given() -> str:
        return source if isinstance(source, str) else await source()

    async with HubRest(base, given) as rest:
        return (await rest.post("/notifications", body)).data


def _outcome(created: dict[str, Any]) -> str:
    match created.get("outcome"):
        case "held":
            return f"held until {created['held_until']}" if created.get("held_until") else "held without an end"
        case "muted":
            return "muted: kept for the record, nobody is told"
        case "expired":
            return "expired already: kept for the record, nobody is told"
        case outcome:
            return str(outcome)
