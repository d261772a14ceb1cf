"""Where one topic stands between this node and its server."""

from __future__ import annotations

import asyncio


class Topic:
    """What is wanted of a topic, and what the server was last told of it on this connection.

    The server answers in order, so a topic is attached when nothing about it is unanswered and the last
    word was `SUBSCRIBE`.
    """

    __slots__ = ("acks_due", "attached_signal", "is_told", "is_wanted")

    def __init__(self) -> None:
        self.is_wanted = False
        self.is_told = False
        self.acks_due = 0
        self.attached_signal: asyncio.Future[None] | None = None

    @property
    def is_attached(self) -> bool:
        return self.is_told and self.acks_due == 0

    def release(self) -> None:
        """Let go of those who wait to be attached: they are, or it is of no use to wait."""
        if self.attached_signal is not None and not self.attached_signal.done():
            self.attached_signal.set_result(None)
        self.attached_signal = None
