"""Real processes of the hub, started and stopped by the tests, and raw devices that talk to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from hub import clock
from hub.auth.minting import minter_of
from hub.settings import Settings

SECRET = "acceptance-secret-of-32-bytes-or-more"
HUB = [sys.executable, "-c", "from hub.cli import main; main()"]
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def token(user: int | None = 7, *, tenant: str = "acme", role: Any = "agent", ttl_s: int = 3600) -> str:
    minter = minter_of(Settings(jwt_secret=SECRET), clock.token)
    return minter.mint(tenant_id=tenant, user_id=user, role=role, now=clock.now(), ttl_s=ttl_s, name=None)


class Node:
    """One `hub serve`."""

    def __init__(self, database_url: str, redis_url: str, directory: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = directory / f"node-{self.port}.log"
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HUB_")},
            "HUB_DATABASE_URL": database_url,
            "HUB_REDIS_URL": redis_url,
            "HUB_DATA_DIR": str(directory / f"data-{self.port}"),
            "HUB_PORT": str(self.port),
            "HUB_JWT_SECRET": SECRET,
            "HUB_ENCRYPTION_KEY": SECRET,
            "HUB_RATE_LIMITS": "off",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*HUB, "serve"], cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    async def ready(self, within_s: float = 30) -> None:
        async with asyncio.timeout(within_s), httpx.AsyncClient() as client:
            while True:
                if self.process.poll() is not None:
                    raise AssertionError(f"hub serve ended by itself:\n{self.log.read_text()}")
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)

    async def stopped(self, within_s: float = 30) -> int:
        async with asyncio.timeout(within_s):
            while (code := self.process.poll()) is None:
                await asyncio.sleep(0.02)
        return code

    @contextlib.contextmanager
    def running(self) -> Iterator[Node]:
        self.start()
        try:
            yield self
        finally:
            self.kill()
            self.process.wait(30)

    # -- what a producer does ----------------------------------------------------------------------------------------

    async def notify(
        self, client: httpx.AsyncClient, user: int = 7, *, tenant: str = "acme", title: str = "t", **fields: Any
    ) -> httpx.Response:
        body = {"user_id": user, "type": "system", "title": title, "message": "m", **fields}
        return await client.post(
            f"{self.url}/api/v1/notifications",
            json=body,
            headers={"Authorization": f"Bearer {token(None, tenant=tenant, role='service')}"},
        )


class Device:
    """A desktop: remembers its cursor, and every event that it was sent."""

    def __init__(self, user: int = 7, *, tenant: str = "acme") -> None:
        self.user, self.tenant = user, tenant
        self.epoch: str | None = None
        self.cursor: int | None = None
        self.welcome: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.socket: ClientConnection | None = None

    @contextlib.asynccontextmanager
    async def on(self, node: Node) -> AsyncIterator[Device]:
        url = f"ws://127.0.0.1:{node.port}/api/v1/ws"
        async with connect(url, max_size=None, max_queue=None, close_timeout=1) as self.socket:
            hello = {"type": "hello", "token": token(self.user, tenant=self.tenant), "can_ring": True}
            if self.cursor is not None:
                hello |= {"epoch": self.epoch, "cursor": self.cursor}
            await self.socket.send(json.dumps(hello))
            self.welcome = json.loads(await self.socket.recv())
            assert self.welcome["type"] == "welcome", self.welcome
            self.epoch, self.cursor = self.welcome["epoch"], self.welcome["cursor"]
            yield self

    async def hear(self, count: int, *, within_s: float = 10) -> list[dict[str, Any]]:
        """Wait until `count` events have come in all; the new ones."""
        before = len(self.events)
        assert self.socket is not None
        async with asyncio.timeout(within_s):
            while len(self.events) - before < count:
                frame = json.loads(await self.socket.recv())
                if frame["type"] in ("event", "events"):
                    self.events.extend(frame.get("items", [frame]))
                    self.cursor = frame["cursor"]
        return self.events[before:]

    async def is_silent(self) -> bool:
        """Nothing came before the answer to a ping."""
        assert self.socket is not None
        await self.socket.send('{"type":"ping","id":"silence"}')
        async with asyncio.timeout(5):
            return json.loads(await self.socket.recv())["type"] == "pong"
