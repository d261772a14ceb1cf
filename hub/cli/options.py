"""Settings as options of a command.

`@settings_options("port", "data_dir")` gives a command those flags, and a
`Settings` made of them and the environment as its first argument. With
`cls=SettingsCommand` its `--help` lists every variable as well.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import click

from hub.settings import Described, described, load, misspelt


def settings_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Flags for these settings. The command is called with `settings`, and then whatever else it takes.

    A value that breaks its rule raises `SettingsError`, which `hub.cli.main` makes one
    sentence and exit 2; a variable that looks misspelt is a warning on the error stream.
    """
    chosen = {one.name: one for one in described()}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_settings(*args: Any, **values: Any) -> Any:
            overrides = {name: values.pop(name) for name in names}
            settings = load(os.environ, **overrides)
            for sentence in misspelt(os.environ):
                click.echo(f"Warning: {sentence}", err=True)
            return command(settings, *args, **values)

        decorated: Callable[..., Any] = with_settings
        for name in reversed(names):
            decorated = _flag(chosen[name])(decorated)
        return decorated

    return decorate


def _flag(one: Described) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    # Everything is taken as text and left to `load`, so that a flag and its variable have one rule and one sentence.
    help_text = one.option.help + (f"  [default: {one.default}]" if one.default else "")
    if one.kind is bool:
        return click.option(f"{one.flag}/--no-{one.flag.removeprefix('--')}", one.name, default=None, help=help_text)
    metavar = "N" if one.kind in (int, float) else "TEXT"
    return click.option(one.flag, one.name, default=None, metavar=metavar, help=help_text)


class SettingsCommand(click.Command):
    """A command whose help ends with every setting, as the environment names it."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: list[tuple[str, str]] = []
        for one in described():
            default = f"  [default: {one.default}]" if one.default else ""
            file = f"  Also {one.file_variable}." if one.file_variable else ""
            rows.append((one.variable, one.sentence + file + default))
        with formatter.section("Environment"):
            formatter.write_dl(rows, col_max=32)
        super().format_epilog(ctx, formatter)
