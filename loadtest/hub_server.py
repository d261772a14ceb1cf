"""The hub under measurement: its PostgreSQL and Redis on the other cores, itself alone on one.

Owns what a run needs beside HTTP: tokens, events that are committed but not yet
told of, and the figures that the hub shows of itself.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import msgspec

from hub import clock
from hub.app.announcing import News, messages_of
from hub.app.broadcasts import CHUNK_MAX
from hub.auth.minting import Minter, minter_of
from hub.core.event import Event, encode_hint
from hub.core.principal import Role
from hub.core.topics import user_topic
from hub.settings import Settings
from loadtest.machine import CannotMeasure, Process, free_port

TENANT = "bench"
_SECRET = "a-secret-of-the-benchmark-of-32-bytes"
_HUB = [sys.executable, "-c", "from hub.cli import main; main()"]
_READY_WITHIN_S = 60.0
_TOKEN_TTL_S = 86_400
_ADMIN = 1_000_001
SWEEP_INTERVAL_S = 4
"""The longest that is allowed: between two sweeps there is time to tell of what is committed."""
_LOOK_S = 0.1
_QUIET_LOOKS = 3


class Services:
    """The embedded PostgreSQL and Valkey, durable as `make run` has them. Use as a context."""

    def __init__(self, directory: Path, on: set[int]) -> None:
        self._process = Process([*_HUB, "services", "--data-dir", directory], on, log=directory / "services.log")
        urls = [self._process.stdout.readline().decode().strip().partition("=")[2] for _ in range(2)]
        if not all(urls):
            self._process.stop()
            raise CannotMeasure(f"the servers did not start: {(directory / 'services.log').read_text()}")
        self.database_url, self.redis_url = urls

    def stop(self) -> None:
        self._process.stop()

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Servers(Protocol):
    """Where PostgreSQL and Redis are."""

    @property
    def database_url(self) -> str: ...

    @property
    def redis_url(self) -> str: ...


class Hub:
    """One node on the given core. Use as a context."""

    def __init__(self, services: Servers, directory: Path, on: set[int]) -> None:
        self.services = services
        self.port = free_port()
        environ = {
            "HUB_DATABASE_URL": services.database_url,
            "HUB_REDIS_URL": services.redis_url,
            "HUB_DATA_DIR": str(directory),
            "HUB_PORT": str(self.port),
            "HUB_JWT_SECRET": _SECRET,
            "HUB_ENCRYPTION_KEY": _SECRET,
            "HUB_RATE_LIMITS": "off",
            "HUB_LOG_LEVEL": "warning",
            "HUB_SWEEP_INTERVAL_S": str(SWEEP_INTERVAL_S),
        }
        self.log = directory / "hub.log"
        self.process = Process([*_HUB, "serve"], on, environ=environ, log=self.log)
        try:
            self._await_ready()
        except BaseException:
            self.process.stop()
            raise

    def _await_ready(self) -> None:
        give_up_at = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < give_up_at and self.process.is_running:
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise CannotMeasure(f"the hub did not start: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        self.process.stop()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what it says ------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, bytes]:
        """(status, body) of one request, as a service of the tenant where no token is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Authorization": f"Bearer {token or service_token()}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, by its name with its labels as they are written there."""
        lines = self.request("GET", "/metrics")[1].decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def await_sweep(self) -> None:
        """Return just after a sweep: the next begins `SWEEP_INTERVAL_S` after its end."""
        before = self.metrics()["hub_gateway_sweeps_total"]
        give_up_at = time.monotonic() + 3 * SWEEP_INTERVAL_S
        while self.metrics()["hub_gateway_sweeps_total"] == before:
            if time.monotonic() > give_up_at:
                raise CannotMeasure("the hub does not sweep")
            time.sleep(0.02)
        # It is counted as it begins; it is over once neither the hub nor PostgreSQL has anything to do.
        quiet = 0
        while quiet < _QUIET_LOOKS and time.monotonic() < give_up_at:
            before_s = self.process.cpu_s()
            time.sleep(_LOOK_S)
            quiet = quiet + 1 if self.process.cpu_s() - before_s < _LOOK_S / 10 else 0


def _minter() -> Minter:
    return minter_of(Settings(jwt_secret=_SECRET), clock.token)


def tokens(count: int, *, first: int = 1, tenant: str = TENANT) -> list[str]:
    """Tokens of the users from `first` on."""
    return [_mint(user, "agent", tenant) for user in range(first, first + count)]


def service_token() -> str:
    return _mint(None, "service")


def admin_token(tenant: str = TENANT) -> str:
    return _mint(_ADMIN, "admin", tenant)


def token_of(user_id: int, role: Role, tenant: str) -> str:
    """A token of one person."""
    return _mint(user_id, role, tenant)


def _mint(user_id: int | None, role: Role, tenant: str = TENANT) -> str:
    return _minter().mint(tenant_id=tenant, user_id=user_id, role=role, now=clock.now(), ttl_s=_TOKEN_TTL_S)


# -- events that are committed, and not yet told of --------------------------------------------------------------------


class Template(msgspec.Struct, frozen=True):
    """An event as the hub itself has written it, to be written again for others."""

    epoch: str
    kind: str
    lane: int
    rings: bool
    released: bool
    tail: bytes
    user_id: int
    notification_id: int

    def event(self, user_id: int, seq: int) -> Event:
        """The same for another user, with a number of theirs."""
        tail = self.tail.replace(b'"id":%d,' % self.notification_id, b'"id":%d,' % (seq + 10_000_000))
        tail = tail.replace(b'"user_id":%d,' % self.user_id, b'"user_id":%d,' % user_id)
        return Event(seq, self.lane, self.rings, tail, self.released)

    @property
    def frame_bytes(self) -> int:
        """About how long its frame is: references send as much."""
        return len(self.event(1000, 10).tail) + len('{"type":"event","seq":10,"cursor":10,')


def take_template(hub: Hub, user_id: int) -> Template:
    """Have the hub commit a usual notification for this user, and read what it wrote."""
    body = {
        "user_id": user_id,
        "type": "lead_assigned",
        "title": "New lead",
        "message": "Mrs. Ada Byron, +49 30 1234567",
        "priority": "normal",
    }
    status, answer = hub.request("POST", "/api/v1/notifications", body)
    if status != 201:
        raise CannotMeasure(f"the hub takes no notification: {status} {answer[:500]!r}")

    async def read(tx: asyncpg.Connection) -> Any:
        return await tx.fetchrow(
            "SELECT hub_epoch() AS epoch, kind, lane, rings, released, tail FROM events"
            " WHERE tenant_id = $1 AND user_id = $2 AND kind = 'notification.created' ORDER BY seq DESC LIMIT 1",
            TENANT,
            user_id,
        )

    row = with_database(hub.services, read)
    return Template(user_id=user_id, notification_id=json.loads(answer)["id"], **dict(row))


class Prepared(msgspec.Struct):
    """`count` events of each user, in the log but past its head, and the commands that tell of them.

    `told[i]` has what publishes the i-th event of each user, in the order of the users; `crowds[i]` what tells
    all of them as the chunks of a broadcast do.
    """

    users: int
    count: int
    told: list[list[bytes]]
    crowds: list[list[bytes]]


def prepare(hub: Hub, template: Template, users: int, count: int) -> Prepared:
    """Write the next `count` events of the users 1 to `users`; `commit` moves their heads."""

    async def write(tx: asyncpg.Connection) -> list[int]:
        await tx.execute(
            "INSERT INTO user_streams (tenant_id, user_id)"
            " SELECT $1, generate_series(1, $2::bigint) ON CONFLICT DO NOTHING",
            TENANT,
            users,
        )
        # Everyone connected has had theirs; without them a long run grows no table.
        await tx.execute("DELETE FROM events WHERE tenant_id = $1 AND user_id <= $2", TENANT, users)
        query = "SELECT head FROM user_streams WHERE tenant_id = $1 AND user_id <= $2 ORDER BY user_id"
        heads = [int(row["head"]) for row in await tx.fetch(query, TENANT, users)]
        at = await tx.fetchval("SELECT clock_timestamp()")
        rows = (
            (TENANT, user, event.seq, template.kind, event.lane, event.rings, event.released, at, event.tail)
            for user, head in enumerate(heads, 1)
            for event in (template.event(user, head + n) for n in range(1, count + 1))
        )
        await tx.copy_records_to_table("events", records=rows, schema_name="public")
        return heads

    heads = with_database(hub.services, write)
    told = [
        [publish_command(template.epoch, user, template.event(user, head + n)) for user, head in enumerate(heads, 1)]
        for n in range(1, count + 1)
    ]
    crowds = [
        [
            publish_bytes(topic.encode(), payload)
            for first in range(1, users + 1, CHUNK_MAX)
            for topic, payload in messages_of(
                News(
                    TENANT,
                    template.epoch,
                    [
                        (user, [template.event(user, heads[user - 1] + n)])
                        for user in range(first, min(first + CHUNK_MAX, users + 1))
                    ],
                ),
                0.0,
            )
        ]
        for n in range(1, count + 1)
    ]
    return Prepared(users, count, told, crowds)


def commit(hub: Hub, prepared: Prepared) -> None:
    """Move the heads to the last event: from now on they are committed, and a sweep would find them."""

    async def move(tx: asyncpg.Connection) -> None:
        await tx.execute(
            "UPDATE user_streams SET head = head + $3 WHERE tenant_id = $1 AND user_id <= $2",
            TENANT,
            prepared.users,
            prepared.count,
        )

    with_database(hub.services, move)


def publish_command(epoch: str, user_id: int, event: Event) -> bytes:
    """What a writer says to Redis after its commit, as RESP."""
    return publish_bytes(user_topic(TENANT, user_id).encode(), encode_hint(epoch, [event]))


def publish_bytes(topic: bytes, payload: bytes) -> bytes:
    """PUBLISH as RESP."""
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(topic), topic, len(payload), payload)


def shuffled(rounds: Sequence[Iterable[bytes]], seed: int) -> list[bytes]:
    """One command after another, every round in an order of its own."""
    order: list[bytes] = []
    chance = random.Random(seed)
    for one in rounds:
        commands = list(one)
        chance.shuffle(commands)
        order += commands
    return order


def with_database(services: Services, work: Any) -> Any:
    """Run `work(connection)` in one transaction, as the database's owner."""

    async def run() -> Any:
        connection = await asyncpg.connect(services.database_url)
        try:
            async with connection.transaction():
                return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())
