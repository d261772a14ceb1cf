"""The broker over one Redis or Valkey: an ear, a mouth, and a canary between them.

Owns when the canary sings: published by this node on a topic of its own, it must
be heard on the subscriber's connection, which proves both sides and the server
between. A socket that has silently died is so found within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from hub import clock as machine_clock
from hub.broker.endpoint import Endpoint
from hub.broker.ports import BrokerLimits, BrokerStatistics, Clock, OnConnection, OnMessage
from hub.broker.publisher import Publisher
from hub.broker.subscriber import Subscriber
from hub.broker.topics import canary_topic

_log = logging.getLogger("hub.broker")

_REST_S = 0.1
"""At most this long, at random, between a change and the canary that looks at it: a flapping server is not hammered."""


class RedisBroker:
    """`hub.broker.ports.Broker` on the server at `url` (`redis://`, `rediss://`, `unix://`).

    Raises:
        ValueError: the URL cannot be used; the sentence names why.
    """

    def __init__(self, url: str, *, limits: BrokerLimits | None = None, clock: Clock = machine_clock) -> None:
        self._limits = limits or BrokerLimits()
        self._clock = clock
        self._on_connection: OnConnection = _ignore_connection
        endpoint = Endpoint(url)
        self._subscriber = Subscriber(
            endpoint,
            canary_topic(clock.token(9)),
            clock=clock,
            limits=self._limits,
            on_message=_ignore_message,
            on_up=self._on_up,
        )
        self._publisher = Publisher(endpoint, limits=self._limits, on_broken=self._sing_soon)
        self._sing_signal = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_connected(self) -> bool:
        return self._subscriber.is_up

    @property
    def is_behind(self) -> bool:
        return self._subscriber.is_behind

    async def start(self) -> None:
        """As `Broker.start`. Once: a broker that was closed stays so."""
        if self._runner is None and not self._is_closed:
            self._publisher.start()
            self._subscriber.start()
            self._runner = asyncio.create_task(self._sing_on(), name="broker-canary")

    async def close(self) -> None:
        self._is_closed = True
        self._on_connection = _ignore_connection
        self._subscriber.on_message = _ignore_message
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        await self._publisher.close()
        await self._subscriber.close()

    async def subscribe(self, topic: str) -> None:
        await self._subscriber.subscribe((topic,))

    async def subscribe_many(self, topics: Sequence[str]) -> None:
        await self._subscriber.subscribe(topics)

    async def unsubscribe(self, topic: str) -> None:
        self._subscriber.unsubscribe(topic)

    async def publish(self, topic: str, payload: bytes) -> bool:
        return await self._publisher.publish(((topic, payload),)) == 1

    async def publish_many(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """As `Broker.publish_many`: one pipeline, or several where they are too many for one."""
        return await self._publisher.publish(messages)

    def listen(self, on_message: OnMessage, on_connection: OnConnection) -> None:
        self._subscriber.on_message = on_message
        self._on_connection = on_connection

    def statistics(self) -> BrokerStatistics:
        subscriber, publisher = self._subscriber, self._publisher
        return BrokerStatistics(
            is_connected=subscriber.is_up,
            is_publishing=self._runner is not None and not publisher.is_broken,
            topics=subscriber.topic_count,
            published=publisher.published,
            publish_failures=publisher.failures,
            received=subscriber.received,
            listener_failures=subscriber.listener_failures,
            reconnects=max(0, subscriber.ups - 1),
            canaries_missed=subscriber.canaries_missed,
            subscribe_timeouts=subscriber.subscribe_timeouts,
            canary_rtt_s=subscriber.canary_rtt_s,
            last_error=subscriber.last_error or publisher.last_error,
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on_up(self, is_up: bool) -> None:
        if is_up:
            self._publisher.mend()
            self._sing_soon()
        try:
            self._on_connection(is_up)
        except Exception:
            _log.exception("the listener failed on the connection's change")

    def _sing_soon(self) -> None:
        self._sing_signal.set()

    async def _sing_on(self) -> None:
        while True:
            await self._sing()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.canary_interval_s):
                    await self._sing_signal.wait()
            if self._sing_signal.is_set():
                self._sing_signal.clear()
                await asyncio.sleep(_REST_S * self._clock.unit())

    async def _sing(self) -> None:
        """One canary. Where no ear is up it is for the publisher alone."""
        nonce = self._clock.token(9)
        is_expected = self._subscriber.is_up
        if is_expected:
            self._subscriber.expect_canary(nonce)
        is_taken = await self._publisher.probe(self._subscriber.canary_topic, nonce.encode())
        if is_expected and not is_taken:
            self._subscriber.ping(nonce)


def _ignore_message(_topic: str, _payload: bytes) -> None:
    """Until somebody listens."""


def _ignore_connection(_is_up: bool) -> None:
    """Until somebody listens."""
