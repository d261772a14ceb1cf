"""Rate limits shared by all nodes, in Redis: one script, one command a request, whatever waits in one pipeline.

Owns that a limit never costs more than it protects: the answer is waited for at most `within_s`, and where it does
not come everyone is let through, and counted, until Redis is asked again a second later. Does not own what is
limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final, Protocol

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from hub import clock as machine_clock
from hub.broker.endpoint import Endpoint
from hub.broker.resp import encode_command
from hub.core.rates import WINDOW_MS, Bucket, Room, Taken, take

_log = logging.getLogger("hub.broker")

REST_S: Final = 1.0
"""After a failure, Redis is left alone for so long: a request each would wait for it in vain."""
WAITING_MAX: Final = 10_000
BATCH_MAX: Final = 500

# `hub.core.rates.take`, by the server's own clock. ARGV: the window in ms, the cost, then a limit a key.
_SCRIPT: Final = b"""
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local window, cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept, charged, waits = {}, {}, 0
for i, key in ipairs(KEYS) do
    local limit = tonumber(ARGV[i + 2])
    kept[i] = math.max(tonumber(redis.call('GET', key) or 0), now)
    charged[i] = kept[i] + math.min(cost, limit) * window / limit
    waits = math.max(waits, charged[i] - now - window)
end
local admitted = waits <= 0.001
local answer = {admitted and 1 or 0, admitted and 0 or math.ceil(waits)}
for i, key in ipairs(KEYS) do
    local at = admitted and charged[i] or kept[i]
    if admitted then
        redis.call('SET', key, string.format('%.3f', at), 'PX', math.max(1, math.ceil(at - now)))
    end
    answer[#answer + 1] = math.floor((window - (at - now)) * tonumber(ARGV[i + 2]) / window + 0.001)
    answer[#answer + 1] = math.ceil(at - now)
end
return answer
"""
_LOAD: Final = encode_command(b"SCRIPT", b"LOAD", _SCRIPT)
_DIGEST: Final = sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()


class RateStatistics(msgspec.Struct):
    """Figures since the start. `open`: let through since Redis did not answer."""

    checked: int = 0
    refused: int = 0
    open: int = 0


class Rates(Protocol):
    """Where limits are kept."""

    async def take(self, buckets: Sequence[Bucket], cost: int) -> Taken | None:
        """Take `cost` from each bucket, or from none. None: nobody knows, so it is let through. Never raises."""
        ...


class MemoryRates:
    """The twin of one process."""

    def __init__(self, clock: Any = machine_clock) -> None:
        self.statistics = RateStatistics()
        self._clock = clock
        self._kept: dict[str, float] = {}

    async def take(self, buckets: Sequence[Bucket], cost: int) -> Taken | None:
        taken, instants = take(self._kept, buckets, cost, self._clock.monotonic() * 1000)
        self._kept.update(instants)
        _count(self.statistics, taken)
        return taken


class RedisRates:
    """The limits of all nodes that use the server at `url`.

    Raises:
        ValueError: the URL cannot be used.
    """

    def __init__(self, url: str, *, within_s: float, connect_within_s: float = 2.0, clock: Any = machine_clock) -> None:
        self.statistics = RateStatistics()
        self._endpoint = Endpoint(url)
        self._connection: Any = self._endpoint.publishing()
        self._within_s = within_s
        self._connect_within_s = connect_within_s
        self._clock = clock
        self._waiting: deque[tuple[bytes, asyncio.Future[Taken | None]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._is_loaded = False
        self._again_at = -math.inf
        self._is_broken = False

    async def take(self, buckets: Sequence[Bucket], cost: int) -> Taken | None:
        taken = await self._ask(buckets, cost)
        _count(self.statistics, taken)
        return taken

    async def close(self) -> None:
        """Let go of the server; whoever waits is let through. Idempotent."""
        runner, self._runner = self._runner, None
        self._again_at = math.inf
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        self._answer_all()
        await self._disconnect()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _ask(self, buckets: Sequence[Bucket], cost: int) -> Taken | None:
        if len(self._waiting) >= WAITING_MAX or self._clock.monotonic() < self._again_at:
            return None
        keys = [bucket.key.encode() for bucket in buckets]
        limits = [b"%d" % bucket.per_minute for bucket in buckets]
        command = encode_command(
            b"EVALSHA", _DIGEST, b"%d" % len(keys), *keys, b"%d" % WINDOW_MS, b"%d" % cost, *limits
        )
        answer: asyncio.Future[Taken | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._runner is None or self._runner.done():
            # It begins in the next turn of the loop: what is asked in this one goes in one pipeline.
            self._runner = asyncio.create_task(self._run(), name="rates")
        return await answer

    async def _run(self) -> None:
        batch: list[tuple[bytes, asyncio.Future[Taken | None]]] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
                within_s = self._within_s if self._connection.is_connected else self._connect_within_s
                async with asyncio.timeout(within_s):
                    await self._exchange(batch)
            if self._is_broken:
                self._is_broken = False
                _log.info("limiting rates by Redis at %s", self._endpoint)
        except Exception as error:
            # Of any kind: who asked is let through.
            if not self._is_broken:
                _log.warning("not limiting rates: Redis at %s: %s", self._endpoint, str(error) or "no answer in time")
            self._is_broken = True
            self._again_at = self._clock.monotonic() + REST_S
            await self._disconnect()
        finally:
            for _, answer in batch:
                _tell(answer, None)
            if self._is_broken:
                self._answer_all()

    async def _exchange(self, batch: Sequence[tuple[bytes, asyncio.Future[Taken | None]]]) -> None:
        connection = self._connection
        loads = not (self._is_loaded and connection.is_connected)
        await connection.send_packed_command([_LOAD] * loads + [command for command, _ in batch])
        if loads:
            await connection.read_response(timeout=math.inf)
            self._is_loaded = True
        for _, answer in batch:
            try:
                reply = await connection.read_response(timeout=math.inf)
            except NoScriptError:
                # The server was emptied. These few are let through, the next ones bring the script along.
                self._is_loaded = False
                _tell(answer, None)
            except ResponseError as refusal:
                _log.warning("Redis at %s refuses to limit rates: %s", self._endpoint, refusal)
                _tell(answer, None)
            else:
                _tell(answer, _taken(reply))

    async def _disconnect(self) -> None:
        self._is_loaded = False
        # Whatever its socket says to that: the next batch connects anew.
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    def _answer_all(self) -> None:
        while self._waiting:
            _tell(self._waiting.popleft()[1], None)


def _taken(reply: list[int]) -> Taken:
    rooms = [Room(reply[place], reply[place + 1]) for place in range(2, len(reply), 2)]
    return Taken(reply[0] == 1, reply[1], rooms)


def _tell(answer: asyncio.Future[Taken | None], taken: Taken | None) -> None:
    if not answer.done():
        answer.set_result(taken)


def _count(statistics: RateStatistics, taken: Taken | None) -> None:
    statistics.checked += 1
    if taken is None:
        statistics.open += 1
    elif not taken.is_admitted:
        statistics.refused += 1
