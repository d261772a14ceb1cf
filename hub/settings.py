"""Every option of the hub, in one typed object.

An option is one field: its type, its default, and an `Option` that says what it
does and why the default is what it is. From that come the variable
(`HUB_<NAME>`, a secret's also `HUB_<NAME>_FILE`), the rule that a value must
keep, and its line in `hub serve --help` and in the README.
"""

# ruff: noqa: E501 - an option is one line of a table, however long: so adding one is adding a line.
from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import msgspec

from hub import option
from hub.core.principal import Role
from hub.option import Option

PREFIX: Final = "HUB_"

OTHER_VARIABLES: Final = frozenset({"HUB_URL", "HUB_TOKEN"})
"""What the client commands (`hub tail`, `hub send`) read; known here so that they are not taken for misspelt options."""

_Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
_REDIS = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
SECRET_BYTES_MIN = 32
"""An HMAC key is at least as long as the hash: RFC 7518, 3.2. On loopback a shorter one is only warned of."""


class SettingsError(Exception):
    """A value breaks its rule. The text is one sentence that names the variable, and never shows a secret."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options. Built by `load`; made directly only in tests, without any check."""

    # fmt: off
    # -- where ------------------------------------------------------------------------------------------------------
    host: Annotated[str, Option("The address to listen on.", "Loopback, so that nothing is exposed by accident.", rule=option.matching(r"[^\s/]{1,255}", "a host name or an IP address"))] = "127.0.0.1"
    port: Annotated[int, Option("The port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8000
    workers: Annotated[int, Option("Processes that serve, each a node of its own.", "One serves ten thousand sockets; more need the cores.", ge=1, le=128)] = 1
    data_dir: Annotated[Path, Option("Where the embedded servers and the development key live.")] = Path(".hub")
    root_path: Annotated[str, Option("The path under which a proxy shows the hub, such as /hub.", rule=option.matching(r"(/[A-Za-z0-9._~-]+)*", "empty, or a path that begins with / and ends without"))] = ""
    admin_bind: Annotated[str | None, Option("host:port that serves /metrics apart from the rest.", rule=option.bind)] = None
    trusted_proxies: Annotated[tuple[str, ...], Option("Addresses and networks of proxies whose X-Forwarded headers are believed.", "None: anyone could forge the headers.", rule=option.networks)] = ()
    allowed_origins: Annotated[tuple[str, ...], Option("Origins of web pages that may connect, beside the hub's own.", rule=option.origins)] = ()

    # -- servers ----------------------------------------------------------------------------------------------------
    embedded: Annotated[bool, Option("Start an embedded PostgreSQL and Valkey where no URL is given.")] = True
    database_url: Annotated[str | None, Option("PostgreSQL, 15 or newer.", secret=True, rule=option.url("postgresql", "postgres", host=False))] = None
    migrate_database_url: Annotated[str | None, Option("The same database as a role that may change tables, so that serving needs no such right.", secret=True, rule=option.url("postgresql", "postgres", host=False))] = None
    redis_url: Annotated[str | None, Option("Redis or Valkey: one server, Sentinel (redis+sentinel://) or a Cluster (redis+cluster://).", secret=True, rule=option.url(*_REDIS))] = None
    database_pool_max: Annotated[int, Option("Connections to PostgreSQL of one process.", "Ten keep a server of eight cores busy; more only wait inside it.", ge=2, le=1000)] = 10
    database_statement_cache: Annotated[int, Option("Prepared statements kept for each connection; 0 behind a transaction pooler.", "The hub has fewer than 100 statements.", ge=0, le=10000)] = 100
    statement_timeout_s: Annotated[float, Option("Seconds after which PostgreSQL gives up a statement.", "Every query of a route is indexed and takes milliseconds: five seconds are a fault.", ge=0.1, le=600)] = 5.0

    # -- who may ----------------------------------------------------------------------------------------------------
    jwt_secret: Annotated[str | None, Option("The secret that signs tokens with HS256.", "32 bytes or more off loopback: RFC 7518.", secret=True)] = None
    jwt_secret_previous: Annotated[str | None, Option("A second secret that is accepted while keys rotate.", secret=True)] = None
    jwt_public_key: Annotated[str | None, Option("The public key, in PEM, that verifies tokens.", in_file=True)] = None
    jwt_jwks: Annotated[str | None, Option("A JWKS: the path of a file, or an https URL.", rule=option.https_or_path)] = None
    jwt_algorithm: Annotated[_Algorithm | None, Option("The one algorithm that is accepted.", "Not given, it follows from the type of the key; never from the token.")] = None
    jwt_issuer: Annotated[str | None, Option("The `iss` that every token must carry.")] = None
    jwt_audience: Annotated[str | None, Option("The `aud` that every token must carry.", "Not given, a token that is meant for an audience is refused.")] = None
    jwt_leeway_s: Annotated[float, Option("Seconds by which the clocks of issuer and hub may differ.", ge=0, le=600)] = 30.0
    jwt_claim_user: Annotated[str, Option("The claim with the user's id; dots lead into nested claims.")] = "sub"
    jwt_claim_tenant: Annotated[str, Option("The claim with the tenant; dots lead into nested claims.")] = "tenant"
    jwt_claim_role: Annotated[str, Option("The claim with the role, or a list of them; dots lead into nested claims.")] = "role"
    jwt_role_map: Annotated[dict[str, Role], Option('What an issuer calls the roles: "agent=Agent,admin=Owner", or JSON. Given, no other name is accepted.', rule=option.role_map)] = msgspec.field(default_factory=dict[str, Role])
    sample_sign_in: Annotated[bool | None, Option("Let the page sign in as a sample user without a password.", "Not given: only on loopback with the development key and no proxy in front.")] = None
    encryption_key: Annotated[str | None, Option("The secret that encrypts senders' credentials in the database.", secret=True)] = None

    # -- sockets ----------------------------------------------------------------------------------------------------
    heartbeat_ms: Annotated[int, Option("Milliseconds between heartbeats on a socket.", "Proxies commonly drop what is silent for 30 to 60 s.", ge=100, le=600000)] = 25000
    hello_timeout_s: Annotated[float, Option("Seconds in which a client must say hello.", ge=0.1, le=300)] = 10.0
    connections_per_user_max: Annotated[int, Option("Sockets of one user; over it the oldest is closed (4409).", "Some devices with some tabs each.", ge=1, le=10000)] = 20
    frame_bytes_max: Annotated[int, Option("The largest frame from a client (1009).", "The largest call is 200 ids.", ge=1024, le=1048576)] = 65536
    frames_per_s_max: Annotated[int, Option("Frames a second from one client, on average over a few (4429).", "A person's clicks and acks stay below ten.", ge=1, le=100000)] = 50
    outbox_bytes_max: Annotated[int, Option("Bytes that may wait for one slow socket; the rest stays in the log.", "Ten thousand stuck sockets then hold 640 MiB.", ge=4096, le=16777216)] = 65536
    early_critical_max: Annotated[int, Option("Critical notifications that may go ahead of a backlog.", ge=0, le=10000)] = 64
    replays_at_once: Annotated[int, Option("Sockets of a process that read the log after a hello, at one time.", "Leaves most of the pool to writes and to those who are live.", ge=1, le=1000)] = 4
    catch_ups_at_once: Annotated[int, Option("Live sockets of a process that read the log after a lost hint, at one time.", "A share of its own, so that ten thousand coming back do not delay them.", ge=1, le=1000)] = 3
    sweep_interval_s: Annotated[float, Option("Seconds between two looks at which streams have moved.", "What a lost hint delays must arrive within 5 s.", ge=0.05, le=4)] = 2.0
    ring_silent_s: Annotated[float, Option("Seconds of silence after which a device is no longer the one that rings.", ge=0.1, le=3600)] = 30.0
    ring_ack_s: Annotated[float, Option("Seconds in which a critical ring must be acked, else another device rings.", ge=0.1, le=3600)] = 10.0
    ring_takeover_s: Annotated[float, Option("Seconds in which another device takes over from one that went.", ge=0.05, le=2)] = 2.0
    compression: Annotated[bool, Option("Offer permessage-deflate.", "Off: each socket would hold a window of its own for frames of 300 bytes.")] = False
    drain_s: Annotated[float, Option("Seconds in which a stopping node tells its clients and finishes its work.", "Orchestrators commonly kill after 30.", ge=0, le=3600)] = 20.0

    # -- requests ---------------------------------------------------------------------------------------------------
    rate_limits: Annotated[bool, Option("Limit requests and frames a second; off for load tests.")] = True
    rate_user_per_minute: Annotated[int, Option("Requests a minute of one person; a whole minute's worth may come at once.", "A desktop that loads and acts all day stays below a hundred.", ge=1, le=10000000)] = 1200
    rate_service_per_minute: Annotated[int, Option("Requests a minute of one producer (an API key).", "Two hundred a second; who has more sends them in bulk.", ge=1, le=10000000)] = 12000
    rate_tenant_per_minute: Annotated[int, Option("Requests a minute of a whole tenant; its own settings may say less.", "Ten producers at their limit, or a thousand desktops at work.", ge=1, le=10000000)] = 120000
    rate_check_s: Annotated[float, Option("Seconds to wait for Redis to say whether there is room; then the request goes on.", "A limit must not cost more than what it protects.", ge=0.005, le=5)] = 0.1
    request_bytes_max: Annotated[int, Option("The largest body of a request.", ge=1024, le=1073741824)] = 1048576
    bulk_bytes_max: Annotated[int, Option("The largest body of a bulk request.", "A thousand notifications with 16 KiB of data each.", ge=1024, le=1073741824)] = 16777216
    idempotency_ttl_h: Annotated[int, Option("Hours for which an Idempotency-Key gives the first answer again.", "A queue that was down over night.", ge=1, le=720)] = 24
    idempotency_wait_s: Annotated[float, Option("Seconds that a repeated request waits for the first one.", ge=0, le=60)] = 10.0
    events_retention_days: Annotated[int, Option("Days for which a device may be away and still resume.", "A week covers a holiday; past it a client loads afresh.", ge=1, le=3650)] = 7

    # -- mail and logs ----------------------------------------------------------------------------------------------
    smtp_url: Annotated[str | None, Option("The mail server where a tenant set none: smtp://user:password@host:587?starttls=true.", secret=True, rule=option.url("smtp", "smtps"))] = None
    mail_from: Annotated[str | None, Option("The sender of mail where a tenant set none.", rule=option.matching(r"[^\r\n]{0,200}[^\s@<]@[^\s@]+", "an e-mail address"))] = None
    log_format: Annotated[Literal["text", "json"], Option("How the log is written.", "Text for a terminal; json for a collector.")] = "text"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Option("The least that is logged.")] = "info"
    # fmt: on

    def __repr__(self) -> str:
        """Without the secrets, so that a logged or printed object gives none away."""
        shown = (f"{one.name}={'***' if one.option.secret and value is not None else repr(value)}"
                 for one in described() for value in (getattr(self, one.name),))  # fmt: skip
        return f"Settings({', '.join(shown)})"


class Described(msgspec.Struct, frozen=True):
    """An option with its names. `default` is as an operator would write it, empty where there is none."""

    name: str
    variable: str
    flag: str
    kind: Any
    option: Option
    default: str

    @property
    def file_variable(self) -> str | None:
        """The variable that names a file with the value."""
        return f"{self.variable}_FILE" if self.option.secret or self.option.in_file else None

    @property
    def sentence(self) -> str:
        """What it does, and why its default is what it is."""
        return f"{self.option.help} {self.option.why}".strip()


@cache
def described() -> tuple[Described, ...]:
    """Every option, in the order of the fields."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    found: list[Described] = []
    for name in Settings.__struct_fields__:
        kind, about = hints[name].__origin__, hints[name].__metadata__[0]
        value = getattr(defaults, name)
        default = "" if value is None or value == {} else option.as_text(value)
        found.append(Described(name, PREFIX + name.upper(), "--" + name.replace("_", "-"), kind, about, default))
    return tuple(found)


def load(environ: Mapping[str, str], **overrides: object) -> Settings:
    """The settings that the environment gives; `overrides`, by field name, go before it, None meaning not given.

    An empty variable counts as not given, as compose files write it. A file named by
    `HUB_<NAME>_FILE` is read once, now; its last line break is not part of the value.

    Raises:
        SettingsError: one sentence on the first value that breaks its rule.
    """
    values: dict[str, Any] = {}
    for one in described():
        given = overrides.pop(one.name, None)
        source, text = one.flag, None if given is None else option.as_text(given)
        if text is None:
            source, text = _from_environment(one, environ)
        if text is None:
            continue
        try:
            values[one.name] = option.parse(one.kind, one.option, text)
        except ValueError as error:
            shown = "is set, but" if one.option.secret or one.option.in_file else f"is {_shortened(text)}, but"
            raise SettingsError(f"{source} {shown} must be {error}.") from None
    if overrides:
        raise TypeError(f"no such option: {', '.join(overrides)}")
    return Settings(**values)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")


def _from_environment(one: Described, environ: Mapping[str, str]) -> tuple[str, str | None]:
    text = environ.get(one.variable) or None
    path = environ.get(one.file_variable) or None if one.file_variable else None
    if path is None:
        return one.variable, text if text is None or one.option.secret else text.strip() or None
    variable = f"{one.variable}_FILE"
    if text is not None:
        raise SettingsError(f"{one.variable} and {variable} are both given; give one of them.")
    try:
        return variable, Path(path).read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(f"{variable} is {_shortened(path)}, which cannot be read: {reason}.") from None
    except ValueError:
        raise SettingsError(f"{variable} is {_shortened(path)}, which is no UTF-8 text.") from None


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A sentence on each `HUB_…` variable that no option has, with the closest one that is."""
    known = {one.variable for one in described()} | {one.file_variable for one in described() if one.file_variable}
    sentences: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in known | OTHER_VARIABLES:
            continue
        close = difflib.get_close_matches(variable, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        sentences.append(f"{variable} is not an option of the hub, and is ignored.{hint}")
    return sentences


def is_loopback(host: str) -> bool:
    """Whether what listens on `host` is reached from this machine alone. A name other than localhost is not known to be."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def has_token_key(settings: Settings) -> bool:
    """Whether the configuration names what tokens are verified with."""
    return any((settings.jwt_secret, settings.jwt_public_key, settings.jwt_jwks))


def uses_development_key(settings: Settings) -> bool:
    """Whether tokens are signed with the data directory's own key: only on loopback and on embedded PostgreSQL."""
    return not has_token_key(settings) and settings.database_url is None and is_loopback(settings.host)


def short_secrets(settings: Settings) -> list[str]:
    """The names of those secrets that are too short to be exposed."""
    names = ("jwt_secret", "jwt_secret_previous", "encryption_key")
    given = {name: getattr(settings, name) for name in names}
    return [name for name, secret in given.items() if secret is not None and len(secret.encode()) < SECRET_BYTES_MIN]


def allows_sample_sign_in(settings: Settings) -> bool:
    """Whether the page may sign in without a password. Never off loopback, whatever is asked."""
    if not is_loopback(settings.host):
        return False
    if settings.sample_sign_in is not None:
        return settings.sample_sign_in
    # A proxy in front shows a loopback hub to the world.
    return uses_development_key(settings) and not settings.trusted_proxies


def check(settings: Settings) -> list[str]:
    """The rules between options: a sentence on each one broken. The hub does not start unless this is empty."""
    return list(_broken(settings))


def _broken(settings: Settings) -> Iterator[str]:
    key = "HUB_JWT_SECRET, HUB_JWT_PUBLIC_KEY or HUB_JWT_JWKS"
    if not is_loopback(settings.host):
        if not has_token_key(settings):
            yield f"HUB_HOST is {settings.host!r}, not loopback, where the development key is refused: give {key}."
        if settings.sample_sign_in:
            yield f"HUB_SAMPLE_SIGN_IN is on, which is refused as HUB_HOST is {settings.host!r}, not loopback."
        for name in short_secrets(settings):
            yield f"HUB_{name.upper()} is shorter than {SECRET_BYTES_MIN} bytes, which is enough on loopback alone."
    if settings.database_url is not None:
        if not has_token_key(settings):
            yield f"HUB_DATABASE_URL is given, so nodes must share a key for tokens: give {key}."
        if settings.encryption_key is None:
            yield "HUB_DATABASE_URL is given, so nodes must share HUB_ENCRYPTION_KEY: give it too."
    elif not settings.embedded:
        yield "HUB_EMBEDDED is off, so HUB_DATABASE_URL must be given."
    given = [f"HUB_{name.upper()}" for name in ("jwt_secret", "jwt_public_key", "jwt_jwks") if getattr(settings, name)]
    if len(given) > 1:
        yield f"{' and '.join(given)} are given, but tokens are verified in one way: give one of them."
    if settings.jwt_secret_previous and not settings.jwt_secret:
        yield "HUB_JWT_SECRET_PREVIOUS is given without HUB_JWT_SECRET, which it is to be followed by."
    if settings.jwt_algorithm and settings.jwt_algorithm != "HS256" and (settings.jwt_secret or not given):
        yield f"HUB_JWT_ALGORITHM is {settings.jwt_algorithm}, but a shared secret signs with HS256."
    if settings.jwt_algorithm == "HS256" and (settings.jwt_public_key or settings.jwt_jwks):
        yield f"HUB_JWT_ALGORITHM is HS256, but {given[-1]} holds public keys, with which anyone could sign so."
    claims = {name: getattr(settings, name) for name in ("jwt_claim_user", "jwt_claim_tenant", "jwt_claim_role")}
    for name, other in itertools.permutations(claims, 2):
        if f"{claims[other]}.".startswith(f"{claims[name]}.") and (claims[other] != claims[name] or name > other):
            yield f"HUB_{other.upper()} is {claims[other]!r}, which is HUB_{name.upper()} or a part of it."
    if settings.bulk_bytes_max < settings.request_bytes_max:
        yield "HUB_BULK_BYTES_MAX is below HUB_REQUEST_BYTES_MAX, but a bulk request is the larger one."


def table_markdown() -> str:
    """Every option as a table for the README."""
    lines = ["| variable | default | what it does |", "| --- | --- | --- |"]
    for one in described():
        default = f"`{one.default}`" if one.default else ""
        file = f" Also `{one.file_variable}`." if one.file_variable else ""
        lines.append(f"| `{one.variable}` | {default} | {one.sentence.replace('|', chr(92) + '|')}{file} |")
    return "\n".join(lines) + "\n"
