"""A TCP proxy that misbehaves on request, to stand between the hub and its PostgreSQL or Redis.

    async with FaultyProxy("127.0.0.1", port) as proxy:
        ...connect to proxy.host, proxy.port...
        proxy.freeze()

What it holds back it keeps, in order, as a network does that comes back: only
`cut` and `refuse` lose bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Literal

Way = Literal["to_server", "to_client"]
WAYS: tuple[Way, Way] = ("to_server", "to_client")

_CHUNK_BYTES = 65536
_CHUNKS_HELD_MAX = 16
"""A way that is blocked takes in about a megabyte, then no more: its sender feels that as from a stopped process."""


class FaultyProxy:
    """Passes connections on to one server, until told otherwise.

    Every fault acts on the connections there are and on those to come, until it is undone.
    `tls` makes it speak TLS to its clients and plain TCP to the server. Its own port stays the same.
    """

    def __init__(self, server_host: str, server_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.accepted = 0
        """How many connections have come since the start."""
        self._server_host = server_host
        self._server_port = server_port
        self._tls = tls
        self._delay_s = 0.0
        self._open: dict[Way, asyncio.Event] = {way: asyncio.Event() for way in WAYS}
        for gate in self._open.values():
            gate.set()
        self._listener: asyncio.Server | None = None
        self._transports: set[asyncio.WriteTransport] = set()
        self._runners: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FaultyProxy:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._runners)

    async def accept(self) -> None:
        """Listen, at first and after `refuse`, on the same port."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls, backlog=1024)
            self.port = self._listener.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """As a server that has died: every connection is reset, and new ones are refused."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection there is; new ones are let through."""
        for transport in list(self._transports):
            transport.abort()

    def freeze(self) -> None:
        """Nothing passes either way, nothing is closed; new connections are taken and stay silent."""
        for way in WAYS:
            self.block(way)

    def thaw(self) -> None:
        """What was frozen or blocked flows on, from where it stopped."""
        for gate in self._open.values():
            gate.set()

    def block(self, way: Way) -> None:
        """Nothing passes in this direction any more; the other is not touched."""
        self._open[way].clear()

    def delay(self, seconds: float) -> None:
        """From now on each byte takes this much longer, each way. 0 undoes it."""
        self._delay_s = seconds

    async def close(self) -> None:
        """End everything. Idempotent."""
        self.refuse()
        runners = list(self._runners)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        runner = asyncio.current_task()
        assert runner is not None
        self.accepted += 1
        self._runners.add(runner)
        self._transports.add(writer.transport)
        upstream: asyncio.StreamWriter | None = None
        try:
            from_server, upstream = await asyncio.open_connection(self._server_host, self._server_port)
            self._transports.add(upstream.transport)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass("to_server", reader, upstream))
                group.create_task(self._pass("to_client", from_server, writer))
        except* (OSError, EOFError):
            pass
        except* asyncio.CancelledError:
            # The end of the proxy: asyncio's own callback on this task would complain about a cancelled one.
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._transports.discard(end.transport)
                    end.transport.abort()
            self._runners.discard(runner)

    async def _pass(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_HELD_MAX)
        writing = asyncio.create_task(self._write(way, held, writer))
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await held.put((asyncio.get_running_loop().time() + self._delay_s, data))
                if writing.done():
                    break
            await held.put((0.0, b""))
            await writing
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, EOFError):
                await writing

    async def _write(self, way: Way, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await held.get()
            await asyncio.sleep(due - loop.time())
            await self._open[way].wait()
            if not data:
                # One side has said its last: both are over, as Redis and PostgreSQL have it.
                raise EOFError
            writer.write(data)
            await writer.drain()
