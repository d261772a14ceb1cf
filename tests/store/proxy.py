"""A TCP proxy between the hub and PostgreSQL that a test can cut and freeze."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """Forwards bytes both ways, until told otherwise. Not TLS: what it carries can be looked at."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self.swallow_answer_to: bytes | None = None
        """Whoever sends this gets no answer: the server does it, and the connection is cut instead of answering."""
        self._is_swallowing = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and cut those that are there."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._ask(reader, server_writer), self._answer(server_reader, writer))
        except (OSError, _Cut):
            pass
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            if self.swallow_answer_to is not None and self.swallow_answer_to in data:
                self.swallow_answer_to, self._is_swallowing = None, True
            writer.write(data)
            await writer.drain()
        raise _Cut

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            if self._is_swallowing:
                self._is_swallowing = False
                break
            writer.write(data)
            await writer.drain()
        raise _Cut


class _Cut(Exception):
    """One end is gone."""


@asynccontextmanager
async def in_front_of(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the server of `url`, and the URL that leads through it."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 5432)
    await proxy.start()
    try:
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        yield proxy, parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}").geturl()
    finally:
        proxy.thaw()
        await proxy.stop()
