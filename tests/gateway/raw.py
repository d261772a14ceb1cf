"""A peer that says bytes, not frames: for what no honest client would send."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from tests.gateway.harness import Hub

TEXT, BINARY, CONT, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
_MASK = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length_form: int | None = None,
    length: int | None = None,
) -> bytes:
    """One frame, right unless told otherwise. `length_form` (7, 16, 64) forces how the length is written."""
    said = len(payload) if length is None else length
    form = length_form or (7 if said < 126 else 16 if said < 65536 else 64)
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if form == 7:
        head += bytes([mask_bit | said])
    elif form == 16:
        head += struct.pack("!BH", mask_bit | 126, said)
    else:
        head += struct.pack("!BQ", mask_bit | 127, said)
    if not masked:
        return head + payload
    return head + _MASK + bytes(byte ^ _MASK[i % 4] for i, byte in enumerate(payload))


def said(**fields: Any) -> bytes:
    """A frame of the protocol, as a text message."""
    return frame(TEXT, json.dumps(fields).encode())


class Peer:
    """A TCP connection, and what came on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> tuple[int, bytes] | None:
        """The next (opcode, payload) from the server; None at the end of the stream."""
        try:
            head = await self.reader.readexactly(2)
            size = head[1]
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return head[0] & 0xF, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def message(self, kind: str, *, within_s: float = 5) -> dict[str, Any]:
        """The next message of this type; others are skipped."""
        async with asyncio.timeout(within_s):
            while (got := await self.frame()) is not None:
                if got[0] == TEXT and (said := json.loads(got[1]))["type"] == kind:
                    return said
        raise AssertionError(f"the stream ended before a {kind}")

    async def end(self, *, within_s: float = 5) -> tuple[int | None, dict[str, Any] | None]:
        """Read to the end: the code of the close frame, and the `bye` before it. Nothing may follow the close."""
        code: int | None = None
        bye: dict[str, Any] | None = None
        async with asyncio.timeout(within_s):
            while (got := await self.frame()) is not None:
                opcode, payload = got
                assert code is None, f"{opcode:x} {payload[:80]!r} came after the close frame"
                if opcode == CLOSE:
                    code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                elif opcode == TEXT and (said := json.loads(payload))["type"] == "bye":
                    bye = said
        return code, bye


@contextlib.asynccontextmanager
async def tcp(hub: Hub, *, room: int | None = None) -> AsyncIterator[Peer]:
    """A TCP connection; with `room`, its kernel takes about that many bytes that are not read."""
    sock = socket.socket()
    if room is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", hub.port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def request(*lines: str, method: str = "GET", path: str = "/api/v1/ws") -> bytes:
    """A handshake, right unless `lines` say otherwise: each replaces the header of its name, or is added."""
    headers = {
        "host": "Host: hub",
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-key": "Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef").decode(),
        "sec-websocket-version": "Sec-WebSocket-Version: 13",
    }
    for line in lines:
        headers[line.partition(":")[0].lower()] = line
    return "\r\n".join([f"{method} {path} HTTP/1.1", *headers.values(), "", ""]).encode("latin-1")


@contextlib.asynccontextmanager
async def peer(hub: Hub, *, hello: bool = True, user: int = 7, room: int | None = None) -> AsyncIterator[Peer]:
    """An upgraded connection; with `hello`, a welcomed one."""
    async with tcp(hub, room=room) as one:
        one.send(request())
        async with asyncio.timeout(5):
            answer = await one.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        if hello:
            one.send(said(type="hello", token=f"acme:{user}"))
            await one.message("welcome")
        yield one
