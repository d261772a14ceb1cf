"""One node's ear on one server: its topics, its connection, and the proof that it hears.

Owns which topics are wanted and what the server has been told of them, and
connects again for as long as it lives. Keeps law 4's half of the broker: what
`subscribe` has returned for is heard. Does not own publishing, nor when a
canary sings (`hub.broker.redis`). A cluster would have one of these a shard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import hiredis

from hub.broker.endpoint import Endpoint
from hub.broker.ports import BrokerLimits, Clock
from hub.broker.resp import SubscriberProtocol, encode_command
from hub.broker.topic import Topic

_log = logging.getLogger("hub.broker")

_HELD_UP_S = 0.5
"""A timer that comes later than this says that this process stood still, and nothing about the server."""
_COMPLAINT_INTERVAL_S = 1.0
"""A listener that always fails must not turn every message into a traceback."""


class Subscriber:
    """See the module. `on_message` may be replaced at any time; `on_up` hears of each change of `is_up`."""

    def __init__(
        self,
        endpoint: Endpoint,
        canary_topic: str,
        *,
        clock: Clock,
        limits: BrokerLimits,
        on_message: Callable[[str, bytes], None],
        on_up: Callable[[bool], None],
    ) -> None:
        self.on_message = on_message
        self.is_up = False
        self.ups = 0
        self.canary_topic = canary_topic
        self.canary_rtt_s: float | None = None
        self.canaries_missed = 0
        self.subscribe_timeouts = 0
        self.listener_failures = 0
        self.last_error: str | None = None
        self._endpoint = endpoint
        self._clock = clock
        self._limits = limits
        self._on_up = on_up
        self._canary = canary_topic.encode()
        self._topics: dict[bytes, Topic] = {}
        self._names: dict[bytes, str] = {}
        self._changed: dict[bytes, None] = {}
        """Topics of which the server is to be told, in the order of the calls."""
        self._flush_handle: asyncio.Handle | None = None
        self._link: SubscriberProtocol | None = None
        self._received_before = 0
        self._acks = 0
        self._canaries: dict[bytes, float] = {}
        self._lost_signal = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._complained_at = float("-inf")

    @property
    def topic_count(self) -> int:
        return len(self._names)

    @property
    def received(self) -> int:
        return self._received_before + (self._link.received if self._link is not None else 0)

    @property
    def is_behind(self) -> bool:
        """As `Broker.is_behind`."""
        return self._link is not None and self._link.is_behind

    def start(self) -> None:
        """Begin to connect, in the background."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="broker-subscriber")

    async def close(self) -> None:
        """Let go of the server, and tell nobody. Idempotent."""
        runner, self._runner = self._runner, None
        self._on_up = _tell_nobody
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        self.is_up = False
        self._lose("closed by this node")

    # -- topics ------------------------------------------------------------------------------------------------------

    async def subscribe(self, names: Sequence[str]) -> None:
        """As `Broker.subscribe_many`."""
        signals: list[asyncio.Future[None]] = []
        for name in names:
            topic = self._want(name.encode(), name)
            if topic.is_attached or self._link is None:
                continue
            if topic.attached_signal is None:
                topic.attached_signal = asyncio.get_running_loop().create_future()
            signals.append(topic.attached_signal)
        if signals:
            # Not `wait_for`: many wait for the same signal, and one who goes must not end it.
            _, late = await asyncio.wait(signals, timeout=self._limits.subscribe_within_s)
            self.subscribe_timeouts += len(late)

    def unsubscribe(self, name: str) -> None:
        """As `Broker.unsubscribe`."""
        encoded = name.encode()
        self._names.pop(encoded, None)
        topic = self._topics.get(encoded)
        if topic is None or not topic.is_wanted:
            return
        topic.is_wanted = False
        topic.release()
        self._tell_soon(encoded)

    def _want(self, encoded: bytes, name: str) -> Topic:
        topic = self._topics.get(encoded)
        if topic is None:
            topic = self._topics[encoded] = Topic()
        if not topic.is_wanted:
            topic.is_wanted = True
            self._names[encoded] = name
            self._tell_soon(encoded)
        return topic

    def _tell_soon(self, encoded: bytes) -> None:
        """Tell the server at the end of this turn of the loop, together with all that changes in it."""
        self._changed[encoded] = None
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        chunk = list(islice(self._changed, self._limits.topics_per_command))
        told: dict[bool, list[bytes]] = {True: [], False: []}
        for encoded in chunk:
            del self._changed[encoded]
            topic = self._topics[encoded]
            if self._link is not None and topic.is_wanted != topic.is_told:
                topic.is_told = topic.is_wanted
                topic.acks_due += 1
                told[topic.is_told].append(encoded)
            self._settle(encoded, topic)
        if self._link is not None:
            for is_told, names in told.items():
                if names:
                    self._link.write(encode_command(b"SUBSCRIBE" if is_told else b"UNSUBSCRIBE", *names))
        if self._changed:
            # The next chunk in the next turn: others have work too.
            self._flush_handle = asyncio.get_running_loop().call_soon(self._flush)

    def _settle(self, encoded: bytes, topic: Topic) -> None:
        if topic.acks_due == 0 and encoded not in self._changed:
            if topic.is_told:
                topic.release()
            elif not topic.is_wanted:
                self._topics.pop(encoded, None)

    # -- what the server says ----------------------------------------------------------------------------------------

    def on_reply(self, reply: Any) -> None:
        """An acknowledgement, a pong, an error, a message of a topic that is not wanted any more, or a canary."""
        if isinstance(reply, hiredis.ReplyError):
            self._lose(f"the server refuses: {reply}")
        elif not isinstance(reply, list):
            return  # "OK", to the password
        elif reply[0] in (b"subscribe", b"unsubscribe"):
            self._on_ack(reply[1], is_subscribed=reply[0] == b"subscribe")
        elif reply[0] == b"pong" or (reply[0] == b"message" and reply[1] == self._canary):
            self._on_canary(reply[-1])

    def _on_ack(self, encoded: bytes, *, is_subscribed: bool) -> None:
        topic = self._topics.get(encoded)
        if topic is None or topic.acks_due == 0:
            self._lose("the server ended a subscription by itself")
            return
        topic.acks_due -= 1
        self._acks += 1
        if topic.acks_due == 0 and topic.is_told != is_subscribed:
            self._lose("the server answered what it was not asked")
            return
        self._settle(encoded, topic)
        # The canary's topic is the last that is subscribed on a connection: all the others are attached.
        if encoded == self._canary and not self.is_up:
            self.is_up = True
            self.ups += 1
            _log.info("hearing from Redis at %s", self._endpoint)
            self._on_up(True)

    def on_failure(self, topic: str, failure: Exception) -> None:
        """The listener raised: its defect must not cost the connection."""
        self.listener_failures += 1
        now = self._clock.monotonic()
        if now - self._complained_at >= _COMPLAINT_INTERVAL_S:
            self._complained_at = now
            _log.error("the listener failed on %s (failures: %d)", topic, self.listener_failures, exc_info=failure)

    def on_lost(self, link: SubscriberProtocol, reason: str) -> None:
        """The connection is over, or must be."""
        if link is self._link:
            self._lose(reason)

    # -- canaries ----------------------------------------------------------------------------------------------------

    def expect_canary(self, nonce: str) -> None:
        """From now on this must be heard in time on the canary's topic, or as a pong, or the connection is given up."""
        self._canaries[nonce.encode()] = self._clock.monotonic()
        self._look_later(self._miss, nonce.encode())

    def ping(self, nonce: str) -> None:
        """Ask the server itself, where the canary could not be published: that proves less, but without a publisher."""
        if self._link is not None:
            self._link.write(encode_command(b"PING", nonce.encode()))

    def _on_canary(self, nonce: bytes) -> None:
        sent_at = self._canaries.get(nonce)
        if sent_at is None:
            return
        self.canary_rtt_s = self._clock.monotonic() - sent_at
        # It has overtaken those before it, so they are not missing but lost with the publisher.
        self._canaries = {other: at for other, at in self._canaries.items() if at > sent_at}

    def _miss(self, nonce: bytes) -> None:
        if nonce in self._canaries:
            self.canaries_missed += 1
            self._lose(f"no canary was heard for {self._limits.canary_within_s} s")

    def _look_later(self, look: Callable[..., None], *arguments: Any) -> None:
        """Call `look` after the canary's deadline, if this connection still is."""
        loop, link = asyncio.get_running_loop(), self._link
        due = loop.time() + self._limits.canary_within_s

        def look_now() -> None:
            if self._link is not link or link is None:
                return
            if loop.time() - due > _HELD_UP_S:
                # What was missed may lie in the socket, unread.
                self._look_later(look, *arguments)
            else:
                look(*arguments)

        loop.call_at(due, look_now)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while True:
            ups = self.ups
            await self._connect()
            if self._link is not None:
                await self._lost_signal.wait()
            failures = failures + 1 if self.ups == ups else 0
            # Full jitter, so that the nodes of a hub do not come back in step.
            bound = min(self._limits.retry_max_s, self._limits.retry_min_s * 2 ** min(failures, 16))
            await asyncio.sleep(bound * self._clock.unit())

    async def _connect(self) -> None:
        link = SubscriberProtocol(self, self._names, partial_bytes_max=self._limits.partial_bytes_max)
        try:
            async with asyncio.timeout(self._limits.connect_within_s):
                await self._endpoint.open(lambda: link)
        except Exception as exc:
            # Whatever it was (no such name, refused, no answer, a bad certificate): the next attempt may succeed.
            link.abort()
            self._note(f"cannot connect: {str(exc) or 'no answer in time'}")
        except BaseException:
            link.abort()
            raise
        else:
            if link.is_over:
                self._note("the server closed the connection")
            else:
                self._begin(link)

    def _begin(self, link: SubscriberProtocol) -> None:
        """Subscribe all that is wanted on a new connection, the canary's topic last."""
        self._link = link
        self._lost_signal.clear()
        if greeting := self._endpoint.greeting:
            link.write(greeting)
        # Those that are not wanted any more too: `_flush` forgets them.
        self._changed = dict.fromkeys(encoded for encoded in self._topics if encoded != self._canary)
        self._topics.setdefault(self._canary, Topic()).is_wanted = True
        self._tell_soon(self._canary)
        self._acks = 0
        self._look_later(self._look_at_acks, 0)

    def _look_at_acks(self, acks_before: int) -> None:
        """Until it is up no canary sings, but each look must see some progress."""
        if not self.is_up:
            if self._acks == acks_before:
                self._lose("the server does not answer")
            else:
                self._look_later(self._look_at_acks, self._acks)

    def _lose(self, reason: str) -> None:
        """Give the connection up, at once and for everybody. Idempotent."""
        link, self._link = self._link, None
        if link is None:
            return
        self._received_before += link.received
        link.abort()
        self._note(reason)
        self._canaries.clear()
        for topic in self._topics.values():
            topic.is_told = False
            topic.acks_due = 0
            topic.release()
        self._lost_signal.set()
        was_up, self.is_up = self.is_up, False
        if was_up:
            _log.warning("lost Redis at %s: %s", self._endpoint, reason)
            self._on_up(False)

    def _note(self, reason: str) -> None:
        if reason != self.last_error:
            _log.info("Redis at %s: %s", self._endpoint, reason)
        self.last_error = reason


def _tell_nobody(_is_up: bool) -> None:
    """Once closed."""
