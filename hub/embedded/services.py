"""The servers that a hub runs itself where it is given no URL.

Owns their life: start, supervision, stop, and that one hub alone uses a data
directory. Does not own what they hold; migrations are the store's.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType

import msgspec

from hub.embedded.account import choose_account
from hub.embedded.errors import DataDirectoryRefused
from hub.embedded.lock import DirectoryLock
from hub.embedded.postgres import Postgres
from hub.embedded.supervisor import ServerStatistics, Supervisor
from hub.embedded.valkey import Valkey


class EmbeddedUrls(msgspec.Struct, frozen=True):
    """Where the servers answer. None for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


class EmbeddedStatistics(msgspec.Struct, frozen=True):
    """The servers now. None for one that is not running at all."""

    postgres: ServerStatistics | None
    valkey: ServerStatistics | None


class EmbeddedServices:
    """An embedded PostgreSQL and an embedded Valkey under one data directory.

    `durable=False` is for tests: PostgreSQL does not wait for the disk. On Linux
    the servers end when the thread that started them does, so start them from one
    that lives as long as they shall.
    """

    def __init__(self, data_dir: Path, *, postgres: bool = True, valkey: bool = True, durable: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self._wants_postgres = postgres
        self._wants_valkey = valkey
        self._durable = durable
        self._lock = DirectoryLock(self._data_dir)
        self._turn = asyncio.Lock()
        self._postgres: Supervisor | None = None
        self._valkey: Supervisor | None = None
        self._urls: EmbeddedUrls | None = None

    async def start(self) -> EmbeddedUrls:
        """Start what was asked for and return when all of it answers. Idempotent.

        Recovers from whatever the last run left: servers that still run, stale
        files, a half-made cluster. From now on a server that crashes is started
        again on the same URL. Where this fails or is cancelled nothing is left
        running. Raises: `EmbeddedError`.
        """
        async with self._turn:
            if self._urls is None:
                try:
                    self._make_data_dir()
                    self._lock.acquire()
                    self._urls = await self._start()
                except OSError as refusal:
                    await self._stop()
                    raise DataDirectoryRefused(f"{self._data_dir} cannot be used: {refusal}") from refusal
                except BaseException:
                    await self._stop()
                    raise
            return self._urls

    async def stop(self) -> None:
        """End the servers in order. Idempotent; never raises for one that is dead.

        Cancelled, it kills those that are left: nothing committed is lost.
        """
        async with self._turn:
            await self._stop()

    async def __aenter__(self) -> EmbeddedUrls:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def statistics(self) -> EmbeddedStatistics:
        """Processes, ports and how often each was started again."""
        return EmbeddedStatistics(
            postgres=self._postgres.statistics() if self._postgres else None,
            valkey=self._valkey.statistics() if self._valkey else None,
        )

    def _make_data_dir(self) -> None:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # The servers' account passes through it; the secrets in it are files of mode 0600.
            self._data_dir.chmod(self._data_dir.stat().st_mode & 0o777 | 0o011)

    async def _start(self) -> EmbeddedUrls:
        account = choose_account(self._data_dir / "postgres" / "data")
        if self._wants_postgres:
            self._postgres = Supervisor(Postgres(self._data_dir / "postgres", account, durable=self._durable))
        if self._wants_valkey:
            self._valkey = Supervisor(Valkey(self._data_dir / "valkey", account))
        starting = [asyncio.create_task(_start_one(each)) for each in (self._postgres, self._valkey)]
        try:
            database_url, redis_url = await asyncio.gather(*starting)
        except BaseException:
            # The other one may still be starting: end that before the directory is given back.
            for each in starting:
                each.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            raise
        return EmbeddedUrls(database_url=database_url, redis_url=redis_url)

    async def _stop(self) -> None:
        running = [each for each in (self._postgres, self._valkey) if each is not None]
        try:
            await asyncio.gather(*(each.stop() for each in running))
        finally:
            self._urls = self._postgres = self._valkey = None
            self._lock.release()


async def _start_one(supervisor: Supervisor | None) -> str | None:
    return None if supervisor is None else await supervisor.start()
