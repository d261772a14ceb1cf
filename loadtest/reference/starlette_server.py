"""What Python people reach for: Starlette's `send_text` in a loop; and, for REST, a route that answers an empty 201.

    python -m loadtest.reference.starlette_server

Prints its port once it listens. Standard input is a stream of 32-bit numbers in this
machine's order: ALL sends the frame to every socket, any other to that one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from array import array

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

ALL = 2**32 - 1


class Sockets:
    """Everyone who is connected, in the order of coming; each event goes out as one `send_text` a socket."""

    def __init__(self, frame: str) -> None:
        self._frame = frame
        self._all: list[WebSocket] = []

    async def connected(self, one: WebSocket) -> None:
        await one.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await one.receive_text()
            self._all.append(one)
            await one.send_text('{"type":"welcome"}')
            while True:
                await one.receive_text()

    async def obey(self, commands: asyncio.StreamReader) -> None:
        while True:
            wanted = array("I", await commands.readexactly(4))
            for to in wanted:
                for one in self._all if to == ALL else (self._all[to],):
                    await one.send_text(self._frame)


async def created(request: Request) -> Response:
    """The least that a POST of JSON can be: its body read, nothing done."""
    await request.body()
    return Response(status_code=201)


def frame_of(size: int) -> str:
    """An event of so many bytes."""
    head = '{"type":"event","seq":1,"cursor":1,"data":"'
    return head + "x" * (size - len(head) - 2) + '"}'


async def serve(frame_bytes: int) -> None:
    sockets = Sockets(frame_of(frame_bytes))
    app = Starlette(
        routes=[
            WebSocketRoute("/api/v1/ws", sockets.connected),
            Route("/api/v1/notifications", created, methods=["POST"]),
        ]
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="error",
        access_log=False,
        lifespan="off",
        backlog=4096,
    )
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    print(listener.getsockname()[1], flush=True)
    with contextlib.suppress(asyncio.IncompleteReadError):
        await sockets.obey(commands)
    serving.cancel()
    await asyncio.wait([serving])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("frame_bytes", type=int)
    asyncio.run(serve(parser.parse_args().frame_bytes))
