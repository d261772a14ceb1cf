"""Hubs of their own process that can be killed, and questions to their servers."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from redis.asyncio import Redis

from hub.embedded import EmbeddedServices
from hub.embedded.account import Account, choose_account

WITHIN_S = 60.0

# A hub's process: starts the servers, says where they are in one line, stops them on SIGTERM.
_HUB = """
import asyncio, json, signal, sys
from pathlib import Path
from hub.embedded import EmbeddedServices, postgres, valkey
from hub.embedded.process import Ending

async def main(directory, dies_with_hub):
    if not dies_with_hub:
        postgres._ENDINGS = valkey._ENDINGS = (Ending(0, 1.0),)
    ended_signal = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended_signal.set)
    services = EmbeddedServices(Path(directory), durable=False)
    urls = await services.start()
    now = services.statistics()
    print(json.dumps([urls.database_url, urls.redis_url, now.postgres.pid, now.valkey.pid]), flush=True)
    await ended_signal.wait()
    await services.stop()

asyncio.run(main(sys.argv[1], sys.argv[2] == "True"))
"""


def bounded(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """A test that hangs fails instead."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(WITHIN_S):
            await test(*args, **kwargs)

    return run


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Return when it has become true; the test's bound is the limit."""
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.02)


class KilledHub:
    """A hub in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.database_url = self.redis_url = ""
        self.pids: list[int] = []

    async def hear(self) -> None:
        assert self.process.stdout is not None
        self.database_url, self.redis_url, *self.pids = json.loads(await self.process.stdout.readline())

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        self.process.terminate()
        return await self.process.wait()


@asynccontextmanager
async def hub_process(directory: Path, *, dies_with_hub: bool = True, hears: bool = True) -> AsyncIterator[KilledHub]:
    """A hub that runs when this is entered, and is killed with its servers at the end where the test did not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HUB, str(directory), str(dies_with_hub),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    hub = KilledHub(process)
    try:
        if hears:
            await hub.hear()
        yield hub
    finally:
        if process.returncode is None:
            await hub.kill()
        for pid in hub.pids:
            if works(pid, directory):
                os.kill(pid, signal.SIGKILL)


def works(pid: int, directory: Path) -> bool:
    """Whether that process runs, and in that data directory: pids are used again."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(directory)
    except psutil.Error:
        return False


def anyone_works(directory: Path) -> bool:
    return any(works(pid, directory) for pid in psutil.pids())


def account(directory: Path) -> Account:
    return choose_account(directory / "postgres" / "data")


class Words:
    """Words in a table of their own."""

    def __init__(self, table: str) -> None:
        self._table = table

    async def write(self, url: str | None, word: str) -> None:
        """Committed when this returns."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table} (word text)")
            await connection.execute(f"INSERT INTO {self._table} VALUES ($1)", word)
        finally:
            await connection.close()

    async def read(self, url: str | None) -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            return [row["word"] for row in await connection.fetch(f"SELECT word FROM {self._table} ORDER BY word")]
        finally:
            await connection.close()


async def ping(url: str | None) -> bool:
    client = Redis.from_url(url or "")
    try:
        return bool(await client.ping())
    finally:
        await client.aclose()


def services(directory: Path, **wanted: bool) -> EmbeddedServices:
    return EmbeddedServices(directory, durable=False, **wanted)
