"""`hub token`: mint tokens with the hub's own key."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from hub import clock
from hub.auth.claims import USER_ID_MAX
from hub.auth.minting import Minter, minter_of
from hub.cli import Refused
from hub.cli.options import settings_options
from hub.core.principal import Role
from hub.settings import Settings

USERS_MAX = 1_000_000
"""A range is for load tests: past this a digit too many is likelier than the wish."""

TTL_MAX_S = 10 * 365 * 86400


@click.command()
@settings_options("data_dir")
@click.option("--tenant", required=True, help="The tenant that the token is for.")
@click.option("--user", help="A user id, or a range such as 1-10000. Only a service has none.")
@click.option("--role", type=click.Choice(get_args(Role)), default="agent", show_default=True)
@click.option(
    "--ttl", type=click.IntRange(1, TTL_MAX_S), default=3600, show_default=True, help="Seconds it is good for."
)
@click.option("--name", help="The person's name, which fills an empty display name.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write tenant,user,token as CSV to this file."
)
def token(
    settings: Settings, tenant: str, user: str | None, role: Role, ttl: int, name: str | None, out: Path | None
) -> None:
    """Mint a token with HUB_JWT_SECRET, or with the data directory's own key, which is made on first use.

    One user's token is printed alone, ready for a variable; those of a range are CSV.
    """
    minter = minter_of(settings, clock.token)
    users = _users(user, role)
    if out is None and (users is None or len(users) == 1):
        click.echo(_mint(minter, tenant, users[0] if users else None, role, ttl, name))
        return
    rows = (
        (tenant, "" if one is None else one, _mint(minter, tenant, one, role, ttl, name)) for one in users or [None]
    )
    if out is None:
        click.echo("".join(_lines(rows)), nl=False)
        return
    _write(out, _lines(rows))
    click.echo(f"{len(users) if users else 1} tokens in {out}", err=True)


def _users(text: str | None, role: Role) -> range | None:
    if text is None:
        if role != "service":
            raise Refused("--user must be given: only a service has none.")
        return None
    found = re.fullmatch(r"(\d{1,16})(?:-(\d{1,16}))?", text, re.ASCII)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= USER_ID_MAX:
        raise Refused(
            f"--user is {text!r}, but must be an id from 1 to {USER_ID_MAX}, or a range of them such as 1-100."
        )
    if last - first >= USERS_MAX:
        raise Refused(f"--user is {text!r}, but a range may hold at most {USERS_MAX} ids.")
    return range(first, last + 1)


def _mint(minter: Minter, tenant: str, user_id: int | None, role: Role, ttl_s: int, name: str | None) -> str:
    try:
        return minter.mint(tenant_id=tenant, user_id=user_id, role=role, now=clock.now(), ttl_s=ttl_s, name=name)
    except ValueError as error:
        raise Refused(str(error)) from None


def _lines(rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    for row in (("tenant", "user", "token"), *rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        yield line.getvalue()


def _write(path: Path, lines: Iterator[str]) -> None:
    try:
        # Whoever reads these is these users: so the file is for its owner alone, also where it was there before.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o600)
            file.writelines(lines)
    except OSError as error:
        raise Refused(f"--out is {str(path)!r}, which cannot be written: {error.strerror}.") from None
