"""The `hub` command: one file a subcommand, loaded when it is called.

A subcommand `x` is the click command `x` in `hub/cli/x.py`. What goes wrong by
its caller's doing is one sentence on the error stream and exit 2.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

import click

from hub.settings import SettingsError

COMMANDS: Final = ("serve", "services", "migrate", "token", "send", "tail", "watch", "epoch", "doctor")
"""In the order in which `hub --help` lists them."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if importlib.util.find_spec(f"{__name__}.{name}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Only the one that is called: `hub token` should not wait for the imports of a server.
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise Refused(str(error)) from None


class Refused(click.ClickException):
    """Stop with this sentence and exit 2: what was asked for or configured cannot be."""

    exit_code = 2


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="notification-hub", prog_name="hub")
def main() -> None:
    """Real-time notifications: PostgreSQL is the truth, Redis the hint, WebSocket the wire."""
