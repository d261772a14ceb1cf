"""A head that never ends, or never comes, costs a bounded time and a bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from api.request_head import BoundedHead

HEAD = b"GET / HTTP/1.1\r\nhost: hub\r\n"


class _Quick(BoundedHead):
    head_timeout_s = 0.3
    head_bytes_max = 4096


async def _app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(_app, port=0, http=_Quick, ws="none", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server.servers[0].sockets[0].getsockname()[1]
    await server.shutdown()


@contextlib.asynccontextmanager
async def peer(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_an_empty_line_after_an_answer_is_no_way_to_stay(port: int) -> None:
    async with peer(port) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\r\n")
        async with asyncio.timeout(2):  # uvicorn's own patience would be 5 s
            await reader.read()


@pytest.mark.parametrize("half", [b"G", HEAD, HEAD + b"upgrade: websocket\r\nconnection: upgrade\r\nsec-web"])
async def test_half_a_head_is_408(port: int, half: bytes) -> None:
    async with peer(port) as (reader, writer):
        writer.write(half)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_who_says_nothing_is_hung_up_on(port: int) -> None:
    async with peer(port) as (reader, _):
        assert await reader.read() == b""


async def test_a_head_that_comes_drop_by_drop_is_408_all_the_same(port: int) -> None:
    async with peer(port) as (reader, writer):
        writer.write(HEAD + b"x-drops: ")
        answer = asyncio.create_task(reader.readline())
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait([answer], timeout=0.02)
        assert (await answer).startswith(b"HTTP/1.1 408 ")


async def test_a_head_without_end_is_431(port: int) -> None:
    async with peer(port) as (reader, writer):
        writer.write(HEAD)
        answer = asyncio.create_task(reader.readline())
        while not answer.done():
            writer.write(b"x-more: " + b"y" * 200 + b"\r\n")
            await asyncio.wait([answer], timeout=0.001)
        with contextlib.suppress(ConnectionResetError):
            assert (await answer).startswith(b"HTTP/1.1 431 ")


async def test_the_second_head_of_a_connection_is_bounded_too(port: int) -> None:
    async with peer(port) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        writer.write(HEAD)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_whole_requests_are_answered_however_they_are_cut(port: int) -> None:
    async with peer(port) as (reader, writer):
        for _ in range(3):
            for byte in HEAD + b"\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")


async def test_a_body_that_comes_after_its_answer_is_no_head(port: int) -> None:
    async with peer(port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: hub\r\ncontent-length: 100000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        for _ in range(100):
            writer.write(b"x" * 1000)
            await writer.drain()
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
