"""`hub token`, and what every command shares: one sentence, exit 2, and help that lists each variable."""

# ruff: noqa: E501, ISC004, ASYNC240 - tables of one row a sentence; what blocks here holds nobody up.
from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from hub import clock
from hub.auth import minter_of, verifier_of
from hub.cli import COMMANDS, main
from hub.cli.options import SettingsCommand, settings_options
from hub.settings import Settings, described, load


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [name for name in os.environ if name.startswith("HUB_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HUB_DATA_DIR", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


async def proven(data_dir: Path, token: str) -> Any:
    return await verifier_of(load({}, data_dir=data_dir), clock=clock, new_secret=clock.token).verify(token)


async def test_a_minted_token_is_printed_alone_and_proves(data_dir: Path) -> None:
    result = run("--tenant", "acme", "--user", "7", "--role", "admin", "--ttl", "60", "--name", "Ada")
    assert (result.exit_code, result.stderr) == (0, "")
    principal = await proven(data_dir, result.stdout.removesuffix("\n"))
    assert (principal.tenant_id, principal.user_id, principal.role, principal.name) == ("acme", 7, "admin", "Ada")
    assert (principal.expires_at - principal.issued_at).total_seconds() == 60


async def test_a_service_needs_no_user(data_dir: Path) -> None:
    principal = await proven(data_dir, run("--tenant", "acme", "--role", "service").stdout.strip())
    assert (principal.user_id, principal.role) == (None, "service")


async def test_a_range_is_csv_that_is_for_its_owner_alone(data_dir: Path) -> None:
    out = data_dir / "tokens.csv"
    out.touch(0o644)
    result = run("--tenant", "acme", "--user", "1-300", "--out", str(out))
    assert (result.exit_code, result.stdout) == (0, "")
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["tenant"], row["user"]) for row in rows] == [("acme", str(n)) for n in range(1, 301)]
    assert (await proven(data_dir, rows[299]["token"])).user_id == 300
    printed = run("--tenant", "acme", "--user", "1-2").stdout.splitlines()
    assert [line.split(",")[:2] for line in printed] == [["tenant", "user"], ["acme", "1"], ["acme", "2"]]


async def test_the_secret_of_the_environment_mints(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_JWT_SECRET", "s" * 32)
    token = run("--tenant", "acme", "--user", "7").stdout.strip()
    settings = load({}, jwt_secret="s" * 32)
    assert (await verifier_of(settings, clock=clock, new_secret=clock.token).verify(token)).user_id == 7
    assert list(data_dir.iterdir()) == []


REFUSED: list[tuple[list[str], dict[str, str], str]] = [
    (["--tenant", "a b", "--user", "7"], {}, "Error: A tenant is 1 to 64 characters of A-Z a-z 0-9 _ . - and no others.\n"),
    (["--tenant", "acme"], {}, "Error: --user must be given: only a service has none.\n"),
    (["--tenant", "acme", "--user", "0"], {}, "Error: --user is '0', but must be an id from 1 to 9007199254740991,"
     " or a range of them such as 1-100.\n"),
    (["--tenant", "acme", "--user", "9-1"], {}, "Error: --user is '9-1', but must be an id from 1 to 9007199254740991,"
     " or a range of them such as 1-100.\n"),
    (["--tenant", "acme", "--user", "1-1000001"], {},
     "Error: --user is '1-1000001', but a range may hold at most 1000000 ids.\n"),
    (["--tenant", "acme", "--user", "7", "--out", "/nowhere/x"], {},
     "Error: --out is '/nowhere/x', which cannot be written: No such file or directory.\n"),
    (["--tenant", "acme", "--user", "7"], {"HUB_PORT": "x"},
     "Error: HUB_PORT is 'x', but must be a whole number from 0 to 65535.\n"),
    (["--tenant", "acme", "--user", "7"], {"HUB_HOST": "0.0.0.0"},
     "Error: The development key is only for a hub on loopback with its own PostgreSQL: give HUB_JWT_SECRET,"
     " HUB_JWT_PUBLIC_KEY or HUB_JWT_JWKS.\n"),
    (["--tenant", "acme", "--user", "7"], {"HUB_JWT_JWKS": "https://login.example"},
     "Error: HUB_JWT_JWKS is given, which only verifies tokens: have them minted by their issuer.\n"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "environ", "sentence"), REFUSED)
def test_what_cannot_be_minted_is_one_sentence_and_exit_2(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], environ: dict[str, str], sentence: str
) -> None:
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", sentence)


def test_a_misspelt_variable_is_a_warning(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_JWT_SECRETT", "x")
    result = run("--tenant", "acme", "--user", "7")
    assert result.exit_code == 0
    assert result.stderr == (
        "Warning: HUB_JWT_SECRETT is not an option of the hub, and is ignored. Did you mean HUB_JWT_SECRET?\n"
    )


def test_the_group_lists_what_there_is_and_only_that() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "token" in result.stdout
    context = click.Context(main)
    for name in main.list_commands(context):
        assert name in COMMANDS
        assert isinstance(main.get_command(context, name), click.Command)
    assert CliRunner().invoke(main, ["options"]).exit_code == 2


def test_flags_of_settings_go_before_the_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    @click.command(cls=SettingsCommand)
    @settings_options("port", "embedded", "data_dir")
    def serve(settings: Settings) -> None:
        """Serve."""
        seen.append(settings)

    monkeypatch.setenv("HUB_PORT", "9000")
    for arguments in ([], ["--port", "9001", "--no-embedded"], ["--embedded", "--data-dir", "/x"]):
        assert CliRunner().invoke(serve, arguments).exit_code == 0
    assert [(one.port, one.embedded, str(one.data_dir)) for one in seen] == [
        (9000, True, str(data_dir)),
        (9001, False, str(data_dir)),
        (9000, True, "/x"),
    ]
    shown = CliRunner().invoke(serve, ["--help"]).stdout
    assert all(one.variable in shown for one in described())


def test_the_minter_of_the_command_is_that_of_the_settings(data_dir: Path) -> None:
    run("--tenant", "acme", "--user", "7")
    assert (
        minter_of(load({}, data_dir=data_dir), clock.token).key.material.decode()
        == (data_dir / "jwt.key").read_text().strip()
    )
