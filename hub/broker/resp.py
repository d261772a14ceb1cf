"""The Redis protocol on a socket, at the cost of a bare protocol.

Owns the bytes: how a command is written, how replies are read. Every hint to this node
passes `SubscriberProtocol.data_received`, and every one of this node `PublisherProtocol`,
so they ask nothing of asyncio but the bytes. Does not own what is subscribed
(`subscriber`), nor what is published (`publisher`).

RESP2, which every server speaks: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import hiredis

_MESSAGE: Final = b"message"
_LARGE_READ: Final = 128 * 1024
"""The loop reads at most 256 KiB at once. Whoever gets half of that has been out-run: more has come meanwhile."""
_FEED_BYTES: Final = 16 * 1024
"""hiredis moves all that it was fed and has not read, for every message past the first KiB: so it is fed little."""


def encode_command(*parts: bytes) -> bytes:
    """One command, as an array of bulk strings."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def encode_publish(topic: bytes, payload: bytes) -> bytes:
    """`PUBLISH`, without the general form's joining."""
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(topic), topic, len(payload), payload)


class Receiver(Protocol):
    """Who a subscriber's connection belongs to. Nothing that these raise may be let out, except by a defect."""

    on_message: Callable[[str, bytes], None]

    def on_failure(self, topic: str, failure: Exception) -> None:
        """`on_message` raised."""
        ...

    def on_reply(self, reply: Any) -> None:
        """Anything but a message of a known topic: an acknowledgement, a pong, an error as `hiredis.ReplyError`."""
        ...

    def on_lost(self, link: SubscriberProtocol, reason: str) -> None: ...


class SubscriberProtocol(asyncio.Protocol):
    """One connection in subscribed mode.

    `names` maps the topics that are heard, as bytes, to their names; its owner changes it in place.
    `received` counts the messages handed on. After `abort` it tells its receiver nothing more.
    """

    __slots__ = (
        "_gets",
        "_is_over",
        "_names",
        "_partial",
        "_partial_max",
        "_reader",
        "_receiver",
        "_transport",
        "is_behind",
        "received",
    )

    def __init__(self, receiver: Receiver, names: Mapping[bytes, str], *, partial_bytes_max: int) -> None:
        self.received = 0
        self.is_behind = False
        """The last read was large: the next one is about to come."""
        self._receiver = receiver
        self._names = names
        self._reader = hiredis.Reader()
        self._gets: Callable[[], Any] = self._reader.gets
        self._partial = 0
        self._partial_max = partial_bytes_max
        self._transport: asyncio.Transport | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Lost or given up."""
        return self._is_over

    def write(self, command: bytes) -> None:
        """Send without waiting; lost where the connection is."""
        if self._transport is not None:
            self._transport.write(command)

    def abort(self) -> None:
        """End it now, unsent bytes and all. Idempotent."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    # -- called by the loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._is_over:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        receiver, names, gets, feed = self._receiver, self._names, self._gets, self._reader.feed
        on_message = receiver.on_message
        heard = answered = 0
        self.is_behind = len(data) >= _LARGE_READ
        try:
            for start in range(0, len(data), _FEED_BYTES):
                feed(data, start, min(_FEED_BYTES, len(data) - start))
                while (reply := gets()) is not False:
                    if (
                        type(reply) is list
                        and len(reply) == 3
                        and reply[0] == _MESSAGE
                        and (topic := names.get(reply[1])) is not None
                    ):
                        heard += 1
                        try:
                            on_message(topic, reply[2])
                        except Exception as failure:
                            receiver.on_failure(topic, failure)
                    elif not self._is_over:
                        answered += 1
                        receiver.on_reply(reply)
        except hiredis.ProtocolError as exc:
            self._lose(f"not the Redis protocol: {exc}")
            return
        finally:
            self.received += heard
        # What has come since the last reply that was whole.
        self._partial = 0 if heard or answered else self._partial + len(data)
        if self._partial > self._partial_max:
            self._lose(f"a message of more than {self._partial_max} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection was lost: {exc}" if exc else "the server closed the connection")

    def _lose(self, reason: str) -> None:
        if not self._is_over:
            self.abort()
            self._receiver.on_lost(self, reason)


class PublisherProtocol(asyncio.Protocol):
    """One connection on which commands are answered in their order.

    `greeting` is the command to begin with, or nothing; what is exchanged fails where it is refused.
    """

    __slots__ = (
        "_answer_signal",
        "_answers",
        "_greeting",
        "_is_greeted",
        "_reader",
        "_transport",
        "_wanted",
        "is_over",
    )

    def __init__(self, greeting: bytes) -> None:
        self.is_over = False
        self._greeting = greeting
        self._is_greeted = not greeting
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._answers: list[Any] = []
        self._wanted = 0
        self._answer_signal: asyncio.Future[list[Any]] | None = None

    async def exchange(self, commands: list[bytes]) -> list[Any]:
        """Send all, and return one answer each, a refusal as `hiredis.ReplyError`. One exchange at a time.

        Cancelled, its answers are still to come: `abort`.

        Raises:
            ConnectionError: the connection is lost, or was refused.
        """
        if self.is_over or self._transport is None:
            raise ConnectionError("the connection is lost")
        self._wanted = len(commands)
        self._answer_signal = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(commands))
        return await self._answer_signal

    def abort(self) -> None:
        """End it now, unsent bytes and all. Idempotent."""
        self._lose("given up by this node")

    # -- called by the loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.is_over:
            self._transport.abort()
        elif self._greeting:
            self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if not self._is_greeted:
                    if isinstance(reply, hiredis.ReplyError):
                        self._lose(f"the server refuses: {reply}")
                        return
                    self._is_greeted = True
                else:
                    self._answers.append(reply)
        except hiredis.ProtocolError as exc:
            self._lose(f"not the Redis protocol: {exc}")
            return
        signal = self._answer_signal
        if signal is not None and len(self._answers) >= self._wanted:
            self._answer_signal = None
            answers, self._answers = self._answers, []
            if not signal.done():
                signal.set_result(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the connection was lost: {exc}" if exc else "the server closed the connection")

    def _lose(self, reason: str) -> None:
        self.is_over = True
        if self._transport is not None:
            self._transport.abort()
        signal, self._answer_signal = self._answer_signal, None
        if signal is not None and not signal.done():
            signal.set_exception(ConnectionError(reason))
