"""What a person may be shown of the connection."""

from __future__ import annotations

from typing import Literal

import msgspec

from hub.core.frames import Welcome

Phase = Literal["connecting", "catching_up", "live", "waiting", "stopped"]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a connection.

    `catching_up`: `done` of `total` numbers have come. `waiting`: the next attempt is in `retry_in_s`, counted
    from the moment of this state. `why` says what ended the last connection. `attempt` counts failures since
    one that held. `welcome` is the hub's last.
    """

    phase: Phase
    why: str = ""
    retry_in_s: float | None = None
    attempt: int = 0
    done: int = 0
    total: int = 0
    welcome: Welcome | None = None
