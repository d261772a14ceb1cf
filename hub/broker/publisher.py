"""The publishing side: one connection, on which whatever waited goes out together.

Owns that a publish is bounded: in time, and in what may wait. A failure breaks
the circuit, and from then on a publish fails at once, until a probe has been
taken (law 3: a failed publish is a figure, never an error of the request).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import hiredis

from hub.broker.endpoint import Endpoint
from hub.broker.ports import BrokerLimits
from hub.broker.resp import PublisherProtocol, encode_publish

_log = logging.getLogger("hub.broker")

_OVERHEAD_BYTES = 200
"""What a message that waits costs besides its bytes."""


class _Batch:
    """Messages of one call that go out together. `taken_signal` tells how many the server took."""

    __slots__ = ("bytes", "commands", "is_probe", "taken_signal")

    def __init__(self, commands: list[bytes], taken_signal: asyncio.Future[int], *, is_probe: bool) -> None:
        self.commands = commands
        self.bytes = sum(map(len, commands)) + _OVERHEAD_BYTES * len(commands)
        self.is_probe = is_probe
        self.taken_signal = taken_signal


class Publisher:
    """See the module. `on_broken` is called when the circuit breaks, so that somebody probes."""

    def __init__(self, endpoint: Endpoint, *, limits: BrokerLimits, on_broken: Callable[[], None]) -> None:
        self.is_broken = False
        self.published = 0
        self.failures = 0
        self.last_error: str | None = None
        self._limits = limits
        self._endpoint = endpoint
        self._link: PublisherProtocol | None = None
        self._on_broken = on_broken
        self._waiting: deque[_Batch] = deque()
        self._waiting_count = 0
        self._waiting_bytes = 0
        self._work_signal = asyncio.Event()
        self._idle_signal = asyncio.Event()
        self._idle_signal.set()
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take messages from now on."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="broker-publisher")

    async def close(self) -> None:
        """Give what waits as long as a publish may take, then let go. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            async with asyncio.timeout(self._limits.publish_within_s):
                await self._idle_signal.wait()
        except TimeoutError:
            pass
        finally:
            runner.cancel()
            await asyncio.wait([runner])
            self._fail_waiting()
            self._disconnect()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """How many were taken, in time. In order; as soon as some are not taken, the rest is not tried."""
        taken = 0
        batch: list[bytes] = []
        size = 0
        for topic, payload in messages:
            command = encode_publish(topic.encode(), payload)
            is_full = len(batch) >= self._limits.batch_count_max or size + len(command) > self._limits.batch_bytes_max
            if batch and is_full:
                answered = await self._submit(batch)
                taken += answered
                if answered < len(batch):
                    batch = []
                    break
                batch, size = [], 0
            batch.append(command)
            size += len(command)
        if batch:
            taken += await self._submit(batch)
        self.published += taken
        self.failures += len(messages) - taken
        return taken

    async def probe(self, topic: str, payload: bytes) -> bool:
        """Publish one, whether the circuit is broken or not; taken, it closes the circuit.

        May take as long as a connection may. Not counted.
        """
        return await self._submit([encode_publish(topic.encode(), payload)], is_probe=True) == 1

    def mend(self) -> None:
        """The server has been proved to be there: try again with the next message, not with the next probe."""
        self.is_broken = False

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _submit(self, commands: list[bytes], *, is_probe: bool = False) -> int:
        if self._runner is None or (self.is_broken and not is_probe):
            return 0
        batch = _Batch(commands, asyncio.get_running_loop().create_future(), is_probe=is_probe)
        if not is_probe and (
            self._waiting_count + len(commands) > self._limits.waiting_count_max
            or self._waiting_bytes + batch.bytes > self._limits.waiting_bytes_max
        ):
            return 0
        self._waiting.append(batch)
        self._waiting_count += len(commands)
        self._waiting_bytes += batch.bytes
        self._idle_signal.clear()
        self._work_signal.set()
        within_s = self._limits.connect_within_s if is_probe else self._limits.publish_within_s
        # Not `wait_for`: cancelled, the message still goes out, for its transaction has committed.
        done, _ = await asyncio.wait([batch.taken_signal], timeout=within_s)
        if not done:
            # Nobody waits for it any more, so that it is not sent late, ahead of what is new.
            batch.taken_signal.cancel()
            return 0
        return batch.taken_signal.result()

    async def _run(self) -> None:
        while True:
            await self._work_signal.wait()
            self._work_signal.clear()
            while batches := self._take():
                await self._send(batches)
            self._idle_signal.set()

    def _take(self) -> list[_Batch]:
        """The next pipeline: what waits, up to its bounds, and at least one."""
        batches: list[_Batch] = []
        count = size = 0
        while self._waiting:
            batch = self._waiting[0]
            if batches and (
                count + len(batch.commands) > self._limits.batch_count_max
                or size + batch.bytes > self._limits.batch_bytes_max
            ):
                break
            self._waiting.popleft()
            self._waiting_count -= len(batch.commands)
            self._waiting_bytes -= batch.bytes
            if not batch.taken_signal.done():
                batches.append(batch)
                count += len(batch.commands)
                size += batch.bytes
        return batches

    async def _send(self, batches: list[_Batch]) -> None:
        commands = [command for batch in batches for command in batch.commands]
        limits = self._limits
        within_s = limits.publish_within_s if self._is_linked else limits.connect_within_s
        try:
            async with asyncio.timeout(within_s):
                answers = await self._exchange(commands)
        except Exception as exc:
            # Of any kind: a publisher that ends would be worse than one that fails.
            for batch in batches:
                _answer(batch, 0)
            self._break(f"cannot publish: {str(exc) or 'no answer in time'}")
            return
        except BaseException:
            for batch in batches:
                _answer(batch, 0)
            raise
        position = 0
        is_probe_refused = False
        for batch in batches:
            taken = sum(answers[position : position + len(batch.commands)])
            position += len(batch.commands)
            _answer(batch, taken)
            is_probe_refused |= batch.is_probe and not taken
        if is_probe_refused:
            # Another message that is refused is its own affair; a refused canary says that none is taken.
            self._break(self.last_error or "refused")
        elif self.is_broken:
            self.is_broken = False
            _log.info("publishing to Redis at %s", self._endpoint)

    @property
    def _is_linked(self) -> bool:
        return self._link is not None and not self._link.is_over

    async def _exchange(self, commands: list[bytes]) -> list[bool]:
        was_linked = self._is_linked
        try:
            return await self._exchange_once(commands)
        except ConnectionError:
            if not was_linked:
                raise
            # The server was away and is back, which only using the connection tells: doubled rather than lost.
            return await self._exchange_once(commands)

    async def _exchange_once(self, commands: list[bytes]) -> list[bool]:
        """Send all, then take one answer each: which of them the server took."""
        link = self._link
        if link is None or link.is_over:
            link = self._link = PublisherProtocol(self._endpoint.greeting)
            await self._endpoint.open(lambda: link)
        answers = await link.exchange(commands)
        taken = [not isinstance(answer, hiredis.ReplyError) for answer in answers]
        if not all(taken):
            self._note(f"the server refuses to publish: {answers[taken.index(False)]}")
        return taken

    def _break(self, reason: str) -> None:
        self._note(reason)
        was_broken, self.is_broken = self.is_broken, True
        self._fail_waiting()
        # Its answers would be out of step with the next commands.
        self._disconnect()
        if not was_broken:
            _log.warning("not publishing to Redis at %s: %s", self._endpoint, reason)
            self._on_broken()

    def _disconnect(self) -> None:
        """The next command connects anew."""
        link, self._link = self._link, None
        if link is not None:
            link.abort()

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._waiting_count = self._waiting_bytes = 0
        for batch in waiting:
            _answer(batch, 0)

    def _note(self, reason: str) -> None:
        if reason != self.last_error:
            _log.info("Redis at %s: %s", self._endpoint, reason)
        self.last_error = reason


def _answer(batch: _Batch, taken: int) -> None:
    if not batch.taken_signal.done():
        batch.taken_signal.set_result(taken)
