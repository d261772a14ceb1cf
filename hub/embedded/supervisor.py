"""Keeps one embedded server running from start to stop.

Owns the process and the decision when to start it again. Does not own what the
server is made of: that is the `Server`'s. It answers on one URL throughout: a
crashed one comes back on its own port or not at all.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from hub import clock
from hub.embedded import endpoint
from hub.embedded.errors import EmbeddedError, ServerFailed
from hub.embedded.process import end, spawn
from hub.embedded.server import Server

log = logging.getLogger("hub.embedded")

# Another process may take a port in the instant between its choice and its use. Twice in a row is no coincidence.
_PORTS_MAX = 3
# A crash recovery reads up to a gigabyte of WAL; that long a server may be silent before it counts as failed.
_ANSWER_WITHIN_S = 120.0
_PROBE_INTERVAL_S = 0.03
_LOOK_INTERVAL_S = 1.0
_BACKOFF_MIN_S = 0.1
# A server that cannot start is tried for ever, but must not eat a processor.
_BACKOFF_MAX_S = 5.0
# One that ran this long is taken to have been well: its next crash is a new one.
_WELL_AFTER_S = 60.0


class ServerStatistics(msgspec.Struct, frozen=True):
    """One server now. `pid` is None while it is not running."""

    name: str
    pid: int | None
    port: int | None
    restarts: int
    is_answering: bool


class Supervisor:
    """One server, kept running."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process: asyncio.subprocess.Process | None = None
        self._runner: asyncio.Task[None] | None = None
        self._restarts = 0
        self._is_answering = False

    async def start(self) -> str:
        """Start the server and return its URL when it answers.

        Whether it fails or is cancelled: nothing of it is left running. Raises: `EmbeddedError`.
        """
        try:
            for attempt in range(1, _PORTS_MAX + 1):
                await self._server.prepare(another_port=attempt > 1)
                try:
                    await self._launch()
                    break
                except ServerFailed:
                    if attempt == _PORTS_MAX or endpoint.is_free(self._server.port):
                        raise
                    log.warning("%s: port %d is taken, choosing another", self._server.name, self._server.port)
        except BaseException:
            await self.stop()
            raise
        self._runner = asyncio.create_task(self._supervise(), name=f"hub.embedded {self._server.name}")
        return self._server.url

    async def stop(self) -> None:
        """Stop watching, then end the server in order. Idempotent; never raises for a server that is dead."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._runner = None
        self._is_answering = False
        if self._process is not None:
            await end(self._process, self._server.command().endings)
            await self._server.end_rest()
            self._process = None

    def statistics(self) -> ServerStatistics:
        """What an operator asks first."""
        process = self._process
        return ServerStatistics(
            name=self._server.name,
            pid=process.pid if process is not None and process.returncode is None else None,
            port=self._server.port if process is not None else None,
            restarts=self._restarts,
            is_answering=self._is_answering,
        )

    async def _launch(self) -> None:
        command = self._server.command()
        self._process = await spawn(command)
        died_signal = asyncio.ensure_future(self._process.wait())
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                # Only while ours lives: what answers beside a dead one is another's.
                while not died_signal.done() and not await self._server.is_answering():
                    await asyncio.wait([died_signal], timeout=_PROBE_INTERVAL_S)
        except TimeoutError:
            await end(self._process, command.endings)
            raise ServerFailed(
                f"{self._server.name} did not answer within {_ANSWER_WITHIN_S:.0f} s{self._why()}"
            ) from None
        finally:
            died_signal.cancel()
        if self._process.returncode is not None:
            raise ServerFailed(f"{self._server.name} did not start{self._why()}")
        await self._server.complete()
        self._is_answering = True
        log.info("%s answers on port %d (process %d)", self._server.name, self._server.port, self._process.pid)

    async def _supervise(self) -> None:
        """Wait for a crash, start again, for ever."""
        delay_s = _BACKOFF_MIN_S
        while self._process is not None:
            since = clock.monotonic()
            status = await self._wait(self._process)
            self._is_answering = False
            if clock.monotonic() - since > _WELL_AFTER_S:
                delay_s = _BACKOFF_MIN_S
            log.error(
                "%s (process %d) ended by itself with %d; starting it again in %.1f s",
                self._server.name, self._process.pid, status, delay_s,
            )  # fmt: skip
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _BACKOFF_MAX_S)
            self._restarts += 1
            try:
                await self._server.clear()
                await self._launch()
            except (EmbeddedError, OSError) as failure:
                # The next round finds the process dead and tries again.
                log.error("%s", failure)  # noqa: TRY400 - one sentence; the trace would say nothing more
                await end(self._process, self._server.command().endings)
            except Exception:
                log.exception("%s could not be started again", self._server.name)
                await end(self._process, self._server.command().endings)

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        """Until it has ended, or helped it to where it was told to end by another and does not come to it."""
        ended_signal = asyncio.ensure_future(process.wait())
        try:
            while not (await asyncio.wait([ended_signal], timeout=_LOOK_INTERVAL_S))[0]:
                if self._server.is_ending():
                    log.warning("%s was told to end by another than the hub; ending it", self._server.name)
                    await end(process, self._server.command().endings)
            return await ended_signal
        finally:
            ended_signal.cancel()

    def _why(self) -> str:
        words = self._server.last_words()
        return f": {words}" if words else ""
