"""How a session catches up with the log: by pages when it is behind, by the sweep when it does not know that it is.

Owns the shares that bound the reads, and what is done with each page (law 4, 5)
and with each head that moved unheard (law 8). Does not own where a session
stands; that is `core.session`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from hub.core.log import LogUnavailable
from hub.core.session import State
from hub.gateway.ports import Log
from hub.gateway.registry import Audience

if TYPE_CHECKING:
    from hub.gateway.connection import Connection
    from hub.gateway.node import Node


_log = logging.getLogger("hub.gateway")


class CatchUp:
    """Reads the log for the connections of one node.

    `replay_share` bounds the reads that follow a `hello`; sockets that have been live have a share of
    their own, so that ten thousand coming back together do not starve them.
    """

    def __init__(self, node: Node, log: Log) -> None:
        self._node = node
        self._log = log
        self.replay_share = asyncio.Semaphore(node.limits.replays_at_once)
        self._live_share = asyncio.Semaphore(node.limits.catch_ups_at_once)

    def begin(self, connection: Connection) -> None:
        """Read the log for a session that wants it; one reader a connection."""
        if not connection.is_pumping and not self._node.is_draining:
            connection.is_pumping = True
            self._node.spawn(self._run(connection))

    async def _run(self, connection: Connection) -> None:
        session = connection.session
        # A socket that has been live has its own share: a storm of hellos must not starve it.
        share = self._live_share if connection.was_live else self.replay_share
        has_peeked = False
        has_complained = False
        try:
            while session.wants_page and (audience := connection.audience) is not None and connection.is_open:
                has_failed = False
                try:
                    async with share:
                        if session.wants_page:
                            await self._read_page(connection, audience)
                        if not has_peeked:
                            has_peeked = True
                            await self._peek(connection, audience)
                except LogUnavailable:
                    self._node.statistics.log_unavailable += 1
                    has_failed = True
                except Exception:
                    # Whatever it was, without another try this session would stand still for good, and look well.
                    has_failed = True
                    if not has_complained:
                        has_complained = True
                        _log.exception("the log could not be read; it is asked again")
                if has_failed:
                    session.read_failed()
                connection.flush()
                if has_failed:
                    await asyncio.sleep(self._node.limits.retry_s * (0.5 + self._node.clock.unit()))
        finally:
            connection.is_pumping = False
        if session.wants_page and connection.is_open:
            self.begin(connection)

    async def _read_page(self, connection: Connection, audience: Audience) -> None:
        session = connection.session
        session.begin_read()
        page = await self._log.read_after(
            audience.tenant_id,
            audience.user_id,
            session.admitted_seq,
            count_max=session.page_count_max,
            bytes_max=session.page_bytes_max,
        )
        self._node.statistics.pages_read += 1
        if session.page(page.epoch, page.head, page.events, self._node.clock.monotonic()):
            return
        session.begin_read()
        state = await self._log.read_state(audience.tenant_id, audience.user_id, None)
        session.restart(state.epoch, state.head)
        if audience.rung is not None:
            audience.rung.forget()
        self._node.statistics.resets += 1
        connection.reset(state)

    async def _peek(self, connection: Connection, audience: Audience) -> None:
        """Where there is a long way to go, let what is critical in it go ahead."""
        session = connection.session
        if session.state in (State.REPLAYING, State.LAGGING):
            early = await self._log.read_critical_after(
                audience.tenant_id, audience.user_id, session.admitted_seq, count_max=self._node.limits.early_max
            )
            session.offer_early(early)

    async def sweep(self) -> None:
        """Ask where the heads of this node's users are, and catch up those that moved unheard (law 8).

        Raises:
            LogUnavailable: nothing was learnt; the next sweep asks again.
        """
        self._node.statistics.sweeps += 1
        asked = [
            (audience, min(live))
            for audience in self._node.registry
            if (live := [c.session.admitted_seq for c in audience.connections if c.session.state is State.LIVE])
        ]
        for start in range(0, len(asked), self._node.limits.sweep_users_max):
            chunk = asked[start : start + self._node.limits.sweep_users_max]
            told = {(a.tenant_id, a.user_id): seq for a, seq in chunk}
            answer = await self._log.sweep([(a.tenant_id, a.user_id, seq) for a, seq in chunk])
            for moved in answer.moved:
                audience = self._node.registry.of(moved.tenant_id, moved.user_id)
                if audience is not None:
                    self._repair(audience, moved.head, told[moved.tenant_id, moved.user_id])
            for audience, _ in chunk:
                for connection in list(audience.connections):
                    if connection.session.epoch not in ("", answer.epoch):
                        connection.session.suspect()
                        connection.flush()

    def _repair(self, audience: Audience, head: int, told: int) -> None:
        for connection in list(audience.connections):
            session = connection.session
            was_live = session.state is State.LIVE
            if head < told:
                session.suspect()
            else:
                session.note_head(head)
            if was_live and session.state is not State.LIVE:
                self._node.statistics.sweep_repairs += 1
            connection.flush()
