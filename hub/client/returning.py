"""What to do when a connection ends: the client's column of the protocol's table of close codes. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from hub.core.closing import Close

_REASONS: Final[dict[int, str]] = {
    Close.GOING_AWAY: "the hub is going away",
    Close.TOO_BIG: "a message was too big for the hub",
    Close.RESTARTING: "the hub is restarting",
    Close.BAD_FRAME: "the hub does not understand this client",
    Close.UNAUTHENTICATED: "the token was refused",
    Close.FORBIDDEN: "the hub forbids it",
    Close.TIMED_OUT: "the hub heard nothing from here",
    Close.TOO_MANY_CONNECTIONS: "this user has too many connections; the oldest, this one, was closed",
    Close.TOO_MANY_FRAMES: "too many frames a second",
    Close.UNAVAILABLE: "the hub cannot reach its database",
}


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. `code` is a close code, `status` that of an HTTP refusal instead of the upgrade.

    `retry_after_s` is the hub's own word on when to come back. `opened_s` counts from the welcome.
    """

    reason: str = ""
    code: int | None = None
    status: int | None = None
    retry_after_s: float | None = None
    was_welcomed: bool = False
    opened_s: float = 0.0
    is_final: bool = False
    """Nobody is signed in: there is nothing to come back with."""

    @property
    def why(self) -> str:
        """One clause for a person."""
        known = _REASONS.get(self.code or 0)
        if known and self.reason and self.reason != known:
            return f"{known}: {self.reason}"
        return self.reason or known or (f"closed with code {self.code}" if self.code else "the connection was lost")


class Stop(msgspec.Struct, frozen=True):
    """Do not come back."""

    why: str
    code: int | None


class Return(msgspec.Struct, frozen=True):
    """Come back: after `retry_after_s`, or by the back-off where it is None; with a new token where asked for."""

    why: str
    retry_after_s: float | None
    needs_token: bool = False


def plan_return(end: End, *, can_renew: bool, retry_after_max_s: float) -> Stop | Return:
    """`can_renew`: there is a way to a new token. An unknown code is a cut like any other."""
    if end.is_final:
        return Stop(end.why, end.code or end.status)
    if end.code == Close.UNAUTHENTICATED or end.status == HTTPStatus.UNAUTHORIZED:
        if not can_renew:
            return Stop(end.why, end.code or end.status)
        # Not at once, whatever was said: a hub that refuses every token must not be stormed with fresh ones.
        return Return(end.why, None, needs_token=True)
    if end.code in (Close.FORBIDDEN, Close.TOO_MANY_CONNECTIONS) or end.status == HTTPStatus.FORBIDDEN:
        return Stop(end.why, end.code or end.status)
    if end.code in (Close.BAD_FRAME, Close.TOO_BIG) and not end.was_welcomed:
        # What it does not understand is our hello, and that would be the same again.
        return Stop(end.why, end.code)
    retry_after_s = end.retry_after_s
    if retry_after_s is not None:
        retry_after_s = min(max(retry_after_s, 0.0), retry_after_max_s)
    return Return(end.why, retry_after_s)
