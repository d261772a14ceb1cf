"""A new token on the open connection, before the old one's expiry would close it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hub.client.errors import NoToken
from hub.client.timing import Clock, Timer, pause
from hub.client.tokens import Tokens

_AGAIN_S = 10.0
"""The range of the wait after a failure: some tries fit into the time before expiry."""


class Renewal:
    """Fetches and sends tokens while a connection is open. `send` says one on it."""

    def __init__(self, tokens: Tokens, clock: Clock, send: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._send = send
        self._timer: Timer | None = None
        self._runner: asyncio.Task[None] | None = None
        self._is_asked = False

    def opened(self) -> None:
        self._schedule()

    def answered(self) -> None:
        """The hub has taken the token."""
        self._is_asked = False
        self._schedule()

    def refused(self) -> None:
        """The hub answered something that it could not do; where that was the token, it is sent again later.

        One that is refused for good closes the connection (4401).
        """
        if self._is_asked:
            self._is_asked = False
            self._start(self._wait_s())

    async def closed(self) -> None:
        """No connection, no renewal; returns when nothing of it runs any more."""
        self._is_asked = False
        if self._timer is not None:
            self._timer.cancel()
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._runner = None

    def _schedule(self) -> None:
        renew_in_s = self._tokens.renew_in_s()
        if renew_in_s is not None:
            self._start(renew_in_s)

    def _start(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(wait_s, self._run)

    def _run(self) -> None:
        self._runner = asyncio.create_task(self._renew(), name="hub-client-renewal")

    async def _renew(self) -> None:
        while True:
            try:
                token = await self._tokens.fetch()
            except NoToken:
                # What is open may go on until it expires; the next connection will say it.
                return
            except Exception:
                await pause(self._clock, self._wait_s())
                continue
            self._is_asked = True
            self._send(token)
            return

    def _wait_s(self) -> float:
        return _AGAIN_S * (0.5 + 0.5 * self._clock.unit())
