"""Every option: its variable, its rule, its one sentence, its place in the table; and the rules between them."""

# ruff: noqa: E501, ISC004 - tables of one row a sentence.
from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import option
from hub.core.principal import Role
from hub.settings import (
    Settings,
    SettingsError,
    allows_sample_sign_in,
    check,
    described,
    load,
    misspelt,
    table_markdown,
    uses_development_key,
)

KEY = "k" * 32
PEM = "-----BEGIN PUBLIC KEY-----"


def test_nothing_given_is_the_defaults() -> None:
    assert load({}) == Settings()
    assert check(Settings()) == []


def test_every_option_says_what_it_does_in_a_sentence() -> None:
    for one in described():
        assert one.option.help.endswith("."), one.name
        assert one.option.help[0].isupper() or one.option.help.startswith("host:port"), one.name
        assert not one.option.why or one.option.why.endswith("."), one.name


def test_every_default_keeps_its_own_rule() -> None:
    for one in described():
        if one.default:
            assert getattr(load({one.variable: one.default}), one.name) == getattr(Settings(), one.name)


GOOD: list[tuple[str, str, Any]] = [
    ("PORT", "9000", 9000),
    ("PORT", " 0 ", 0),
    ("HOST", "::1", "::1"),
    ("DATA_DIR", "/var/lib/hub", Path("/var/lib/hub")),
    ("EMBEDDED", "off", False),
    ("EMBEDDED", "NO", False),
    ("RATE_LIMITS", "0", False),
    ("COMPRESSION", "True", True),
    ("SAMPLE_SIGN_IN", "on", True),
    ("SWEEP_INTERVAL_S", ".5", 0.5),
    ("DRAIN_S", "20", 20.0),
    ("JWT_ALGORITHM", "eddsa", "EdDSA"),
    ("JWT_ROLE_MAP", "agent=Agent, admin=Owner,agent=Rep", {"Agent": "agent", "Owner": "admin", "Rep": "agent"}),
    ("JWT_ROLE_MAP", '{"agent": ["Agent", "a=b"], "admin": "Owner"}', {"Agent": "agent", "a=b": "agent", "Owner": "admin"}),
    ("JWT_JWKS", "https://login.example/jwks", "https://login.example/jwks"),
    ("JWT_JWKS", "/etc/hub/jwks.json", "/etc/hub/jwks.json"),
    ("DATABASE_URL", "postgresql:///hub?host=/run/postgresql", "postgresql:///hub?host=/run/postgresql"),
    ("DATABASE_URL", "postgresql://u:p@a:5432,b/hub", "postgresql://u:p@a:5432,b/hub"),
    ("REDIS_URL", "redis+cluster://a:7000,b:7000", "redis+cluster://a:7000,b:7000"),
    ("REDIS_URL", "redis+sentinel://:p@[::1]:1,[::2]:2/main", "redis+sentinel://:p@[::1]:1,[::2]:2/main"),
    ("ALLOWED_ORIGINS", "https://CRM.example:443/, http://[::1]:3000", ("https://crm.example", "http://[::1]:3000")),
    ("ALLOWED_ORIGINS", '["https://a.example"]', ("https://a.example",)),
    ("TRUSTED_PROXIES", "10.0.0.0/8 ::1", ("10.0.0.0/8", "::1")),
    ("ADMIN_BIND", "[::1]:9000", "[::1]:9000"),
    ("ROOT_PATH", "/hub/v1", "/hub/v1"),
    ("MAIL_FROM", "Acme <hub@acme.example>", "Acme <hub@acme.example>"),
    ("LOG_LEVEL", "WARNING", "warning"),
    ("PORT", "", 8000),
    ("JWT_SECRET", "", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_values_that_are_taken(name: str, text: str, value: Any) -> None:
    assert getattr(load({f"HUB_{name}": text}), name.lower()) == value


BAD: list[tuple[str, str, str]] = [
    ("PORT", "abc", "HUB_PORT is 'abc', but must be a whole number from 0 to 65535."),
    ("PORT", "65536", "HUB_PORT is '65536', but must be a whole number from 0 to 65535."),
    ("PORT", "-1", "HUB_PORT is '-1', but must be a whole number from 0 to 65535."),
    ("PORT", "8e3", "HUB_PORT is '8e3', but must be a whole number from 0 to 65535."),
    ("PORT", "٨٠", "HUB_PORT is '٨٠', but must be a whole number from 0 to 65535."),
    ("PORT", "8_0", "HUB_PORT is '8_0', but must be a whole number from 0 to 65535."),
    ("PORT", "9" * 5000, f"HUB_PORT is '{'9' * 100}…', but must be a whole number from 0 to 65535."),
    ("SWEEP_INTERVAL_S", "nan", "HUB_SWEEP_INTERVAL_S is 'nan', but must be a number from 0.05 to 4."),
    ("SWEEP_INTERVAL_S", "5", "HUB_SWEEP_INTERVAL_S is '5', but must be a number from 0.05 to 4."),
    ("EMBEDDED", "maybe", "HUB_EMBEDDED is 'maybe', but must be on or off."),
    ("LOG_FORMAT", "xml", "HUB_LOG_FORMAT is 'xml', but must be one of text, json."),
    ("HOST", "a b", "HUB_HOST is 'a b', but must be a host name or an IP address."),
    ("HOST", "a\0b", "HUB_HOST is 'a\\x00b', but must be UTF-8 text without NUL."),
    ("HOST", "\udcff", "HUB_HOST is '\\udcff', but must be UTF-8 text without NUL."),
    ("JWT_ALGORITHM", "none", "HUB_JWT_ALGORITHM is 'none', but must be one of HS256, RS256, ES256, EdDSA."),
    ("JWT_JWKS", "http://127.0.0.1/jwks",
     "HUB_JWT_JWKS is 'http://127.0.0.1/jwks', but must be a URL that begins with https://."),
    ("JWT_JWKS", "https://", "HUB_JWT_JWKS is 'https://', but must be a URL that begins with https://."),
    ("JWT_ROLE_MAP", "boss=Owner", "HUB_JWT_ROLE_MAP is 'boss=Owner', but must be ours=theirs pairs separated by commas,"
     " or JSON, where ours is one of agent, supervisor, admin, service."),
    ("JWT_ROLE_MAP", "agent=X,admin=X",
     "HUB_JWT_ROLE_MAP is 'agent=X,admin=X', but must be a map in which each of their names stands once."),
    ("DATABASE_URL", "mysql://hunter2@db/hub",
     "HUB_DATABASE_URL is set, but must be a URL that begins with postgresql:// or postgres://."),
    ("SMTP_URL", "hunter2", "HUB_SMTP_URL is set, but must be a URL that begins with smtp:// or smtps://."),
    ("SMTP_URL", "smtp://hunter2:x@[::1", "HUB_SMTP_URL is set, but must be a URL that begins with smtp:// or smtps://."),
    ("SMTP_URL", "smtp://hunter2@host:99999", "HUB_SMTP_URL is set, but must be a URL that begins with smtp:// or smtps://."),
    ("SMTP_URL", "smtp://hunter2@", "HUB_SMTP_URL is set, but must be a URL that begins with smtp:// or smtps://."),
    ("ALLOWED_ORIGINS", "crm.example",
     "HUB_ALLOWED_ORIGINS is 'crm.example', but must be a list of origins such as https://crm.example.com."),
    ("ALLOWED_ORIGINS", "https://*.example",
     "HUB_ALLOWED_ORIGINS is 'https://*.example', but must be a list of origins such as https://crm.example.com,"
     " each written out."),
    ("TRUSTED_PROXIES", "10.0.0.1/8",
     "HUB_TRUSTED_PROXIES is '10.0.0.1/8', but must be a list of IP addresses or networks such as 10.0.0.0/8."),
    ("ADMIN_BIND", "9000", "HUB_ADMIN_BIND is '9000', but must be host:port, such as 127.0.0.1:9000."),
    ("ROOT_PATH", "hub/", "HUB_ROOT_PATH is 'hub/', but must be empty, or a path that begins with / and ends without."),
    ("MAIL_FROM", "a@b\r\nBcc: c@d", "HUB_MAIL_FROM is 'a@b\\r\\nBcc: c@d', but must be an e-mail address."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "sentence"), BAD, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(BAD)])
def test_a_bad_value_is_one_sentence(name: str, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"HUB_{name}": text})
    assert str(caught.value) == sentence
    assert "hunter2" not in str(caught.value)


@given(st.sampled_from(described()), st.text(max_size=60))
def test_any_text_is_taken_or_refused_in_one_printable_sentence(one: Any, text: str) -> None:
    sentence = f"{one.variable} is taken."
    try:
        load({one.variable: text})
    except SettingsError as error:
        sentence = str(error)
    assert sentence.isprintable()
    assert sentence.startswith(f"{one.variable} is ")
    assert sentence.endswith(".")


def test_what_is_given_in_code_goes_before_the_environment_and_by_the_same_rules() -> None:
    environ = {"HUB_PORT": "9000", "HUB_EMBEDDED": "on"}
    settings = load(
        environ, port="9001", embedded=False, host=None, jwt_role_map={"Rep": "agent"}, trusted_proxies=("::1",)
    )
    assert (settings.port, settings.embedded, settings.host) == (9001, False, "127.0.0.1")
    assert (settings.jwt_role_map, settings.trusted_proxies) == ({"Rep": "agent"}, ("::1",))
    with pytest.raises(SettingsError, match=r"^--port is '99999', but"):
        load({}, port=99999)
    with pytest.raises(TypeError, match="no such option: prot"):
        load({}, prot=1)


def test_a_secret_comes_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {KEY}\r\n".encode())
    assert load({"HUB_JWT_SECRET_FILE": str(path)}).jwt_secret == f" {KEY}"
    path.write_text("a\nb\n")
    assert load({"HUB_JWT_PUBLIC_KEY_FILE": str(path)}).jwt_public_key == "a\nb"


def test_every_secret_may_come_in_a_file_and_nothing_else_does(tmp_path: Path) -> None:
    secrets = {one.name for one in described() if one.option.secret}
    assert secrets == {
        "database_url", "migrate_database_url", "redis_url", "jwt_secret", "jwt_secret_previous", "encryption_key", "smtp_url",
    }  # fmt: skip
    for one in described():
        assert (one.file_variable == f"{one.variable}_FILE") == (one.name in secrets | {"jwt_public_key"})


def test_files_that_give_no_secret_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    cases = [
        (None, "HUB_JWT_SECRET_FILE is {path!r}, which cannot be read: No such file or directory."),
        (b"\xff\xfe", "HUB_JWT_SECRET_FILE is {path!r}, which is no UTF-8 text."),
    ]
    for content, sentence in cases:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            load({"HUB_JWT_SECRET_FILE": str(path)})
        assert str(caught.value) == sentence.format(path=str(path))
    with pytest.raises(SettingsError, match="HUB_JWT_SECRET and HUB_JWT_SECRET_FILE are both given"):
        load({"HUB_JWT_SECRET": KEY, "HUB_JWT_SECRET_FILE": str(path)})


def test_a_printed_object_gives_no_secret_away() -> None:
    settings = load({}, jwt_secret=KEY, database_url="postgresql://hub:hunter2@db/hub", mail_from="hub@acme.example")
    shown = repr(settings)
    assert KEY not in shown
    assert "hunter2" not in shown
    assert "jwt_secret=***" in shown
    assert "mail_from='hub@acme.example'" in shown


def test_misspelt_variables_are_named_with_what_was_likely_meant() -> None:
    environ = {
        "HUB_DATABSE_URL": "x",
        "HUB_QQQQ": "",
        "HUB_PORT": "1",
        "HUB_JWT_SECRET_FILE": "x",
        "HUB_TOKEN": "t",
        "PATH": "",
    }
    assert misspelt(environ) == [
        "HUB_DATABSE_URL is not an option of the hub, and is ignored. Did you mean HUB_DATABASE_URL?",
        "HUB_QQQQ is not an option of the hub, and is ignored.",
    ]
    assert misspelt({"HUB_PORT_FILE": "x"}) != []


DATABASE = {"database_url": "postgresql://db/hub"}
OPEN = {"host": "0.0.0.0"}
SHARED = {"encryption_key": KEY}

TOGETHER: list[tuple[str, dict[str, Any], list[str]]] = [
    ("open with a key", OPEN | {"jwt_secret": KEY}, []),
    ("a short secret in the open", OPEN | {"jwt_secret": "short"}, ["HUB_JWT_SECRET is shorter than 32 bytes, which"]),
    ("a short secret on loopback", {"jwt_secret": "short"}, []),
    ("open without a key", OPEN, ["HUB_HOST is '0.0.0.0', not loopback, where the development key is refused"]),
    ("a name that may be anywhere", {"host": "hub.example"}, ["HUB_HOST is 'hub.example', not loopback"]),
    ("localhost", {"host": "localhost"}, []),
    ("another loopback", {"host": "127.8.0.1"}, []),
    ("loopback of IPv6", {"host": "::1"}, []),
    ("every address of IPv6", {"host": "::"}, ["HUB_HOST is '::', not loopback"]),
    ("open sample sign-in", OPEN | {"jwt_secret": KEY, "sample_sign_in": True}, ["HUB_SAMPLE_SIGN_IN is on, which is refused"]),
    ("a database with both keys", DATABASE | SHARED | {"jwt_secret": KEY}, []),
    ("a database with a public key", DATABASE | SHARED | {"jwt_public_key": PEM}, []),
    ("a database with a key set", DATABASE | SHARED | {"jwt_jwks": "/x"}, []),
    ("a database without keys", DATABASE, ["so nodes must share a key for tokens", "must share HUB_ENCRYPTION_KEY"]),
    ("a database without encryption", DATABASE | {"jwt_secret": KEY}, ["must share HUB_ENCRYPTION_KEY"]),
    ("no database at all", {"embedded": False}, ["HUB_EMBEDDED is off, so HUB_DATABASE_URL must be given."]),
    ("two ways", {"jwt_secret": KEY, "jwt_jwks": "/x"}, ["HUB_JWT_SECRET and HUB_JWT_JWKS are given"]),
    ("a previous secret alone", {"jwt_secret_previous": KEY}, ["HUB_JWT_SECRET_PREVIOUS is given without HUB_JWT_SECRET"]),
    ("a secret for RS256", {"jwt_secret": KEY, "jwt_algorithm": "RS256"}, ["HUB_JWT_ALGORITHM is RS256, but a shared secret"]),
    ("the development key for ES256", {"jwt_algorithm": "ES256"}, ["HUB_JWT_ALGORITHM is ES256, but a shared secret"]),
    ("a public key for HS256", {"jwt_public_key": PEM, "jwt_algorithm": "HS256"}, ["HUB_JWT_ALGORITHM is HS256, but HUB_JWT_PUBLIC"]),
    ("a secret for HS256", {"jwt_secret": KEY, "jwt_algorithm": "HS256"}, []),
    ("one claim for two", {"jwt_claim_role": "tenant"}, ["HUB_JWT_CLAIM_ROLE is 'tenant', which is HUB_JWT_CLAIM_TENANT"]),
    ("a claim inside another", {"jwt_claim_role": "tenant.role"}, ["HUB_JWT_CLAIM_ROLE is 'tenant.role', which is"]),
    ("claims beside each other", {"jwt_claim_role": "hub.role", "jwt_claim_tenant": "hub.tenant"}, []),
    ("bulk below one", {"bulk_bytes_max": 2048}, ["HUB_BULK_BYTES_MAX is below"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "broken"), [row[1:] for row in TOGETHER], ids=[row[0] for row in TOGETHER])
def test_rules_between_options(options: dict[str, Any], broken: list[str]) -> None:
    found = check(load({}, **options))
    assert len(found) == len(broken), found
    for sentence, words in zip(found, broken, strict=True):
        assert words in sentence
        assert sentence.endswith(".")
        assert KEY not in sentence


@pytest.mark.parametrize(
    ("options", "development_key", "sample_sign_in"),
    [
        ({}, True, True),
        ({"jwt_secret": KEY}, False, False),
        ({"jwt_secret": KEY, "sample_sign_in": True}, False, True),
        ({"sample_sign_in": False}, True, False),
        ({"trusted_proxies": "127.0.0.1"}, True, False),
        (DATABASE, False, False),
        (OPEN, False, False),
        (OPEN | {"sample_sign_in": True}, False, False),
    ],
)
def test_what_only_one_machine_may(options: dict[str, Any], development_key: bool, sample_sign_in: bool) -> None:
    settings = load({}, **options)
    assert (uses_development_key(settings), allows_sample_sign_in(settings)) == (development_key, sample_sign_in)


def test_the_table_has_a_row_for_each_option() -> None:
    rows = table_markdown().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [one.variable for one in described()]
    assert "| `HUB_PORT` | `8000` | The port to listen on; 0 takes a free one. |" in rows
    assert all("Also `HUB_" in row for row in rows if "SECRET` |" in row)


def test_a_role_map_names_every_role_of_ours() -> None:
    text = ",".join(f"{role}={role}" for role in get_args(Role))
    assert set(option.role_map(text).values()) == set(get_args(Role))
