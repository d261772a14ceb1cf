"""One server: where it is, and how one gets in.

redis-py reads the URL, so that `redis://`, `rediss://` and `unix://` and their
options mean here what they mean everywhere. The connections that hints take are
opened here, since they have protocols of their own. Pub/sub knows no databases, so the URL's matters to nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import RedisError

from hub.broker.resp import encode_command

# The canary finds a dead peer first; keepalive is for the firewall between, that forgets who is silent.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Endpoint:
    """A server by its URL.

    Raises:
        ValueError: the URL cannot be used; the sentence names why, never the password.
    """

    def __init__(self, url: str) -> None:
        try:
            # Time limits are those of whoever calls; the driver's own would come on top, reply by reply.
            self._pool: Any = ConnectionPool.from_url(
                url,
                protocol=2,
                driver_info=None,
                socket_timeout=None,
                socket_connect_timeout=None,
                **_socket_options(url),
            )
            pattern: Any = self._pool.make_connection()
            self._tls: ssl.SSLContext | None = pattern.ssl_context.get() if isinstance(pattern, SSLConnection) else None
        except (TypeError, ValueError, RedisError, OSError) as exc:
            raise ValueError(f"the Redis URL cannot be used: {exc}") from None
        self._path: str | None = pattern.path if isinstance(pattern, UnixDomainSocketConnection) else None
        self._host: str = pattern.host if isinstance(pattern, Connection) else ""
        self._port: int = pattern.port if isinstance(pattern, Connection) else 0
        self._username: str | None = pattern.username
        self._password: str | None = pattern.password

    def __str__(self) -> str:
        return self._path or f"{self._host}:{self._port}"

    def publishing(self) -> AbstractConnection:
        """A connection of redis-py, for commands of any kind: it connects itself, and again, whenever one is sent."""
        return self._pool.make_connection()

    @property
    def greeting(self) -> bytes:
        """The first command of a connection, or nothing where there is no password."""
        if not self._password and not self._username:
            return b""
        credentials = [part.encode() for part in (self._username, self._password or "") if part is not None]
        return encode_command(b"AUTH", *credentials)

    async def open(self, make_protocol: Callable[[], asyncio.Protocol]) -> None:
        """Connect `make_protocol()`. No deadline of its own.

        Raises:
            OSError: it cannot be reached, or its certificate does not hold.
        """
        loop = asyncio.get_running_loop()
        if self._path is not None:
            await loop.create_unix_connection(make_protocol, self._path)
            return
        hostname = self._host if self._tls is not None else None
        transport, _ = await loop.create_connection(
            make_protocol, self._host, self._port, ssl=self._tls, server_hostname=hostname
        )
        opened: socket.socket = transport.get_extra_info("socket")
        # The server may have gone already; then the protocol hears of it by itself.
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _keepalive().items():
                opened.setsockopt(socket.IPPROTO_TCP, option, value)


def _keepalive() -> dict[int, int]:
    """What this platform has of the options."""
    return {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}


def _socket_options(url: str) -> dict[str, Any]:
    if url.startswith("unix:"):
        return {}
    return {"socket_keepalive": True, "socket_keepalive_options": _keepalive()}
