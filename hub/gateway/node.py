"""This node: its connections, and what keeps them in step with the log.

Owns what nodes tell each other, acknowledgements, the clock and the drain; who gets in is `entrance`'s,
catching up and the sweep (law 8) are `catch_up`'s. A reader follows an event from `Hearing.on_message` (the
hint) or `CatchUp` (the log) through `Session` and `Connection` to the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any, TypeVar

import msgspec

from hub.core.closing import Close
from hub.core.log import LogUnavailable
from hub.core.session import Limits, Resume
from hub.core.topics import NODES, crowd_topic
from hub.gateway.catch_up import CatchUp
from hub.gateway.connection import Connection
from hub.gateway.entrance import Entrance
from hub.gateway.hearing import Hearing
from hub.gateway.heartbeat import HeartbeatWheel
from hub.gateway.limits import GatewayLimits
from hub.gateway.parsers import Parsers
from hub.gateway.ports import Calls, Clock, Log, Subscriptions, Verifier
from hub.gateway.presence import Presence
from hub.gateway.registry import Audience, Registry
from hub.gateway.ringer import Ringer
from hub.gateway.statistics import GatewayStatistics
from hub.gateway.task_watch import TaskWatch

T = TypeVar("T")

_log = logging.getLogger("hub.gateway")
_TICK_S_MAX = 0.5
"""How finely time-outs and expiries are looked at; finer where heartbeats are shorter than usual."""
_TOLD_AT_ONCE_MAX = 500
"""Messages to other nodes that go out together, and closes between two looks at what else there is to do."""


class Node:
    """All of the gateway in one process.

    `protocol` is what uvicorn calls for each upgrade. `start` and `stop` belong to one event loop.
    """

    def __init__(
        self,
        *,
        log: Log,
        subscriptions: Subscriptions,
        verifier: Verifier,
        calls: Calls,
        clock: Clock,
        limits: GatewayLimits | None = None,
        allowed_origins: Collection[str] = (),
        root_path: str = "",
        compress: bool = False,
    ) -> None:
        self.limits = limits or GatewayLimits()
        self.session_limits = Limits(
            window_max=self.limits.window_bytes_max,
            window_low=self.limits.window_bytes_low,
            page_count_max=self.limits.page_count_max,
            early_max=self.limits.early_max,
            starve_max_s=self.limits.starve_max_s,
        )
        self.clock = clock
        self.root_path = root_path.rstrip("/")
        self.compress = compress
        self.parsers = Parsers(self.limits.frame_bytes_max)
        self.node_id = clock.token(9)
        self.statistics = GatewayStatistics()
        # Every connection that has a socket, wherever it stands; the registry has those that are attached.
        self.sockets: set[Connection] = set()
        self.registry = Registry()
        self.entrance = Entrance(self, log, verifier)
        self.hearing = Hearing(self)
        self.ringer = Ringer(self)
        self.presence = Presence(self)
        self.task_watch = TaskWatch(self)
        self.is_draining = False
        self.protocol = partial(Connection, self)
        self._log = log
        self.subscriptions = subscriptions
        self._calls = calls
        self._allowed_origins = frozenset(origin.rstrip("/") for origin in allowed_origins)
        self.catch_up = CatchUp(self, log)
        self._wheel = HeartbeatWheel(self.limits.heartbeat_ms / 1000)
        self._untold: list[tuple[str, bytes]] = []
        self._teller: asyncio.Task[None] | None = None
        self._acks: dict[tuple[str, int], int] = {}
        self._runners: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._sweep_signal = asyncio.Event()
        self._alone_signal = asyncio.Event()

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen; connections may come before and after."""
        self.subscriptions.listen(self.hearing.on_message, self._on_connection)
        await self.subscriptions.subscribe(NODES)
        for step, interval_s in (
            (self.catch_up.sweep, self.limits.sweep_interval_s),
            (self.flush_acks, self.limits.ack_flush_interval_s),
            (self._beat, self.limits.node_beat_s),
            (self._tick, min(_TICK_S_MAX, self.limits.heartbeat_ms / 1000 / 10)),
        ):
            self._loops.append(asyncio.create_task(self._every(interval_s, step), name=f"gateway-{step.__name__}"))

    async def drain(self, code: Close = Close.RESTARTING, *, within_s: float = 5.0) -> None:
        """Take no more connections, say `bye` to those there are, and wait until they have gone, or `within_s`."""
        self.is_draining = True
        self.publish_soon(NODES, self.ringer.beat("gone"))
        for count, connection in enumerate(list(self.sockets), 1):
            connection.close(code, "restarting" if code is Close.RESTARTING else "going away")
            if count % _TOLD_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.sockets:
                    self._alone_signal.clear()
                    await self._alone_signal.wait()

    async def stop(self) -> None:
        """Write what was acknowledged and end every task of the gateway."""
        for runner in self._loops:
            runner.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()
        self.ringer.close()
        try:
            await self.flush_acks()
        except Exception as exc:
            _log.warning("what was acknowledged last is not recorded: %s", exc)
        runners = list(self._runners)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that ends by itself; its failure is logged, never lost."""
        runner = asyncio.create_task(work)
        self._runners.add(runner)
        runner.add_done_callback(self._done)
        return runner

    def _done(self, runner: asyncio.Task[Any]) -> None:
        self._runners.discard(runner)
        if not runner.cancelled() and (exc := runner.exception()) is not None:
            _log.error("a task of the gateway failed", exc_info=exc)

    async def _every(self, interval_s: float, step: Any) -> None:
        is_sweep = step == self.catch_up.sweep
        while True:
            if is_sweep:
                # Without the broker the sweep is all there is, so it comes twice as often.
                wait = interval_s if self.subscriptions.is_connected else interval_s / 2
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._sweep_signal.wait()
                self._sweep_signal.clear()
            else:
                await asyncio.sleep(interval_s)
            try:
                await step()
            except LogUnavailable:
                self.statistics.log_unavailable += 1
            except Exception:
                _log.exception("%s failed", step.__name__)

    def is_origin_allowed(self, origin: str) -> bool:
        return "*" in self._allowed_origins or origin.rstrip("/") in self._allowed_origins

    # -- coming and going ---------------------------------------------------------------------------------------------

    def opened(self, connection: Connection, audience: Audience, resume: Resume) -> None:
        """It has its place in the log, and is about to be welcomed."""
        self.statistics.replays += resume == "replay"
        self.statistics.resets += resume == "reset"
        self._wheel.add(connection)
        self.ringer.reconsider(audience, asks=True)
        self.presence.changed(audience)

    def lost(self, connection: Connection) -> None:
        """A connection is over: it hears and is told nothing more. Idempotent."""
        self.entrance.forget(connection)
        self._wheel.remove(connection)
        audience = connection.audience
        if audience is None:
            return
        self.presence.forget(connection)
        self.task_watch.forget(connection)
        connection.audience = None
        is_last = self.registry.remove(connection, audience)
        self.presence.changed(audience)
        self.ringer.reconsider(audience)
        if is_last:
            self.spawn(self._unsubscribe(audience))

    def gone(self, connection: Connection) -> None:
        """A connection that is over has no socket any more."""
        self.sockets.discard(connection)
        if not self.sockets:
            self._alone_signal.set()

    async def _unsubscribe(self, audience: Audience) -> None:
        if audience.subscribed is not None:
            await asyncio.wait([audience.subscribed])
        if self.registry.by_topic(audience.topic) is None:
            await self.subscriptions.unsubscribe(audience.topic)
        if not self.registry.of_tenant(audience.tenant_id):
            await self.subscriptions.unsubscribe(crowd_topic(audience.tenant_id))

    def revoke(self, tenant_id: str, user_id: int, revoked_at: float) -> None:
        """Close this user's sockets whose tokens were issued no later than `revoked_at` (seconds, wall clock)."""
        self.entrance.revoke(tenant_id, user_id, revoked_at)

    # -- the broker -------------------------------------------------------------------------------------------------

    def _on_connection(self, is_up: bool) -> None:
        if is_up:
            self.spawn(self.ringer.rejoin())
            self.presence.ask_again()
        else:
            self.ringer.forget_peers()
        # Whatever was said while the broker was away was not heard.
        self._sweep_signal.set()

    def publish_soon(self, topic: str, payload: bytes) -> None:
        """Tell other nodes, without waiting, in the order of the calls; lost where the broker is away."""
        self._untold.append((topic, payload))
        if self._teller is None:
            self._teller = self.spawn(self._tell())

    async def _tell(self) -> None:
        # One task for all of it: where ten thousand go at once, each has something to say.
        try:
            while self._untold:
                batch = self._untold[:_TOLD_AT_ONCE_MAX]
                del self._untold[:_TOLD_AT_ONCE_MAX]
                await self.subscriptions.publish_many(batch)
        finally:
            self._teller = None

    # -- acknowledgements and calls ----------------------------------------------------------------------------------

    def acknowledged(self, connection: Connection, cursor: int) -> None:
        """Remember a cursor for the next lazy write."""
        assert connection.audience is not None
        key = (connection.audience.tenant_id, connection.audience.user_id)
        self.statistics.acks += 1
        self._acks[key] = max(cursor, self._acks.get(key, 0))

    def forget_acknowledged(self, connection: Connection) -> None:
        """Another history has begun: its numbers have reached nobody yet."""
        if connection.audience is not None:
            self._acks.pop((connection.audience.tenant_id, connection.audience.user_id), None)

    async def flush_acks(self) -> None:
        """Write what was acknowledged since the last time. What cannot be written now is kept."""
        if not self._acks:
            return
        acks, self._acks = self._acks, {}
        try:
            await self._log.acknowledge([(tenant, user, cursor) for (tenant, user), cursor in sorted(acks.items())])
        except LogUnavailable:
            for key, cursor in acks.items():
                self._acks[key] = max(cursor, self._acks.get(key, 0))
            raise

    async def perform(self, connection: Connection, method: str, params: dict[str, Any]) -> Any:
        """One call of a client. Raises `CallFailed`."""
        assert connection.principal is not None
        if method == "presence.subscribe":
            return await self.presence.subscribe(connection)
        if method == "presence.unsubscribe":
            return await self.presence.unsubscribe(connection)
        if method == "tasks.subscribe":
            return await self.task_watch.subscribe(connection, params)
        if method == "tasks.unsubscribe":
            return await self.task_watch.unsubscribe(connection, params)
        return await self._calls.call(connection.principal, method, params)

    async def ask(self, connection: Connection, method: str, params: dict[str, Any], kind: type[T]) -> T:
        """The answer of a use case, as a value that the gateway itself acts upon. Raises `CallFailed`."""
        assert connection.principal is not None
        answer = await self._calls.call(connection.principal, method, params)
        return msgspec.convert(msgspec.to_builtins(answer), kind)

    # -- the clock ---------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        if self.subscriptions.is_connected and not self.is_draining:
            await self.subscriptions.publish(NODES, self.ringer.beat())

    async def _tick(self) -> None:
        self.entrance.tick()
        now = self.clock.monotonic()
        for connection in self._wheel.due(now):
            self._wheel.visit(connection, now, self)
        self.ringer.forget_the_dead()
        self.presence.drop_silent_nodes(set(self.ringer.peers()))
        self.task_watch.catch_up()
        self.statistics.connections_now = self.registry.connection_count
        self.statistics.users_now = len(self.registry)
