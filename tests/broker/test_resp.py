"""The bytes: what is written, and what is read however it is cut."""

from __future__ import annotations

import asyncio
from typing import Any

import hiredis
import pytest

from hub.broker.resp import SubscriberProtocol, encode_command, encode_publish


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False
        self.written = b""

    def abort(self) -> None:
        self.is_aborted = True

    def write(self, data: Any) -> None:
        self.written += data


class Receiver:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.replies: list[Any] = []
        self.failures: list[str] = []
        self.lost: list[str] = []

    def on_message(self, topic: str, payload: bytes) -> None:
        if payload == b"bad":
            raise RuntimeError("bad")
        self.heard.append((topic, payload))

    def on_failure(self, topic: str, failure: Exception) -> None:
        self.failures.append(f"{topic}: {failure}")

    def on_reply(self, reply: Any) -> None:
        self.replies.append(reply)

    def on_lost(self, link: SubscriberProtocol, reason: str) -> None:
        self.lost.append(reason)


NAMES = {b"a": "a", "ü".encode(): "ü"}


def connected(partial_bytes_max: int = 1000) -> tuple[Receiver, SubscriberProtocol, Transport]:
    receiver, transport = Receiver(), Transport()
    link = SubscriberProtocol(receiver, NAMES, partial_bytes_max=partial_bytes_max)
    link.connection_made(transport)
    return receiver, link, transport


def message(topic: bytes, payload: bytes) -> bytes:
    return encode_command(b"message", topic, payload)


@pytest.mark.parametrize("parts", [(b"SUBSCRIBE", b"a", b"b"), (b"PUBLISH", b"", b"\r\n\x00\xff"), (b"PING",)])
def test_a_command_is_what_the_driver_writes(parts: tuple[bytes, ...]) -> None:
    assert encode_command(*parts) == hiredis.pack_command(parts)
    if parts[0] == b"PUBLISH":
        assert encode_publish(parts[1], parts[2]) == hiredis.pack_command(parts)


def test_replies_are_read_however_they_are_cut() -> None:
    stream = (
        b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        + message(b"a", b"one")
        + message("ü".encode(), b"\r\n$3\r\n")
        + b"*2\r\n$4\r\npong\r\n$1\r\nx\r\n"
        + message(b"a", b"")
    )
    for size in range(1, len(stream) + 1):
        receiver, link, _ = connected()
        for start in range(0, len(stream), size):
            link.data_received(stream[start : start + size])
        assert receiver.heard == [("a", b"one"), ("ü", b"\r\n$3\r\n"), ("a", b"")]
        assert receiver.replies == [b"OK", [b"subscribe", b"a", 1], [b"pong", b"x"]]
        assert link.received == 3


def test_a_message_of_an_unknown_topic_is_a_reply() -> None:
    receiver, link, _ = connected()
    link.data_received(message(b"gone", b"x"))
    assert (receiver.heard, receiver.replies) == ([], [[b"message", b"gone", b"x"]])


def test_a_listener_that_raises_does_not_keep_the_next_message() -> None:
    receiver, link, transport = connected()
    link.data_received(message(b"a", b"bad") + message(b"a", b"good"))
    assert (receiver.heard, receiver.failures) == ([("a", b"good")], ["a: bad"])
    assert not transport.is_aborted


def test_what_is_not_the_protocol_ends_the_connection() -> None:
    receiver, link, transport = connected()
    link.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    assert transport.is_aborted
    assert link.is_over
    assert receiver.lost[0].startswith("not the Redis protocol")


def test_a_message_without_end_ends_the_connection() -> None:
    receiver, link, transport = connected(partial_bytes_max=1000)
    link.data_received(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$100000\r\n")
    for _ in range(9):
        link.data_received(b"x" * 100)
    assert not transport.is_aborted
    link.data_received(b"x" * 100)
    link.data_received(b"x" * 100)
    assert transport.is_aborted
    assert receiver.lost == ["a message of more than 1000 bytes"]


def test_many_messages_in_pieces_are_not_one_large_one() -> None:
    receiver, link, transport = connected(partial_bytes_max=1000)
    stream = message(b"a", b"x" * 500) * 20
    for start in range(0, len(stream), 300):
        link.data_received(stream[start : start + 300])
    assert not transport.is_aborted
    assert len(receiver.heard) == 20


def test_a_loss_is_told_once_and_not_at_all_where_it_was_meant() -> None:
    receiver, link, _ = connected()
    link.connection_lost(ConnectionResetError("reset"))
    link.connection_lost(None)
    assert receiver.lost == ["the connection was lost: reset"]
    receiver, link, transport = connected()
    link.abort()
    link.connection_lost(None)
    assert transport.is_aborted
    assert receiver.lost == []


def test_a_connection_that_is_made_too_late_is_ended() -> None:
    receiver = Receiver()
    link = SubscriberProtocol(receiver, NAMES, partial_bytes_max=1000)
    link.abort()
    transport = Transport()
    link.connection_made(transport)
    assert transport.is_aborted
