"""The real servers that every test may have: one PostgreSQL and one Valkey a session.

They run on a loop of their own in a thread, so that the fixtures are plain
functions and each test keeps its own loop. `HUB_TEST_DATABASE_URL` (a role that
may create databases and roles) and `HUB_TEST_REDIS_URL` put others in their place:
the suite then makes its databases there, and empties that Redis database.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from hub import clock
from hub.embedded import EmbeddedServices

T = TypeVar("T")

WITHIN_S = 120.0

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 4 << 30


def fast_directory() -> str | None:
    """Where to put a data directory of a test: in memory where that is large enough, else the default.

    A database is some thousand files; to copy one takes 0.05 s in memory and up to
    1 s on a disk.
    """
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES_MIN:
        return str(_MEMORY)
    return None


class BackgroundLoop:
    """An event loop in a thread, for what outlives one test. Servers started on it end with its thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, within_s: float = WITHIN_S) -> T:
        """Perform it there and wait for the answer."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    def close(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()


class Databases:
    """Makes databases on one server, quickly: a migrated one is a copy of a template that was migrated once."""

    def __init__(self, server_url: str, background: BackgroundLoop) -> None:
        self._server_url = server_url
        self._background = background
        self._template: str | None = None

    @contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a database that nobody else has; dropped afterwards, whoever is still connected."""
        name = _name("hub_test")
        template = self._migrated_template() if migrated else "template0"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        try:
            yield self._url(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        if self._template is not None:
            self._drop(self._template)

    def _migrated_template(self) -> str:
        if self._template is None:
            # Here, so that folders whose tests need no tables do not depend on the migrations.
            from hub.store.migrations import migrate

            name = _name("hub_template")
            self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            try:
                self._background.run(migrate(self._url(name)))
            except BaseException:
                # Half migrated, it must not become what all other tests begin with.
                self._drop(name)
                raise
            self._template = name
        return self._template

    def _url(self, name: str) -> str:
        return urlsplit(self._server_url)._replace(path=f"/{name}").geturl()

    def _drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        self._background.run(_execute(self._server_url, statement))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=WITHIN_S)
    try:
        await connection.execute(statement, timeout=WITHIN_S)
    finally:
        await connection.close(timeout=WITHIN_S)


def _name(prefix: str) -> str:
    return f"{prefix}_{clock.token(9)}".lower().replace("-", "_")


@pytest.fixture(scope="session")
def background_loop() -> Iterator[BackgroundLoop]:
    background = BackgroundLoop()
    yield background
    background.close()


def _serve(background: BackgroundLoop, *, postgres: bool = False, valkey: bool = False) -> Iterator[str]:
    # Not pytest's own directory: the account that servers of root's run as could not enter that.
    with tempfile.TemporaryDirectory(prefix="hub-test-", dir=fast_directory()) as directory:
        services = EmbeddedServices(Path(directory), postgres=postgres, valkey=valkey, durable=False)
        urls = background.run(services.start())
        try:
            yield str(urls.database_url if postgres else urls.redis_url)
        finally:
            background.run(services.stop())


@pytest.fixture(scope="session")
def postgres_server(background_loop: BackgroundLoop) -> Iterator[str]:
    """The URL of the session's PostgreSQL, as a role that may do everything. Make databases by `databases`."""
    if given := os.environ.get("HUB_TEST_DATABASE_URL"):
        yield given
    else:
        yield from _serve(background_loop, postgres=True)


@pytest.fixture(scope="session")
def valkey_server(background_loop: BackgroundLoop) -> Iterator[str]:
    """The URL of the session's Valkey. Not to be stopped or frozen: a test that does takes a server of its own."""
    if given := os.environ.get("HUB_TEST_REDIS_URL"):
        yield given
    else:
        yield from _serve(background_loop, valkey=True)


@pytest.fixture(scope="session")
def databases(postgres_server: str, background_loop: BackgroundLoop) -> Iterator[Databases]:
    """For a test that needs several databases, or one for its whole module."""
    databases = Databases(postgres_server, background_loop)
    yield databases
    databases.close()


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """A fresh database without any table, for this test alone."""
    with databases.fresh(migrated=False) as url:
        yield url


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A fresh migrated database, for this test alone."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
def redis_url(valkey_server: str, background_loop: BackgroundLoop) -> str:
    """The session's Valkey, emptied. Pub/sub knows no databases: tests that run at once need topics of their own."""
    background_loop.run(_flush(valkey_server))
    return valkey_server


async def _flush(url: str) -> None:
    client = Redis.from_url(url)
    try:
        await client.flushdb()
    finally:
        await client.aclose()
